"""The command line, called in this process or as one of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from robustreid.benchmark import cli

if TYPE_CHECKING:
    from collections.abc import Callable

_PROGRESS = re.compile(r"^(reading|decoding|clean features of) .*: [^:]* s$")


@pytest.fixture
def call(bench: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs a command line in this process, in the folder `bench`."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        code = cli.main(arguments)
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run


@pytest.fixture
def refused(call: Callable[..., subprocess.CompletedProcess[str]], bench: Path) -> Callable[..., str]:
    """A function that runs a command that has to fail with nothing begun, and gives its one sentence."""

    def run(code: int, *arguments: str) -> str:
        before = {path for path in bench.rglob("*") if "__pycache__" not in path.parts}
        done = call(*arguments)
        said = [line for line in done.stderr.splitlines() if not _PROGRESS.match(line)]
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert "Traceback" not in done.stderr
        assert {path for path in bench.rglob("*") if "__pycache__" not in path.parts} == before
        assert len(said) == 1, done.stderr
        assert re.search(r"[.?]$", said[0])
        return said[0]

    return run


@pytest.fixture
def command() -> Callable[..., list[str]]:
    """A function that gives the words of a real process of this tool; `before` is Python that runs first in it."""

    def words(*arguments: str, before: str = "") -> list[str]:
        # A job in the background of a shell starts with Ctrl-C switched off, and so would everything it starts.
        listens = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)"
        runs = f"from robustreid.benchmark.cli import main\nsys.exit(main({list(arguments)!r}))"
        return [sys.executable, "-c", f"import sys\n{listens}\n{before}\n{runs}"]

    return words


@pytest.fixture
def fails_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | type[BaseException]], None]:
    """A function that makes `robustreid version` raise."""

    def plant(error: Any) -> None:
        def raising() -> None:
            raise error

        monkeypatch.setattr("robustreid.benchmark.commands.version.callback", lambda **_: raising())

    return plant
