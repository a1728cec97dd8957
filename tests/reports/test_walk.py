"""A stranger's walk: a new defence from init to its place on a page, and an attack on it that lowers that place.

Every step is the command that a stranger types, in a process of its own, in an empty folder.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

TRACK = """name: quick-query-4
version: 1
title: A few drawn people, queries attacked at 4/255
dataset:
  entry: {name: synthetic, identities: 24, cameras: 2, distractors: 16}
  queries: 48
  gallery: 64
  identities: 24
  terms: MIT, drawn by this package
protocol: market-v1
side: query
goal: untargeted
norm: linf
epsilon: 4/255
perturb_at: native
references: other-side
attacker_data: labelled gallery
precision: exact
average_precision: step
metric_version: 1
engine_version: 2
attacks:
  - entry: {name: ama-ifgsm}
    version: 1
    parameters: {momentum: 0.0, objective: push, optimiser: ifgsm, step_size: 1/255, steps: null}
  - entry: {name: fna}
    version: 1
    parameters: {momentum: 0.0, objective: furthest, optimiser: ifgsm, step_size: 1/255, steps: 15}
curve: {attack: ama-ifgsm, epsilons: [2/255, 4/255]}
"""

#: A stronger attack on the same threat: what a finder runs at home.
FINDING = """name: finding
models: [{name: found, architecture: tinynet, weights: NAME/weights.safetensors}]
datasets: [{name: synthetic, identities: 24, cameras: 2, distractors: 16}]
attacks: [{name: strong, objective: soft-ap, optimiser: apgd, steps: 60, restarts: 2}]
epsilons: [4/255]
side: query
checks: quick
"""


@dataclass(frozen=True)
class Shell:
    """A folder, and what is typed in it."""

    folder: Path
    cache: Path

    def __call__(self, *words: str, code: int = 0) -> str:
        """Standard output of `robustreid WORDS`; the exit code must be `code`."""
        script = "import sys; from robustreid.benchmark.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", script, *words]
        env = {**os.environ, "ROBUSTREID_CACHE": str(self.cache)}
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=600, env=env)
        assert done.returncode == code, f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if code else "")

    def standings(self) -> list[dict[str, str]]:
        """Who stands where, as a script reads it."""
        text = self("leaderboard", "board", "--track", "quick.yml", "--format", "csv")
        return list(csv.DictReader(io.StringIO(text)))


def submission(shell: Shell, name: str, weights: str, track: str = "quick-query-4") -> None:
    """Begin a submission of weights that ship, and fill in what only its author knows."""
    shell("submit", "init", name, "--yes", "--name", name, "--track", track)
    file = shell.folder / name / "submission.yaml"
    text = file.read_text()
    for before, after in (
        ("What it is, in a line", "Trained on drawn people"),
        ('["First Author", "Second Author"]', '["A. Stranger"]'),
        ("architecture: resnet50", "architecture: tinynet"),
        ("[imagenet, market1501]", "[synthetic]"),
    ):
        assert before in text
        text = text.replace(before, after)
    file.write_text(text)
    source = Path(str(resources.files("robustreid.models.weights"))) / f"{weights}.safetensors"
    shutil.copy(source, shell.folder / name / "weights.safetensors")


def accepted(shell: Shell, name: str) -> str:
    """Score, pack, verify, review and accept a submission; the review."""
    said = shell("submit", "score", name, "--track", "quick.yml")
    assert f"quick-query-4-v1: {name} keeps" in said
    shell("submit", "pack", name)
    said = shell("submit", "verify", f"{name}.zip", "--sample", "2", "--seed", "11", "--track", "quick.yml")
    assert said.count("agrees") == 2
    options = ("--verification", f"{name}.zip.verified.json")
    review = shell("submit", "review", f"{name}.zip", "--board", "board", "--track", "quick.yml", *options)
    shell("submit", "accept", f"{name}.zip", "--board", "board", *options)
    return review


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """An empty folder but for a track file, and a cache of its own."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "quick.yml").write_text(TRACK)
    return Shell(folder, tmp_path_factory.mktemp("walk-cache"))


@pytest.mark.slow
def test_walk(shell: Shell, visit: Callable[..., Page]) -> None:
    """Init, inspect, check, score, pack, verify, review, accept, a page; then a found attack lowers the entry."""
    submission(shell, "undefended", "tiny")
    accepted(shell, "undefended")
    submission(shell, "my-defence", "tiny-goat")
    assert "my-defence" in shell("inspect", "my-defence")
    assert "SUB413" in shell("submit", "check", "my-defence")
    review = accepted(shell, "my-defence")
    assert "**sampled and verified**" in review
    assert "Place 1 of 2." in review
    before = shell.standings()
    assert [row["model"] for row in before] == ["my-defence", "undefended"]
    assert {row["provenance"] for row in before} == {"sampled and verified"}
    shell("report", "board", "--track", "quick.yml", "--out", "site")
    (address,) = (shell.folder / "site" / "tracks").glob("*.html")
    page = visit(address)
    first = page.locator("table tbody tr").first
    assert "my-defence" in first.inner_text()
    assert "sampled and verified" in first.inner_text()

    (shell.folder / "finding.yml").write_text(FINDING.replace("NAME", "my-defence"))
    shell("run", "finding.yml", "--out", "finding", "--keep-images", "1000")
    (images,) = (shell.folder / "finding" / "images").iterdir()
    said = shell(
        *("submit", "attack", str(images), "--board", "board", "--model", "my-defence"),
        *("--finder", "A. Finder", "--track", "quick.yml"),
    )
    assert "credit goes to A. Finder" in said
    after = {row["model"]: row for row in shell.standings()}
    worst = {row["model"]: float(row["mAP_worst"]) for row in before}
    assert float(after["my-defence"]["mAP_worst"]) < worst["my-defence"]
    assert float(after["undefended"]["mAP_worst"]) == worst["undefended"]
    shell("report", "board", "--track", "quick.yml", "--out", "site")
    page = visit(address)
    assert "A. Finder" in page.locator("main").inner_text()


@pytest.mark.slow
def test_walk_of_a_liar(shell: Shell, tmp_path: Path) -> None:
    """Rows that say more than the model keeps are found by their queries, and where those lie too, by a sample."""
    liar = Shell(tmp_path, shell.cache)
    (tmp_path / "quick.yml").write_text(TRACK)
    submission(liar, "liar", "tiny")
    liar("submit", "score", "liar", "--track", "quick.yml")
    results = tmp_path / "liar" / "results"
    _raise(results, queries=False)
    assert "SUB" in liar("submit", "check", "liar", code=4)
    _raise(results, queries=True)
    liar("submit", "pack", "liar")
    said = liar("submit", "verify", "liar.zip", "--sample", "3", "--seed", "1", "--track", "quick.yml", code=4)
    assert "less than claimed" in said
    found = json.loads((tmp_path / "liar.zip.verified.json").read_text())
    assert (found["agrees"], found["provenance"]) == (False, "self-reported")
    words = ("accept", "liar.zip", "--board", "board", "--verification", "liar.zip.verified.json")
    assert "did not agree" in liar("submit", *words, code=2)
    assert not (tmp_path / "board" / "entries" / "liar").exists()


def _raise(results: Path, *, queries: bool) -> None:
    """Write the clean scores in the place of the attacked ones."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for folder in ("cells", "queries") if queries else ("cells",):
        for file in (results / folder).glob("*.parquet"):
            table = pq.read_table(file)
            names = [name for name in table.column_names if "_attacked" in name and name != "n_attacked"]
            for name in names:
                clean = name.replace("_attacked_float", "_clean").replace("_attacked", "_clean")
                place = table.column_names.index(name)
                table = table.set_column(place, pa.field(name, table.schema.field(name).type), table[clean])
            for name in [name for name in table.column_names if name.endswith("_drop")]:
                place = table.column_names.index(name)
                nothing = pa.array([None if old is None else 0.0 for old in table[name].to_pylist()], pa.float64())
                table = table.set_column(place, table.schema.field(name), nothing)
            pq.write_table(table, file)
