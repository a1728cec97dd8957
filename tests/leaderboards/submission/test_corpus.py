"""The corpus: every hostile or broken submission is refused under its own code, and nothing is written anywhere.

Cases are made when they are asked for; `corpus/` holds how, one table a subject.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from robustreid import UserError
from robustreid.leaderboards.submission.checking import RULES, check_submission
from robustreid.leaderboards.submission.contents import BundleError, unpack
from robustreid.leaderboards.submission.findings import Report

TAKEN = ("osnet-robust",)
DOCUMENTED = Path(__file__).resolve().parents[3] / "docs" / "submitting.md"


def _module(name: str) -> ModuleType:
    """One of the corpus, which is no package."""
    path = Path(__file__).with_name("corpus") / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"submission_corpus_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


MAKING = _module("making")
CASES: dict[str, Any] = {
    name: case
    for part in ("containers", "descriptions", "weights", "results")
    for name, case in _module(part).cases(MAKING).items()
}
CODES = [rule.code for rule in RULES]
NOTES = {rule.code for rule in RULES if rule.level == "note"}


@pytest.fixture(scope="module")
def make() -> Any:
    """What cases are built with."""
    return MAKING.Maker()


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything in a folder."""
    found = {}
    for inside, folders, files in os.walk(folder):
        for name in (*folders, *files):
            stat = os.lstat(Path(inside, name))
            found[os.path.join(inside, name)] = (stat.st_size, stat.st_mtime_ns)  # noqa: PTH118 (bytes of any kind)
    return found


def said(report: Report, case: Any) -> frozenset[str]:
    """The codes of the errors, or of the notes where there are none; that there are no results only where it counts."""
    found = frozenset(finding.code for finding in report.errors or report.notes)
    return found if "SUB413" in case.codes else found - {"SUB413"}


@pytest.mark.parametrize("name", CASES)
def test_each_case_is_refused_under_its_own_code(make: Any, tmp_path: Path, name: str) -> None:
    """Its codes are all that is said, on one printable line each, and the folder around it is as it was."""
    case = CASES[name]
    path = case.build(make, tmp_path)
    before = snapshot(tmp_path)
    report = check_submission(path, taken=TAKEN)
    assert said(report, case) == case.codes, "\n".join(report.lines)
    assert report.is_valid == (case.codes <= NOTES)
    assert snapshot(tmp_path) == before
    assert all(line.isprintable() and len(line) < 3300 for line in report.lines)


@pytest.mark.parametrize("pack", ["folder", "zip", "tgz"])
def test_a_valid_submission_passes(make: Any, tmp_path: Path, pack: str) -> None:
    """The submission that all cases are made from has no finding, whatever it lies in."""
    path = getattr(make, pack)(tmp_path, make.files)
    assert check_submission(path, taken=TAKEN).lines == ()


@pytest.mark.parametrize("pack", ["zip", "tgz"])
@pytest.mark.parametrize(
    "name", ["weights: not finite in F32", "weights: a torch file", "a plugin", "a tag", "scores: made up mAP"]
)
def test_an_archive_hides_nothing(make: Any, tmp_path: Path, pack: str, name: str) -> None:
    """What is refused in a folder is refused in an archive of it."""
    built = CASES[name].build(make, tmp_path)
    files = {str(path.relative_to(built)): path.read_bytes() for path in built.rglob("*") if path.is_file()}
    (tmp_path / "packed").mkdir()
    report = check_submission(getattr(make, pack)(tmp_path / "packed", files), taken=TAKEN)
    assert said(report, CASES[name]) == CASES[name].codes


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("zip: ", "tar: "))])
def test_nothing_of_a_bad_archive_is_unpacked_elsewhere(make: Any, tmp_path: Path, name: str) -> None:
    """Unpacking is refused, or writes into its own folder alone."""
    path = CASES[name].build(make, tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(BundleError) as caught:
        unpack(path, tmp_path / "into")
    assert caught.value.exit_code == 4
    assert caught.value.code in CASES[name].codes
    written = set(snapshot(tmp_path)) - set(before)
    assert all(Path(each).is_relative_to(tmp_path / "into") for each in written)
    assert {key: value for key, value in snapshot(tmp_path).items() if key in before} == before


@pytest.mark.parametrize("pack", ["folder", "zip", "tgz"])
def test_a_good_one_is_unpacked_whole(make: Any, tmp_path: Path, pack: str) -> None:
    """Every file with its bytes; and only into an empty folder."""
    path = getattr(make, pack)(tmp_path, make.files)
    folder = unpack(path, tmp_path / "into")
    found = {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    found.pop("manifest.json", None)
    assert found == make.files
    with pytest.raises(UserError, match="is not empty"):
        unpack(path, folder)


@pytest.mark.parametrize("code", CODES)
def test_a_rule_that_is_switched_off_is_missed(make: Any, tmp_path: Path, code: str) -> None:
    """Planted bug: a checker without any one of its rules would fail the first test of this file."""
    case = [case for case in CASES.values() if code in case.codes][-1]
    rules = [rule for rule in RULES if rule.code != code]
    assert said(check_submission(case.build(make, tmp_path), taken=TAKEN, rules=rules), case) != case.codes


def test_every_code_is_documented() -> None:
    """The table of docs/submitting.md has the code, the level and the words of every rule, and no other code."""
    rows = dict(re.findall(r"^\| (SUB\d{3}) \| (.*) \|$", DOCUMENTED.read_text(), re.MULTILINE))
    wanted = {rule.code: f"{rule.title}{' (note)' if rule.level == 'note' else ''} | {rule.remedy}" for rule in RULES}
    assert {code: text for code, text in rows.items() if code < "SUB500"} == wanted


def test_every_code_is_one_rule() -> None:
    """No two rules share a code; what a rule requires is asked before it, and every text is a sentence."""
    assert len(set(CODES)) == len(CODES)
    for place, rule in enumerate(RULES):
        assert set(rule.requires) <= set(CODES[:place]), rule.code
        assert rule.title.endswith("."), rule.code
        assert rule.remedy.endswith("."), rule.code
        assert rule.title != rule.remedy, rule.code
