"""One process writes a run, and everybody may read it meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import robustreid
from robustreid.benchmark.cli import main
from robustreid.benchmark.store.directory import RunDirectory

HOLD = """
import sys
from pathlib import Path
from robustreid.benchmark.store.directory import RunDirectory

with RunDirectory(Path(sys.argv[1])).writing():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def ran(
    people: Callable[..., Path], tiny: Path, grid_file: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> tuple[Path, Any]:
    """A grid and its finished run."""
    grid = grid_file(tiny, people(8))
    return grid, run(grid, tmp_path / "run")


@pytest.fixture
def holder(ran: tuple[Path, Any]) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes the run."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(ran[1].path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_writer_is_refused_until_the_first_is_dead(
    ran: tuple[Path, Any], holder: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 and the first one's pid; `load` and `status` work; after kill -9 the run is free though the note stays."""
    grid, done = ran
    before = done.written()
    assert main(["run", str(grid), "--out", str(done.path), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert f"is being written by process {holder.pid} on " in said
    assert len(robustreid.load(done.path)) == 1
    assert main(["status", str(done.path), "--json"]) == 0
    assert [record["status"] for record in json.loads(capsys.readouterr().out)] == ["done"]
    assert RunDirectory(done.path).is_being_written
    assert done.written() == before

    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (done.path / ".lock.json").exists()
    assert not RunDirectory(done.path).is_being_written
    assert main(["run", str(grid), "--out", str(done.path), "--device", "cpu"]) == 0
    assert done.written() == before
    assert not (done.path / ".lock.json").exists()


def test_readers_see_whole_rows_while_a_run_goes_on(
    people: Callable[..., Path],
    tiny: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    watch: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After each batch the table loads, grows and never has half a row; asking who writes it disturbs nobody."""
    out = tmp_path / "run"
    seen: list[int] = []

    def look(count: int) -> None:
        frame = robustreid.load(out)
        assert frame["status"].isin(["done"]).all()
        assert frame["mAP_attacked"].notna().all()
        seen.append(len(frame))
        assert RunDirectory(out).is_being_written
        if count == 1:
            assert main(["status", str(out)]) == 0

    run(grid_file(tiny, people(8), side=["gallery", "query"], epsilons=["1/255", "2/255"]), out, reporter=watch(look))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1], len(robustreid.load(out))) == (0, 2, 4)
    assert "to run" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="to give up rights takes the rights of root")
def test_a_reader_without_rights_is_no_writer(ran: tuple[Path, Any]) -> None:
    """Whoever may not write the folder can still load it, and is not told that somebody writes it."""
    script = (
        "import os, sys; from pathlib import Path\n"
        "from robustreid.benchmark.store.directory import RunDirectory\n"
        "run = RunDirectory(Path(sys.argv[1])); run.load()\n"
        "os.setuid(65534)\n"
        "print(run.is_being_written)\n"
    )
    path = ran[1].path
    (path / ".lock").touch(mode=0o644)
    for parent in [path, *path.parents]:
        if parent.stat().st_uid == 0 and parent.is_relative_to("/tmp/pytest-of-root"):  # noqa: S108
            parent.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
