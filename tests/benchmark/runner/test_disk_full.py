"""The disk is full at some moment: exit 74, what was finished stands, and the same command completes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from robustreid import StorageError

LIMITED = """
import resource, sys
from robustreid.benchmark.cli import main

limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def grid(people: Callable[..., Path], tiny: Path, grid_file: Callable[..., Path]) -> Path:
    """Six cells in two groups."""
    return grid_file(tiny, people(10), attacks=["ama-fgsm", "ama-ifgsm", "noise"], side=["gallery", "both"])


@pytest.fixture(scope="module")
def whole(grid: Path, run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The run with room enough."""
    return run(grid, tmp_path_factory.mktemp("full") / "whole")


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """A function that lets so many more files reach the disk, or any number."""
    real = os.fsync

    def limit(files: int | None) -> None:
        left = iter(range(files)) if files is not None else iter(int, 1)

        def fsync(descriptor: int) -> None:
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)

    return limit


def test_the_disk_fills_up_at_every_file(
    grid: Path, whole: Any, room: Callable[[int | None], None], run: Callable[..., Any], ran_at: Any, tmp_path: Path
) -> None:
    """Again and again there is room for a few files more; every file that stands is whole, and so is the last table."""
    ran = ran_at(tmp_path / "run")
    for files in (0, 1, 3, 4, 5, 6, 7, 8):
        room(files)
        before = ran.written()
        with pytest.raises(StorageError, match="the disk is full; free some space and run the same command again"):
            run(grid, ran.path)
        stands = ran.written()
        assert {cell_id: stands[cell_id] for cell_id in before} == before
        assert not list(ran.path.glob("**/*.part"))
        complete = whole.table()
        assert all(complete[cell_id] == found for cell_id, found in ran.table().items())
        assert not (ran.path / ".lock.json").exists()
    assert 0 < len(ran.table()) < 6
    room(None)
    run(grid, ran.path)
    assert ran.table() == whole.table()
    assert not (ran.path / "work").exists()


def test_a_limit_of_the_system_in_the_middle_of_a_file(grid: Path, whole: Any, ran_at: Any, tmp_path: Path) -> None:
    """The operating system cuts a row's file off after 16 KiB: exit 74, no part of a row; later it completes."""
    ran = ran_at(tmp_path / "run")
    words = ["run", str(grid), "--out", str(ran.path), "--device", "cpu", "--batch-size", "16"]
    row = min(file.stat().st_size for file in (whole.path / "cells").iterdir())
    kept = max(file.stat().st_size for kind in ("queries", "features") for file in (whole.path / kind).iterdir())
    assert row > kept, "the limit has to lie between what comes before a row and a row"
    done = [
        subprocess.run([sys.executable, "-c", LIMITED, str(limit), *words], capture_output=True, text=True)
        for limit in ((row + kept) // 2, 2**40)
    ]
    assert [one.returncode for one in done] == [74, 0], [one.stderr for one in done]
    assert "the file-size limit is reached" in done[0].stderr
    assert "Traceback" not in done[0].stderr
    assert ran.table() == whole.table()
    assert all(pq.ParquetFile(file).read().num_rows for file in ran.path.glob("*/*.parquet"))
