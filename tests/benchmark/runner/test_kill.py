"""kill -9 at any moment, then the same command: the same table, nothing torn, nothing computed twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

#: A job in the background of a shell starts with Ctrl-C switched off, and so would everything it starts.
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from robustreid.benchmark.cli import main
sys.exit(main(sys.argv[1:]))
"""
SECONDS = 240

#: When a run is killed: a glob in its folder, and how many files it must match.
MOMENTS = {
    "before anything": ("features", 0),
    "a file under way": ("tmp/.*", 1),
    "the first batch kept": ("work/*/*.safetensors", 1),
    "some batches kept": ("work/*/*.safetensors", 3),
    "the first row": ("cells/*.parquet", 1),
    "queries ahead of their row": ("queries/*.parquet", 4),
    "a second group": ("cells/*.parquet", 7),
    "near the end": ("cells/*.parquet", 11),
}


@pytest.fixture(scope="module")
def grid(people: Callable[..., Path], fast: Path, grid_file: Callable[..., Path]) -> Path:
    """Twelve cells in two groups, one of them on both sides: some seconds of work in batches of 8."""
    attacks = ["ama-fgsm", "ama-mifgsm", {"name": "pgd", "steps": 4}]
    return grid_file(fast, people(6), attacks=attacks, epsilons=["2/255", "4/255"], side=["gallery", "both"])


@pytest.fixture(scope="module")
def whole(grid: Path, tmp_path_factory: pytest.TempPathFactory, ran_at: Callable[[Path], Any]) -> Any:
    """The run that nobody interrupted, and how long it took."""
    out = tmp_path_factory.mktemp("kill") / "whole"
    _finish(grid, out)
    return ran_at(out)


def _start(grid: Path, out: Path) -> subprocess.Popen[str]:
    words = ["run", str(grid), "--out", str(out), "--device", "cpu", "--batch-size", "8"]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _finish(grid: Path, out: Path) -> None:
    process = _start(grid, out)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said


def _kill(process: subprocess.Popen[str], how: signal.Signals) -> bool:
    """Whether there was anybody left to kill; nobody may be left afterwards, no child either."""
    process.send_signal(how)
    _, said = process.communicate(timeout=SECONDS)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert process.returncode in {0, -how if how == signal.SIGKILL else 130}, said
    return process.returncode != 0


def _kill_when(grid: Path, out: Path, is_time: Callable[[], bool], how: signal.Signals = signal.SIGKILL) -> bool:
    process = _start(grid, out)
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and not is_time():
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.001)
    return _kill(process, how)


def _count(out: Path, pattern: str) -> int:
    try:
        return len(list(out.glob(pattern)))
    except OSError:  # a folder that goes away while it is read
        return 0


def check_untorn(out: Path, whole: Any, ran: Any) -> None:
    """Every file that stands reads, every row has its queries, and all of it is what the whole run has."""
    for kind in ("cells", "queries"):
        for file in (out / kind).glob("*.parquet"):
            assert pq.ParquetFile(file).read().num_rows == (1 if kind == "cells" else 12)
    finished, complete = ran.table(), whole.table()
    assert {cell_id: complete[cell_id] for cell_id in finished} == finished


def check_resumed(grid: Path, out: Path, whole: Any, ran: Any, before: dict[str, tuple[int, int]]) -> None:
    """After the same command: the same table, what stood not written again, nothing left lying about."""
    _finish(grid, out)
    assert ran.table() == whole.table()
    after = ran.written()
    assert {cell_id: after[cell_id] for cell_id in before} == before
    assert not list((out / "tmp").iterdir())
    assert not (out / "work").exists()
    assert not (out / ".lock.json").exists()
    assert sorted(path.name for path in out.iterdir() if path.name != ".lock") == [
        "cells",
        "checks",
        "features",
        "grid.yml",
        "plan.json",
        "queries",
        "tmp",
    ]


@pytest.mark.slow
def test_kill_at_chosen_moments(grid: Path, whole: Any, ran_at: Callable[[Path], Any], tmp_path: Path) -> None:
    """Killed while a file is under way, with batches kept and near the end, interrupted between rows: one run."""
    out = tmp_path / "run"
    ran = ran_at(out)
    before: dict[str, tuple[int, int]] = {}
    for name in ("a file under way", "some batches kept", "queries ahead of their row", "near the end"):
        pattern, count = MOMENTS[name]
        # Ctrl-C once: exit 130, and the lock is let go.
        how = signal.SIGINT if name == "queries ahead of their row" else signal.SIGKILL
        count = max(count, _count(out, pattern) + 1) if how == signal.SIGINT else count
        _kill_when(grid, out, lambda p=pattern, c=count: _count(out, p) >= c, how)  # type: ignore[misc]
        assert how == signal.SIGKILL or not (out / ".lock.json").exists()
        check_untorn(out, whole, ran)
        stands = ran.written()
        assert {cell_id: stands[cell_id] for cell_id in before} == before, name
        before = stands
    assert len(before) >= 3
    check_resumed(grid, out, whole, ran, before)
    # Gradients of batches that were kept were not taken again: in the end as many were spent as without any kill.
    assert ran.rows["backwards_spent"].tolist() == whole.rows["backwards_spent"].tolist()


@pytest.mark.slow
def test_kill_at_every_moment(grid: Path, whole: Any, ran_at: Callable[[Path], Any], tmp_path: Path) -> None:
    """A run of its own for each moment, killed there and resumed once."""
    for index, (pattern, count) in enumerate(MOMENTS.values()):
        out = tmp_path / str(index)
        killed = _kill_when(grid, out, lambda p=pattern, c=count, o=out: _count(o, p) >= c)  # type: ignore[misc]
        assert killed, pattern
        check_untorn(out, whole, ran_at(out))
        check_resumed(grid, out, whole, ran_at(out), ran_at(out).written())


@pytest.mark.slow
def test_kill_after_random_delays(grid: Path, whole: Any, ran_at: Callable[[Path], Any], tmp_path: Path) -> None:
    """One run killed again and again, each time after a delay from a seeded stream, until it is through."""
    delays = random.Random(20)  # noqa: S311 (not a secret)
    started = time.monotonic()
    _finish(grid, tmp_path / "timed")
    span = time.monotonic() - started
    for name in ("one", "two"):
        out = tmp_path / name
        ran = ran_at(out)
        before: dict[str, tuple[int, int]] = {}
        for _ in range(8):
            end = time.monotonic() + delays.uniform(0.3, 1.0) * span
            _kill_when(grid, out, lambda end=end: time.monotonic() > end)  # type: ignore[misc]
            if not out.exists():
                continue
            check_untorn(out, whole, ran)
            stands = ran.written()
            assert {cell_id: stands[cell_id] for cell_id in before} == before
            before = stands
        check_resumed(grid, out, whole, ran, before)
