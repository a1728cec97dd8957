"""What `robustreid compare` answers, case by case: how many verdicts of each word, and the exit code."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from robustreid.benchmark import cli

Cells = Sequence[dict[str, Any]]

IFGSM: dict[str, Any] = {"attack": "ama-ifgsm"}
PAIR: Cells = (IFGSM, {"attack": "pgd"})
#: The digest of the data set that cells are about.
MINI = hashlib.sha256(b"mini").hexdigest()
TWO_MODELS: Cells = ({"model": "osnet"}, {"model": "r50"})
#: Fallen by 6 points: far more than chance, and than is allowed.
FALLEN: dict[str, Any] = {**IFGSM, "lower": 6, "spread": 2}
RISEN: dict[str, Any] = {**IFGSM, "lower": -6, "spread": 2}
#: A change of 3 points in which identities differ by many times that.
COARSE: dict[str, Any] = {**IFGSM, "lower": 3, "spread": 14}
FAILED: dict[str, Any] = {**IFGSM, "status": "failed", "reason": "a feature is not finite"}
SKIPPED: dict[str, Any] = {**IFGSM, "status": "skipped", "reason": "has no gradient"}
TARGETED: dict[str, Any] = {**IFGSM, "goal": "targeted"}


def nan(queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One score is no number."""
    return [queries[0] | {"ap_attacked": math.nan}, *queries[1:]]


def fewer(queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Another query in place of the first."""
    return [queries[0] | {"query_id": "query/other.png"}, *queries[1:]]


def other_people(queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same pictures under other identities."""
    return [query | {"identity": query["identity"] + 1} for query in queries]


def none(queries: list[dict[str, Any]]) -> None:
    """No queries are stored."""


def changed(**row: Any) -> dict[str, Any]:
    """The cell, measured otherwise."""
    return {**IFGSM, "row": row}


@dataclass(frozen=True)
class Case:
    """What lies on both sides, and what follows."""

    name: str
    base: Cells
    new: Cells
    #: How often each word is said.
    words: dict[str, int]
    exit_code: int
    options: str = ""
    policy: str = ""


# fmt: off
CASES = [
    # Two cells give three comparisons: the clean score that they share, and each attacked one.
    Case("identical", PAIR, PAIR, {"same": 3}, 0),
    Case("all fell", PAIR, [FALLEN, {**FALLEN, "attack": "pgd"}], {"worse": 2, "same": 1}, 1),
    Case("all rose", PAIR, [RISEN, RISEN | {"attack": "pgd"}], {"better": 2, "same": 1}, 0),
    Case("fell by less than is allowed", [IFGSM], [IFGSM | {"lower": 0.6, "spread": 0.4}], {"same": 2}, 0),
    Case("fell, and more is allowed", [IFGSM], [FALLEN], {"same": 2}, 0, "--max-drop 8"),
    Case("only the clean score fell", PAIR, [c | {"clean_lower": 6} for c in PAIR], {"worse": 1, "same": 2}, 1),
    Case("too coarse to tell", [IFGSM], [COARSE], {"cannot tell": 1, "same": 1}, 0),
    Case("too coarse, and strict", [IFGSM], [COARSE], {"cannot tell": 1, "same": 1}, 6, "--strict"),
    Case("strict, and nothing to say", PAIR, PAIR, {"same": 3}, 0, "--strict"),
    Case("worse and too coarse, strict", PAIR, [COARSE, {**FALLEN, "attack": "pgd"}],
         {"worse": 1, "cannot tell": 1, "same": 1}, 1, "--strict"),
    Case("a cell is gone", PAIR, [IFGSM], {"missing": 1, "same": 2}, 6),
    Case("a cell is planned and not run", [IFGSM], [IFGSM | {"status": "missing"}], {"missing": 1}, 6),
    Case("a cell failed", PAIR, [FAILED, {"attack": "pgd"}], {"failed": 1, "same": 2}, 6),
    Case("a cell is skipped that was done", PAIR, [SKIPPED, {"attack": "pgd"}], {"failed": 1, "same": 2}, 6),
    Case("it had failed before", [FAILED, {"attack": "pgd"}], PAIR, {"same": 2}, 0),
    Case("it fails as it did before", [FAILED, {"attack": "pgd"}], [FAILED, {"attack": "pgd"}],
         {"failed": 1, "same": 2}, 6),
    Case("skipped as it was before", [SKIPPED, {"attack": "pgd"}], [SKIPPED, {"attack": "pgd"}], {"same": 2}, 0),
    Case("a cell is new", [IFGSM], PAIR, {"same": 2}, 0),
    Case("worse, and a cell is gone", PAIR, [FALLEN], {"worse": 1, "missing": 1, "same": 1}, 6),
    Case("the only model has another name", [IFGSM], [FALLEN | {"model": "osnet-v2"}], {"worse": 1, "same": 1}, 1),
    Case("one of two models has another name", TWO_MODELS, ({"model": "osnet"}, {"model": "r50-v2"}),
         {"same": 2, "missing": 1}, 6),
    Case("one of two models fell", TWO_MODELS, ({"model": "osnet"}, FALLEN | {"model": "r50"}),
         {"same": 3, "worse": 1}, 1),
    Case("the data set has another name", [IFGSM], [changed(dataset_sha256=MINI) | {"dataset": "market"}],
         {"same": 2}, 0),
    Case("other data", [IFGSM], [changed(dataset_sha256="0" * 64)], {"not comparable": 1}, 6),
    Case("other attack parameters", [IFGSM], [changed(attack_params='{"steps": 3}')], {"not comparable": 1}, 6),
    Case("another version of the attack", [IFGSM], [changed(attack_version=2)], {"not comparable": 1}, 6),
    Case("another version of the engine", [IFGSM], [changed(engine_version=3)], {"not comparable": 1}, 6),
    Case("another version of the metric", [IFGSM], [changed(metric_version=2)], {"not comparable": 1}, 6),
    Case("another version of the protocol", [IFGSM], [changed(protocol="market-v2")], {"not comparable": 1}, 6),
    Case("another precision", [IFGSM], [changed(precision="fast")], {"not comparable": 1}, 6),
    Case("another radius", [IFGSM], [IFGSM | {"k": 2}], {"missing": 1}, 6),
    Case("the model ranks by another distance", [IFGSM], [changed(metric="euclidean")], {"same": 2}, 0),
    Case("the target is found more often", [TARGETED], [RISEN | {"goal": "targeted"}], {"worse": 1}, 1),
    Case("the target is found less often", [TARGETED], [FALLEN | {"goal": "targeted"}], {"better": 1}, 0),
    Case("a seed is gone", [IFGSM, IFGSM | {"seed": 1}], [IFGSM], {"same": 2, "missing": 1}, 6),
    Case("one seed of two fell", [IFGSM, IFGSM | {"seed": 1}], [IFGSM, FALLEN | {"seed": 1}],
         {"same": 2, "worse": 1}, 1),
    Case("other queries", [IFGSM], [IFGSM | {"spoil": fewer}], {"not comparable": 2}, 6),
    Case("other people", [IFGSM], [IFGSM | {"spoil": other_people}], {"not comparable": 2}, 6),
    Case("no queries", [IFGSM], [IFGSM | {"spoil": none}], {"not comparable": 2}, 6),
    Case("a rule allows more", PAIR, [IFGSM, {**FALLEN, "attack": "pgd"}], {"same": 3}, 0,
         policy="rules: [{select: pgd, max_drop: 9}]"),
    Case("a rule leaves cells out", PAIR, [IFGSM], {"same": 2}, 0, policy="rules: [{select: pgd, gate: false}]"),
    Case("the command line beats the file", [IFGSM], [FALLEN], {"same": 2}, 0, "--max-drop 8", "max_drop: 0.5"),
    Case("a policy asks for one score", [IFGSM], [FALLEN], {"same": 1}, 0, policy="metrics: mAP_clean"),
    Case("nothing is compared", [IFGSM], [FALLEN], {}, 6, "--metric target_mAP"),
]
# fmt: on


def answered(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    """The exit code of `robustreid compare`, and what it printed as JSON."""
    capsys.readouterr()
    code = cli.main(["compare", *map(str, arguments), "--format", "json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case(
    tmp_path: Path, make_side: Callable[..., Path], capsys: pytest.CaptureFixture[str], case: Case
) -> None:
    """The words and the exit code of the table."""
    sides = [make_side(tmp_path / "base", case.base), make_side(tmp_path / "new", case.new)]
    options = case.options.split()
    if case.policy:
        (tmp_path / "gate.yml").write_text(case.policy)
        options += ["--policy", str(tmp_path / "gate.yml")]
    code, found = answered(capsys, *sides, *options)
    assert (found["counts"], code, found["exit_code"]) == (case.words, case.exit_code, case.exit_code)


@pytest.mark.parametrize(
    ("base", "new", "options", "code", "said"),
    [
        ("good", "nan", "", 4, "holds NaN or infinite scores"),
        ("nan", "good", "", 4, "holds NaN or infinite scores"),
        ("good", "high", "", 4, "expected a fraction"),
        ("good", "torn", "", 4, "is no row of this tool"),
        ("good", "hostile.parquet", "", 4, "is no baseline of this tool"),
        ("good", "good", "--metric mAP_drop", 2, "mAP_drop never gates: a model that loses clean score has a smaller"),
        ("good", "good", "--metric mAP_atacked", 2, "Did you mean 'mAP_attacked'?"),
        ("good", "good", "--metric ,", 2, "There is no metric to compare"),
        ("good", "good", "--max-drop -1", 2, "expected points from 0 to 100"),
        ("good", "good", "--max-drop nan", 2, "expected points from 0 to 100"),
        ("good", "good", "--policy none.yml", 2, "cannot be read"),
        ("good", "nothing", "", 2, "There is no 'nothing'; give a run directory or a baseline"),
        ("nothing", "good", "", 2, "There is no 'nothing'; give a run directory or a baseline"),
        ("none.parquet", "nothing", "", 2, "There is no 'nothing'"),
    ],
)
def test_what_is_refused(
    tmp_path: Path,
    make_side: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    base: str,
    new: str,
    options: str,
    code: int,
    said: str,
) -> None:
    """In one sentence, with nothing on standard output: what no verdict can be given on wins over a cell that fell."""
    monkeypatch.chdir(tmp_path)
    cells = {"good": PAIR, "nan": [FALLEN, {"attack": "pgd", "spoil": nan}], "torn": PAIR}
    cells["high"] = [FALLEN, {"attack": "pgd", "row": {"mAP_attacked": 1.7}}]
    for name in {base, new} & cells.keys():
        make_side(Path(name), cells[name])
    if new == "torn":
        next(Path("torn/cells").iterdir()).write_bytes(b"PAR1")
    Path("hostile.parquet").write_bytes(b"PAR1" + b"\xff" * 64 + b"PAR1")
    capsys.readouterr()
    assert cli.main(["compare", base, new, *options.split()]) == code
    out, err = capsys.readouterr()
    assert (out, said in err, err.count("\n")) == ("", True, 1)
    assert not Path("none.parquet").exists()


def test_the_first_run_passes_and_leaves_a_baseline(
    tmp_path: Path, make_side: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The second is held against it; a failed cell is named and is no bar."""
    base, first = tmp_path / "gate" / "base.parquet", make_side(tmp_path / "first", [*PAIR, {**FAILED, "seed": 3}])
    code, found = answered(capsys, base, first)
    assert (code, found["verdicts"], found["wrote"], len(found["added"])) == (0, [], str(base), 2)
    assert "a feature is not finite" in found["notes"][0]
    code, found = answered(capsys, base, make_side(tmp_path / "second", [FALLEN, {"attack": "pgd"}]))
    assert (code, found["counts"]) == (1, {"worse": 1, "same": 2})
