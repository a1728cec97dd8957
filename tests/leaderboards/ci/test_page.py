"""docs/ci.md says what is so: its tables are those of the code, and every example on it runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid.benchmark.config.reading import parse_document
from robustreid.benchmark.config.schema import check
from robustreid.leaderboards.expectations import BOUNDS, OPTIONS
from robustreid.leaderboards.gate.baseline import read_baseline
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
Write = Callable[..., Path]


def blocks(page: str) -> list[tuple[str, str]]:
    """The examples of a page in their order: language and text."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def table(head: str, page: str = PAGE) -> list[list[str]]:
    """The rows of the table whose first line begins with `head`, cell by cell."""
    lines = page[page.index(f"\n| {head} |") + 1 :].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def names(rows: list[list[str]]) -> list[str]:
    """What stands in backticks in the first column."""
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row[0])]


COMMANDS, OTHER_MODEL, GITLAB, TESTS, PYTEST, GITHUB = (text for _, text in blocks(PAGE))


def test_every_example_is_known() -> None:
    """The tests below run these blocks and no others; a further example would stop here."""
    assert [language for language, _ in blocks(PAGE)] == ["sh", "sh", "yaml", "python", "sh", "yaml"]


def test_the_keywords_of_the_mark_are_listed() -> None:
    """All of them, and each once."""
    assert sorted(names(table("keyword of the mark"))) == sorted([*OPTIONS, *BOUNDS, "accept_flags"])


def test_the_options_of_pytest_are_listed() -> None:
    """As the plugin adds them."""
    added = re.findall(r'addoption\(\s*"(--robust-\w+)"', (ROOT / "leaderboards" / "pytest_plugin.py").read_text())
    assert len(added) == 4
    assert sorted(name.split()[0] for name in names(table("option"))) == sorted(added)


def test_the_inputs_of_the_action_are_listed() -> None:
    """With their defaults, as the action's file has them; outputs as well."""
    action = YAML(typ="safe").load((ROOT / ".github" / "actions" / "gate" / "action.yml").read_text())
    rows = table("input")
    assert sorted(names(rows)) == sorted(action["inputs"])
    for row in rows:
        default = re.findall(r"`([^`]+)`", row[1])
        for name in names([row])[:1]:
            assert default in ([action["inputs"][name]["default"]], []), name
    said = PAGE[PAGE.index("Outputs: ") :].split("\n")[0]
    assert set(action["outputs"]) <= set(re.findall(r"`([^`]+)`", said))


def test_the_cells_of_the_grid_are_listed() -> None:
    """Five of them, by attack, epsilon and side."""
    text = (ROOT / "benchmark" / "recipes" / "smoke.yml").read_text()
    grid = check(parse_document(text.replace("${", "$ {"), name="smoke.yml", folder=ROOT))
    cells = {
        f"`{attack.name}` {epsilon} {side}"
        for attack in grid.attacks
        for epsilon in grid.epsilons
        for side in grid.side
        if not any(
            (gone.attack, gone.side or side, gone.epsilon or epsilon) == (attack.name, side, epsilon)
            for gone in grid.exclude
        )
    }
    assert len(cells) == 5
    assert {row[0] for row in table("cell")} == cells


def test_the_workflow_is_one_that_github_takes() -> None:
    """It calls this action with inputs that the action has, and reads outputs that it writes."""
    action = YAML(typ="safe").load((ROOT / ".github" / "actions" / "gate" / "action.yml").read_text())
    workflow = YAML(typ="safe").load(GITHUB)
    (job,) = workflow["jobs"].values()
    (gate,) = [step for step in job["steps"] if step["uses"].startswith("./robustreid/")]
    assert (ROOT / gate["uses"].removeprefix("./robustreid/") / "action.yml").is_file()
    assert set(gate["with"]) <= set(action["inputs"])
    assert set(re.findall(r"steps\.gate\.outputs\.([\w-]+)", GITHUB)) <= set(action["outputs"])


@pytest.fixture
def team_folder(tmp_path: Path, write_model: Write, write_data: Write) -> Path:
    """A folder with `model.onnx` and the data set `mini` of 100 people."""
    write_model(tmp_path / "model.onnx")
    write_data(tmp_path / "mini", count=100)
    return tmp_path


def run_shell(folder: Path, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run an example as bash does, stopping at the first error."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ROBUSTREID_CACHE": str(folder / "cache"),
        **variables,
    }
    command = ["bash", "-e", "-c", text]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_the_commands_run(team_folder: Path, write_model: Write, step: Any) -> None:
    """As they stand: the baseline is written, holds, and sees a weaker model, for GitLab and GitHub as well."""
    first = run_shell(team_folder, COMMANDS)
    assert first.returncode == 0, first.stderr
    assert "There was no baseline" in first.stdout
    assert len(read_baseline(team_folder / "robustreid-baseline.parquet")) == 5
    again = run_shell(team_folder, COMMANDS)
    assert again.returncode == 0, again.stderr
    assert "6 same. No regression was found." in again.stdout
    other = run_shell(team_folder, OTHER_MODEL)
    assert other.returncode == 0, other.stderr
    assert "5 done" in other.stderr
    write_model(team_folder / "model.onnx", n_features=3)
    job = YAML(typ="safe").load(GITLAB)["robustness"]
    install, *script = job["script"]
    assert shlex.split(install)[:2] == ["pip", "install"]
    gitlab = run_shell(team_folder, "\n".join(script), **job["variables"])
    assert gitlab.returncode == 1, gitlab.stderr
    assert 'type="worse"' in (team_folder / job["artifacts"]["reports"]["junit"]).read_text()
    (steps,) = (job["steps"] for job in YAML(typ="safe").load(GITHUB)["jobs"].values())
    step(**{name.replace("-", "_"): value for name, value in steps[1]["with"].items()})
    assert (step.code, step.outputs["verdict"]) == (1, "regression"), step.log


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_the_tests_run(team_folder: Path, write_model: Write) -> None:
    """The test file passes through all four lines; a weaker model fails the third, and the fourth accepts it."""
    (team_folder / "test_team.py").write_text(TESTS)
    variables = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "-p robustreid.leaderboards.pytest_plugin --strict-markers -W error",
    }
    done = run_shell(team_folder, PYTEST, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("4 passed") == 4
    assert "robustness.parquet was written: 5 cells." in done.stdout
    assert "robustness.parquet was updated: 0 of its cells are others now, 0 are new, 5 stand" in done.stdout
    write_model(team_folder / "model.onnx", n_features=3)
    relaxed = re.sub(r", min_mAP=\S+?(, min_rank1=\S+?)?\)\n", ")\n", TESTS)
    (team_folder / "test_team.py").write_text(relaxed)
    lines = PYTEST.splitlines()
    worse = run_shell(team_folder, lines[2], **variables)
    assert worse.returncode == 1
    assert "3 failed, 1 passed" in worse.stdout
    assert run_shell(team_folder, lines[3], **variables).returncode == 0
    assert run_shell(team_folder, lines[2], **variables).returncode == 0
