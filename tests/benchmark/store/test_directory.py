"""A run directory by itself: the lock, the sweep, the plan, and what is no run directory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from robustreid import InvalidFileError, StorageError, UserError
from robustreid.benchmark.store.directory import RunDirectory


def test_writing_sweeps_what_a_killed_run_left(tmp_path: Path) -> None:
    """Unfinished files go; finished ones stay; the note of a dead owner is replaced and removed at the end."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / ".0123.part").write_bytes(b"half")
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "kept").write_bytes(b"whole")
    (tmp_path / ".lock.json").write_text('{"pid": 1, "host": "gone", "since": "then"}')
    run = RunDirectory(tmp_path)
    with run.writing():
        assert not list((tmp_path / "tmp").iterdir())
        assert json.loads((tmp_path / ".lock.json").read_text())["pid"] == os.getpid()
        held = run.is_being_written
    assert (held, run.is_being_written) == (True, False)
    assert (tmp_path / "cells" / "kept").read_bytes() == b"whole"
    assert not (tmp_path / ".lock.json").exists()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """The second is told who the first is; when the first raises, the lock is free."""
    run = RunDirectory(tmp_path / "new" / "run")

    def write(error: type[BaseException] | None) -> None:
        with run.writing():
            with pytest.raises(UserError, match=rf"being written by process {os.getpid()} on .* UTC; wait for it"):
                run.writing().__enter__()
            if error:
                raise error

    with pytest.raises(KeyboardInterrupt):
        write(KeyboardInterrupt)
    write(None)


def test_asking_takes_the_lock_from_nobody(tmp_path: Path) -> None:
    """A folder that never was a run is not being written, and asking makes no file in it."""
    assert not RunDirectory(tmp_path).is_being_written
    assert not list(tmp_path.iterdir())


def test_what_is_no_run_directory(tmp_path: Path) -> None:
    """A file in the folder's place, an empty folder, a plan that does not read back: each has its sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; give a folder for the run"):
        RunDirectory(tmp_path / "file")
    with pytest.raises(UserError, match="is no run directory"):
        RunDirectory(tmp_path).planned()
    for broken in ("{", "[]", '{"cells_": []}'):
        (tmp_path / "plan.json").write_text(broken)
        with pytest.raises(InvalidFileError, match=r"plan\.json' does not read back .* run the grid again"):
            RunDirectory(tmp_path).planned()


def test_an_empty_run_loads_as_an_empty_table(tmp_path: Path) -> None:
    """No rows yet, and all the columns."""
    run = RunDirectory(tmp_path)
    run.note_plan("name: x", [])
    frame = run.load(every=True)
    assert len(frame) == 0
    assert {"cell_id", "mAP_attacked", "flags", "schema_version"} <= set(frame.columns)
    assert run.stands() == {}


def test_a_run_where_nothing_can_be_written() -> None:
    """A folder that cannot be made is exit 74, with the place."""
    with (
        pytest.raises(StorageError, match="'/proc/robustreid' could not be written"),
        RunDirectory(Path("/proc/robustreid")).writing(),
    ):
        pass
