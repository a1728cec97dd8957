"""What is nobody's fault here: full disks, closed pipes, Ctrl-C; and what is ours, a bug."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from robustreid import StorageError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[..., subprocess.CompletedProcess[str]]

posix = pytest.mark.skipif(os.name != "posix", reason="signals, pipes and limits of POSIX")

#: Python that makes every forward slow, so that a run is still under way when something happens to it.
SLOW = """
import time
from robustreid.models.pixels import PixelEmbedder
fast = PixelEmbedder.forward
def slow(self, images):
    time.sleep(0.05)
    return fast(self, images)
PixelEmbedder.forward = slow
"""


def test_a_bug_keeps_its_traceback(call: Call, fails_with: Callable[[Any], None]) -> None:
    """Exit code 70, the traceback, and whom to tell."""
    fails_with(ZeroDivisionError("one of ours"))
    done = call("version")
    assert (done.returncode, done.stdout) == (70, "")
    assert "Traceback (most recent call last)" in done.stderr
    assert "ZeroDivisionError: one of ours" in done.stderr
    assert done.stderr.endswith("This is a bug in robustreid; please report it with the traceback above.\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "Interrupted. What was finished stands; the same command goes on from there.\n"),
        (MemoryError(), 70, "Out of memory; run again with a smaller --batch-size.\n"),
        (UserError("a\nb."), 2, "a\nb.\n"),
        (StorageError("The disk."), 74, "The disk.\n"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            74,
            "The output could not be written: No space left on device. ",
        ),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 0, ""),
        (SystemExit(0), 70, ""),
        (SystemExit(1), 70, ""),
        (OSError(errno.ENOENT, "No such file"), 70, ""),
    ],
    ids=repr,
)
def test_every_end_has_its_code(
    call: Call, fails_with: Callable[[Any], None], error: BaseException, code: int, said: str
) -> None:
    """Only a regression is 1: neither a closed pipe nor an exit in somebody's code looks like one."""
    fails_with(error)
    done = call("version")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert ("Traceback" in done.stderr) == (code == 70 and not said)


@posix
def test_a_closed_pipe_is_no_failure(command: Callable[..., list[str]]) -> None:
    """`robustreid ls attacks | head -1`, the reader already gone: no traceback, not 1, nothing said at exit."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        words = command("ls", "attacks")
        done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@posix
def test_head_reads_what_it_wants(command: Callable[..., list[str]]) -> None:
    """The same with a real `head`: the first line comes through."""
    lister = subprocess.Popen(command("ls", "attacks"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    head = subprocess.run(["head", "-1"], stdin=lister.stdout, capture_output=True, text=True, timeout=60)
    _, said = lister.communicate(timeout=60)
    assert (lister.returncode, said) == (0, b"")
    assert head.stdout.split()[0] == "ama-fgsm"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_output_is_told(command: Callable[..., list[str]]) -> None:
    """Exit code 74 where standard output has no room."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 (a device)
        done = subprocess.run(command("ls", "attacks"), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (
        74,
        "The output could not be written: No space left on device. What was finished stands.\n",
    )


def rows(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("runs/tiny/cells/*.parquet")}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EROFS, "the file system is read-only; choose another"),
    ],
)
def test_a_full_disk_stops_a_run_and_nothing_is_lost(
    call: Call, write_grid: Callable[..., Path], bench: Path, monkeypatch: pytest.MonkeyPatch, code: int, reason: str
) -> None:
    """Exit code 74 in one sentence; rows that stand stay, no part of a file is left, the same command completes."""
    write_grid(attacks="attacks: [ama-fgsm, noise]", side="side: [query, gallery]")
    assert call("run", "grid.yml", "--limit", "1").returncode == 0
    before = rows(bench)
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if len(rows(bench)) > 1:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    done = call("run", "grid.yml")
    assert (done.returncode, done.stdout) == (74, "")
    assert reason in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].endswith("What was finished stands.")
    assert "Traceback" not in done.stderr
    assert before < rows(bench)
    assert list((bench / "runs").rglob("*.part")) == []
    monkeypatch.undo()
    monkeypatch.chdir(bench)
    assert call("run", "grid.yml").returncode == 0
    assert len(rows(bench)) == 4


@posix
def test_a_file_size_limit_is_told(
    command: Callable[..., list[str]], write_grid: Callable[..., Path], bench: Path
) -> None:
    """A real limit of the operating system: exit code 74, one sentence, no file in part."""
    write_grid()
    limit = "import resource, signal\nresource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))"
    done = subprocess.run(
        command("run", "grid.yml", before=limit), capture_output=True, text=True, cwd=bench, timeout=90
    )
    assert done.returncode == 74, done.stderr
    assert "the file-size limit is reached; raise it (ulimit -f)" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert rows(bench) == set()
    assert [path for path in bench.rglob("*.part*") if path.is_file()] == []
    again = subprocess.run(command("run", "grid.yml"), capture_output=True, text=True, cwd=bench, timeout=90)
    assert (again.returncode, len(rows(bench))) == (0, 1)


@posix
def test_an_interrupted_run_goes_on(
    command: Callable[..., list[str]], write_grid: Callable[..., Path], bench: Path
) -> None:
    """Ctrl-C in the middle: 130, a sentence, what was finished stands; the same command completes the rest."""
    write_grid(attacks="attacks: [ama-fgsm, ama-ifgsm, noise]", side="side: [query, gallery, both]")
    process = subprocess.Popen(
        command("run", "grid.yml", "--batch-size", "2", before=SLOW),
        cwd=bench,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not rows(bench) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    finished = {name: (bench / "runs/tiny/cells" / name).read_bytes() for name in rows(bench)}
    assert (process.returncode, out) == (130, ""), said
    assert said.endswith("Interrupted. What was finished stands; the same command goes on from there.\n")
    assert "Traceback" not in said
    assert 1 <= len(finished) < 9
    done = subprocess.run(
        command("run", "grid.yml", "--batch-size", "2", "--json"), capture_output=True, text=True, cwd=bench, timeout=90
    )
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in json.loads(done.stdout)] == ["done"] * 9
    assert {name: (bench / "runs/tiny/cells" / name).read_bytes() for name in finished} == finished
    assert f"{len(finished)} stand already" in done.stderr
