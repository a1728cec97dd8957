"""How long commands take that run nothing, process by process: `--help`, and `plan` of ten thousand cells.

Nothing here asserts a time. What is timed is the CPU time of the processes; the wall time of a command that was
alone on its machine is hardly more, and stands beside it in the saved results as `wall_seconds`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
import robustreid.models.weights

if TYPE_CHECKING:
    from collections.abc import Callable

resource = pytest.importorskip("resource", reason="the times of other processes need a Unix system")

COMMAND = "import sys; from robustreid.benchmark.cli import main; sys.exit(main())"
#: 5 models x 2 data sets x 5 attacks x 20 epsilons x 2 sides x 5 seeds.
N_CELLS = 10_000
GRID = """\
name: large
models:
  - tiny
  - tiny-robust
  - {{name: tiny-euclidean, architecture: tinynet, weights: "{weights}", metric: euclidean}}
  - {{name: tiny-plain, architecture: tinynet, weights: "{weights}", normalise: none}}
  - {{name: tiny-both, architecture: tinynet, weights: "{weights}", normalise: none, metric: euclidean}}
datasets:
  - {{name: market, format: folder, root: "{root}/market1501-mini"}}
  - {{name: cuhk, format: folder, root: "{root}/cuhk01-mini"}}
attacks:
  - pgd
  - {{name: pgd-10, objective: push, optimiser: pgd, steps: 10}}
  - {{name: pgd-40, objective: push, optimiser: pgd, steps: 40}}
  - {{name: pgd-restarts, objective: push, optimiser: pgd, steps: 20, restarts: 5}}
  - noise
epsilons: [{epsilons}]
side: [gallery, query]
seeds: [0, 1, 2, 3, 4]
"""


def cpu_seconds() -> float:
    """CPU time of this process and of those that it started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + float(children.ru_utime) + float(children.ru_stime)


pytestmark = pytest.mark.benchmark(group="commands that run nothing, CPU time", timer=cpu_seconds)


@pytest.fixture
def measured(benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that times a command in processes of their own, and gives what the last one said."""
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path / "cache"))
    wall: list[float] = []

    def once(*words: str) -> str:
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", COMMAND, *words], cwd=tmp_path, capture_output=True, text=True)
        wall.append(time.perf_counter() - started)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def measure(*words: str) -> str:
        said: str = benchmark.pedantic(once, args=words, rounds=5, warmup_rounds=1)
        benchmark.extra_info["wall_seconds"] = median(wall)
        return said

    return measure


@pytest.fixture
def write_large(tmp_path: Path) -> Callable[[Path], str]:
    """A function that writes the grid file about the data sets in a folder."""

    def write(root: Path) -> str:
        weights = Path(robustreid.models.weights.__file__).parent / "tiny.safetensors"
        epsilons = ", ".join(f"{count}/255" for count in range(1, 21))
        path = tmp_path / "large.yml"
        path.write_text(GRID.format(weights=weights, root=root, epsilons=epsilons))
        return str(path)

    return write


def test_help(measured: Callable[..., str]) -> None:
    """The list of commands."""
    assert "Commands:" in measured("--help")


def test_plan_without_data(measured: Callable[..., str], write_large: Callable[[Path], str], tmp_path: Path) -> None:
    """Ten thousand cells of data sets that are not there."""
    said = measured("plan", write_large(tmp_path / "nowhere"))
    assert said.count("not found") == 2
    assert f"{N_CELLS} cells to run: 0 gradients" in said


def test_plan(measured: Callable[..., str], write_large: Callable[[Path], str], real_data: Path) -> None:
    """Ten thousand cells of real data sets, whose 2,370 files are looked at again, and what they would cost."""
    said = measured("plan", write_large(real_data))
    assert f"{N_CELLS} cells to run: " in said
    assert len([line for line in said.splitlines() if " on " in line]) == 20


def test_plan_for_programs(measured: Callable[..., str], write_large: Callable[[Path], str], real_data: Path) -> None:
    """The same as JSON: a record a cell."""
    assert len(json.loads(measured("plan", write_large(real_data), "--json"))) == N_CELLS
