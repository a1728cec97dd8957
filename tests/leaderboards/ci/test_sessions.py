"""The pytest plugin as a team uses it: real sessions over small ONNX models, one after the other in one folder."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from robustreid.leaderboards.gate.baseline import read_baseline

RunPytest = Callable[..., subprocess.CompletedProcess[str]]

TEAM = """
import pytest

IFGSM = {"attack": "ama-ifgsm", "epsilon": "2/255", "side": "query", "checks": "quick"}

@pytest.mark.robust(**IFGSM, min_mAP=0.30, min_rank1=0.20, min_clean_mAP=0.60)
@pytest.mark.robust(attack="noise", epsilon="4/255", side="gallery", checks="quick", min_mAP=0.60)
def test_model(robust):
    attacked, noise = robust("model.onnx", "mini")
    assert (attacked.attack, noise.attack) == ("ama-ifgsm", "noise")
    assert attacked.mAP_attacked < noise.mAP_attacked

@pytest.mark.robust(attack="ama-ifgsm", side="query", checks="quick")
@pytest.mark.parametrize("epsilon", ["1/255", "2/255"])
def test_other(robust, epsilon):
    robust("other.onnx", "mini", epsilon=epsilon, name="second")
"""

FAILING = """
import pytest

@pytest.mark.robust(attack="ama-ifgsm", epsilon="2/255", side="query", checks="quick", min_mAP=0.99, min_clean_mAP=0.1)
@pytest.mark.robust(attack="noise", epsilon="2/255", side="query", checks="quick", min_mAP=0.98)
def test_bound(robust):
    robust("other.onnx", "mini", name="bounded")

@pytest.mark.robust(attack="ama-ifgms", epsilon="2/255")
def test_misspelt(robust):
    robust("other.onnx", "mini")

@pytest.mark.robust(attack="noise", epsilon="2/255", side="query")
def test_unfit(robust):
    robust("unfit.onnx", "mini")

@pytest.mark.robust(attack="noise", epsilon="2/255", side="query", checks="quick")
def test_namesakes(robust):
    robust("other.onnx", "mini")
    robust("model.onnx", "mini", name="other")
"""


def cells_of(path: Path) -> dict[str, float]:
    """What a baseline holds: attacked mAP by label."""
    return {cell.label: cell.score("mAP_attacked") or 0.0 for cell in read_baseline(path)}


def rows_of(team: Path) -> dict[Path, int]:
    """Every stored row below pytest's cache, and when it was written."""
    return {file: file.stat().st_mtime_ns for file in (team / ".pytest_cache").glob("d/robustreid/*/cells/*.parquet")}


@pytest.fixture(scope="module")
def first(team: Path, run_pytest: RunPytest) -> subprocess.CompletedProcess[str]:
    """The first session of the team, in a worker of xdist: all is well, and there is no baseline."""
    (team / "test_team.py").write_text(TEAM)
    arguments = ("-n", "1", "--robust-baseline", "gate/base.parquet", "--junitxml", "junit.xml")
    return run_pytest(team, *arguments, plugins=("xdist",))


def test_a_first_session_writes_the_baseline(team: Path, first: subprocess.CompletedProcess[str]) -> None:
    """The cells that a worker measured are written by the controller, which says so; a table has them all."""
    assert first.returncode == 0, first.stdout + first.stderr
    assert "3 passed" in first.stdout
    cells = cells_of(team / "gate" / "base.parquet")
    assert set(cells) == {
        "model mini ama-ifgsm linf 2/255 query",
        "model mini noise linf 4/255 gallery seed=0",
        "second mini ama-ifgsm linf 1/255 query",
        "second mini ama-ifgsm linf 2/255 query",
    }
    assert f"{Path('gate', 'base.parquet')} was written: 4 cells. Commit it" in first.stdout
    assert "= robustness =" in first.stdout
    for label in cells:
        assert first.stdout.count(label) == 1


def test_what_was_measured_stands_in_junit(team: Path, first: subprocess.CompletedProcess[str]) -> None:
    """Each test case has a property a cell, with the scores that the store has."""
    assert first.returncode == 0
    found = {}
    for element in ET.parse(team / "junit.xml").iter("property"):  # noqa: S314 (written by the session above)
        record = json.loads(element.attrib["value"])
        found[record["cell"]] = record["attacked"]
    assert found == cells_of(team / "gate" / "base.parquet")


@pytest.fixture(scope="module")
def stood(team: Path, first: subprocess.CompletedProcess[str]) -> dict[Path, int]:
    """The rows that stand after the first session."""
    assert first.returncode == 0
    return rows_of(team)


@pytest.fixture(scope="module")
def second(
    team: Path, stood: dict[Path, int], run_pytest: RunPytest, write_model: Callable[..., Path]
) -> subprocess.CompletedProcess[str]:
    """The next session: `model.onnx` was trained to be weaker, `other.onnx` is what it was, and tests were added."""
    assert stood
    write_model(team / "model.onnx", n_features=3)
    (team / "unfit.onnx").write_bytes(b"no program")
    (team / "test_failing.py").write_text(FAILING)
    return run_pytest(team, "--robust-baseline", "gate/base.parquet", "-rA")


def test_a_weaker_model_fails_the_test_that_measured_it(team: Path, second: subprocess.CompletedProcess[str]) -> None:
    """Its bounds are missed, and the gate names cell, drop and interval; the other model's tests pass."""
    assert second.returncode == 1
    assert "FAILED test_team.py::test_model" in second.stdout
    assert "PASSED test_team.py::test_other[1/255]" in second.stdout
    assert "PASSED test_team.py::test_other[2/255]" in second.stdout
    worse = [line for line in second.stdout.splitlines() if line.strip().startswith("worse: ")]
    assert any("worse: model mini noise linf 4/255 gallery seed=0, mAP_attacked " in line for line in worse)
    assert any("worse: model mini clean, mAP_clean " in line for line in worse)
    assert all("95% interval -" in line and "points, p " in line for line in worse)
    assert "is below min_clean_mAP 60.00" in second.stdout
    table = [line.split() for line in second.stdout.splitlines() if line.startswith("test_team.py::test_other")]
    assert [line[line.index("query") + 5] for line in table] == ["same", "same"]
    assert len(read_baseline(team / "gate" / "base.parquet")) == 4


def test_what_stands_is_not_run_again(
    team: Path, stood: dict[Path, int], second: subprocess.CompletedProcess[str]
) -> None:
    """The rows of the first session are those of the second: the other model's were read."""
    assert second.returncode == 1
    others = {file: when for file, when in stood.items() if "other-" in str(file)}
    assert len(others) == 2
    assert others.items() <= rows_of(team).items()


def test_what_falls_short_says_why(second: subprocess.CompletedProcess[str]) -> None:
    """Both marks of a test at once: clean, attacked, bound, chance, flags, and how to see it again."""
    lines = second.stdout[second.stdout.index("__ test_bound __") : second.stdout.index("__ test_misspelt __")]
    assert "bounded on mini, ama-ifgsm at 2/255 (query side): Rank-1 " in lines
    assert "bounded on mini, noise at 2/255 (query side): Rank-1 " in lines
    assert lines.count("is below min_mAP") == 2
    assert "min_clean_mAP" not in lines.partition("reproduce")[0]
    assert "chance mAP 11.22, Rank-1 4.17; flags: " in lines
    call = (
        "robustreid.evaluate('other.onnx', 'mini', attack='ama-ifgsm', epsilon='2/255', side='query', checks='quick')"
    )
    assert f"reproduce: {call}" in lines


def test_what_cannot_be_measured_fails(second: subprocess.CompletedProcess[str]) -> None:
    """A misspelt attack with the nearest name, a file that is no program, and two models under one name."""
    assert "Unknown attack 'ama-ifgms'. Did you mean 'ama-ifgsm'?" in second.stdout
    assert "FAILED test_failing.py::test_unfit" in second.stdout
    assert re.search(r"^robust: .*The program '.*unfit\.onnx' ", second.stdout, re.MULTILINE)
    assert "Traceback" not in second.stdout
    assert "Two models are called 'other'" in second.stdout
    assert "not in the baseline: bounded mini noise linf 2/255 query seed=0." in second.stdout


@pytest.mark.slow
def test_a_third_session_runs_nothing_and_updates(
    team: Path, second: subprocess.CompletedProcess[str], run_pytest: RunPytest
) -> None:
    """What stands is read, not run again; `--robust-update` takes the weaker scores and keeps the other model's."""
    assert second.returncode == 1
    before, stood = cells_of(team / "gate" / "base.parquet"), rows_of(team)
    relaxed = TEAM.replace("min_mAP=0.30, min_rank1=0.20, min_clean_mAP=0.60", "").replace("min_mAP=0.60", "min_mAP=0")
    (team / "test_team.py").write_text(relaxed)
    arguments = ("test_team.py::test_model", "--robust-baseline", "gate/base.parquet", "--robust-update")
    done = run_pytest(team, *arguments)
    assert done.returncode == 0, done.stdout
    assert "was updated: 2 of its cells are others now, 0 are new, 2 stand as they were." in done.stdout
    assert rows_of(team) == stood
    after = cells_of(team / "gate" / "base.parquet")
    assert after.keys() == before.keys()
    changed = {label for label in before if before[label] != after[label]}
    assert changed == {label for label in before if label.startswith("model ")}
    assert all(after[label] < before[label] for label in changed)
