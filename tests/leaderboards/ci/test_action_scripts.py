"""The GitHub action's scripts, run in a folder of a team as GitHub runs them, with the tool's real command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from robustreid.leaderboards.gate.baseline import read_baseline

ACTION = Path(__file__).resolve().parents[3] / ".github" / "actions" / "gate"
MakeRun = Callable[..., Path]
Write = Callable[..., Path]
#: A path that a shell could read as much else.
HOSTILE = """it's a "smoke" $(touch pwned) `touch pwned`; touch pwned & grid.yml"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


GRID = """
name: team
models: [{name: net, weights: "${MODEL}"}]
datasets: [{name: mini, format: folder, root: "${DATA}"}]
attacks: [ama-ifgsm, noise]
epsilons: [2/255]
side: query
checks: quick
"""


def has_verdict(step: Any, word: str) -> bool:
    """Whether the summary's table has a row of that word."""
    return re.search(rf"^\| (<code>)?{word}(</code>)? \|", step.summary, re.MULTILINE) is not None


@pytest.fixture
def in_team(step: Any, write_model: Write, write_data: Write) -> Any:
    """A step in a folder with `model.onnx` and the data set `mini`."""
    write_model(step.folder / "model.onnx")
    write_data(step.folder / "mini", count=4)
    return step


def test_a_first_run_writes_the_baseline(in_team: Any) -> None:
    """A grid of a hostile name runs and becomes the baseline; the summary says to commit it; the next run passes."""
    (in_team.folder / HOSTILE).write_text(GRID)
    team = {"grid": HOSTILE, "model": "model.onnx", "data": "mini", "baseline": 'gate/"base" line.parquet'}
    in_team(**team, set="seeds=[3]\n\n  attacks=[noise]\n", out="runs/it's", junit="reports/gate.xml")
    assert in_team.code == 0, in_team.log
    assert in_team.outputs == {
        "verdict": "first-run",
        "exit-code": "0",
        "run": "runs/it's",
        "baseline": team["baseline"],
        "junit": "reports/gate.xml",
    }
    (cell,) = read_baseline(in_team.folder / team["baseline"])
    assert cell.label == "net mini noise linf 2/255 query seed=3"
    assert "### Robustness gate: passed" in in_team.summary
    assert "There was no baseline" in in_team.summary
    assert "Commit the baseline, and later runs are held against it." in in_team.summary
    assert f"Commit {team['baseline']}" in in_team.log
    suite = ET.parse(in_team.folder / "reports" / "gate.xml").getroot()  # noqa: S314 (written by the step)
    assert suite.attrib["failures"] == suite.attrib["errors"] == "0"
    assert not (in_team.folder / "pwned").exists()
    in_team(baseline=team["baseline"], run="runs/it's", junit="")
    assert (in_team.code, in_team.outputs["verdict"]) == (0, "passed"), in_team.log
    assert "No regression was found" in in_team.summary
    assert has_verdict(in_team, "same")


def cell(lower: float = 0.0, **given: Any) -> dict[str, Any]:
    """A cell of 24 people whose attacked scores are lower by so many points."""
    scores = [0.4 + 0.2 * (identity % 7) / 6 - lower / 100 - (identity % 5) / 400 for identity in range(24)]
    queries = []
    for identity, attacked in enumerate(scores):
        query: dict[str, Any] = {"query_id": f"query/{identity}.png", "identity": identity, "camera": 1}
        for metric in ("ap", "ap_trapezoid", "inp", "first_rank"):
            query |= {f"{metric}_clean": 0.8, f"{metric}_attacked": attacked}
        queries.append(query | {"first_rank_clean": 1.0, "first_rank_attacked": 2.0})
    mean = sum(scores) / len(scores)
    return {"mAP_clean": 0.8, "mAP_attacked": mean, "side": "query", "queries": queries, **given}


@pytest.fixture
def before(step: Any, make_run: MakeRun) -> Path:
    """The run that later ones are held against, in the step's folder; two cells."""
    return make_run(step.folder / "before", [cell(), cell(attack="noise")])


def test_a_regression_fails_the_step(step: Any, before: Path, make_run: MakeRun) -> None:
    """Exit code 1, and the cell is in the summary and in the log."""
    make_run(step.folder / "after", [cell(lower=5), cell(attack="noise")])
    step(baseline=before.name, run="after", junit="")
    assert step.code == 1, step.log
    assert (step.outputs["verdict"], step.outputs["exit-code"]) == ("regression", "1")
    assert "### Robustness gate: regression" in step.summary
    assert has_verdict(step, "worse")
    assert "mini ama-ifgsm linf 4/255 query" in step.summary
    assert "worse" in step.log


def test_a_missing_cell_is_no_verdict(step: Any, before: Path, make_run: MakeRun) -> None:
    """Exit code 6; where a regression alone fails the step it ends well, and says the same."""
    make_run(step.folder / "after", [cell()])
    step(baseline=before.name, run="after", junit="", fail_on="regression")
    assert step.code == 0, step.log
    assert (step.outputs["verdict"], step.outputs["exit-code"]) == ("not-comparable", "6")
    assert has_verdict(step, "missing")


def test_what_is_wrong_is_an_error(step: Any) -> None:
    """A run that is not there, and inputs without a meaning: exit code 2 whatever should fail, and no verdict."""
    step(run="nowhere", baseline="nowhere", fail_on="nothing")
    assert (step.code, step.outputs["verdict"], step.outputs["exit-code"]) == (2, "error", "2")
    assert "There is no 'nowhere'" in step.log
    assert "There is no verdict: the comparison ended with exit code 2." in step.summary
    for wrong in ({"strict": "yes"}, {"fail_on": "$(touch pwned)"}):
        step(**wrong)
        assert (step.code, step.outputs["verdict"]) == (2, "error")
        assert f"{next(iter(wrong)).replace('_', '-')} is " in step.log
    assert not (step.folder / "pwned").exists()


@pytest.mark.slow
def test_the_inputs_are_those_of_the_comparison(step: Any, before: Path, make_run: MakeRun) -> None:
    """A drop that is allowed passes, a strict gate does not, a policy is read, and JUnit has the failure."""
    make_run(step.folder / "after", [cell(lower=5), cell(attack="noise")])
    step(baseline=before.name, run="after", junit="deep/gate.xml", fail_on="nothing")
    assert (step.code, step.outputs["verdict"]) == (0, "regression")
    failures = ET.parse(step.folder / "deep" / "gate.xml").getroot().attrib["failures"]  # noqa: S314 (the step's own)
    assert failures == "1"
    step(baseline=before.name, run="after", max_drop="6", junit="")
    assert (step.code, step.outputs["verdict"]) == (0, "passed"), step.log
    step(baseline=before.name, run="after", metric="mAP_clean", junit="")
    assert (step.code, step.outputs["verdict"]) == (0, "passed"), step.log
    (step.folder / "gate policy.yml").write_text("rules: [{select: ama-ifgsm, gate: false}]\n")
    step(baseline=before.name, run="after", policy="gate policy.yml", junit="")
    assert (step.code, step.outputs["verdict"]) == (0, "passed"), step.log
    make_run(step.folder / "failed", [cell(), cell(attack="noise", status="failed", reason="broke")])
    step(baseline=before.name, run="failed", junit="")
    assert (step.code, step.outputs["verdict"]) == (6, "not-comparable")
    step(grid="nowhere.yml", fail_on="nothing")
    assert (step.code, step.outputs["verdict"]) == (2, "error")
    assert "There is no file 'nowhere.yml'" in step.log


@pytest.mark.slow
def test_a_first_baseline_has_no_holes(in_team: Any, write_model: Write) -> None:
    """Where a cell of the first run fails there is nothing to hold later ones against: exit code 3, and no file."""
    write_model(in_team.folder / "broken.onnx", overflows=True)
    (in_team.folder / "grid.yml").write_text(
        GRID.replace("models: [", "models: [{name: broken, weights: broken.onnx}, ")
    )
    in_team(grid="grid.yml", model="model.onnx", data="mini")
    assert (in_team.code, in_team.outputs["verdict"]) == (3, "error"), in_team.log
    assert "running the grid ended with exit code 3" in in_team.summary
    assert not (in_team.folder / "robustreid-baseline.parquet").exists()


#: Builds a wheel of one empty module, and needs nothing for it.
BACKEND = """
import zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name, info = "standin-1.0-py3-none-any.whl", "standin-1.0.dist-info/"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        wheel.writestr("standin.py", "")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: standin\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""


@pytest.mark.slow
def test_the_checkout_is_what_is_installed(tmp_path: Path) -> None:
    """By default the package that the action lies in, by pip itself; a path with spaces is one path."""
    checkout = tmp_path / "a check out"
    shutil.copytree(ACTION, checkout / ".github" / "actions" / "gate")
    (checkout / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "standin"\nversion = "1.0"\n'
    )
    (checkout / "backend.py").write_text(BACKEND)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIP_TARGET": str(tmp_path / "target"),
        "PIP_NO_INDEX": "1",
    }
    command = [str(checkout / ".github" / "actions" / "gate" / "install.sh")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Installing {checkout}\n"
    assert (tmp_path / "target" / "standin.py").exists()
