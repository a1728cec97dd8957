"""Progress with time left: bars on a terminal, plain lines elsewhere, nothing on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Seconds between plain lines of one stage.
_EVERY = 15.0


class Reporter(Protocol):
    """What a run tells while it goes on."""

    def note(self, text: str) -> None:
        """Say one line."""
        ...

    def start(self, title: str, total: float) -> Stage:
        """Begin something that takes `total` units of work."""
        ...


class Stage(Protocol):
    """One thing under way."""

    def advance(self, units: float) -> None:
        """So much more is done."""
        ...

    def finish(self) -> None:
        """It is over, whether all was done or not."""
        ...


@contextmanager
def staged(reporter: Reporter, title: str, total: float) -> Iterator[Stage]:
    """A stage that ends with its block."""
    stage = reporter.start(title, total)
    try:
        yield stage
    finally:
        stage.finish()


class Silent:
    """Says nothing: for notebooks and tests."""

    def note(self, text: str) -> None:
        """Nothing."""

    def start(self, title: str, total: float) -> Stage:  # noqa: ARG002
        """Nothing."""
        return self

    def advance(self, units: float) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


def duration(seconds: float) -> str:
    """How people say it.

    >>> duration(3725)
    '1 h 02 min'
    >>> duration(75)
    '1 min 15 s'
    """
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"


def _now() -> float:
    return time.monotonic()


@dataclass
class PlainLines:
    """A line when something starts, ends, and now and then between: for files, pipes and CI."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)

    def note(self, text: str) -> None:
        """Say one line. Where nobody listens any more the line is lost, never the run."""
        with suppress(OSError):
            print(text, file=self.stream, flush=True)

    def start(self, title: str, total: float) -> Stage:
        """A stage that says how far it is every few seconds."""
        return _PlainStage(self, title, total)


@dataclass
class _PlainStage:
    lines: PlainLines
    title: str
    total: float
    done: float = 0.0
    started: float = field(default_factory=_now)
    said: float = field(default_factory=_now)

    def advance(self, units: float) -> None:
        self.done += units
        now = _now()
        if now - self.said >= _EVERY and 0 < self.done < self.total:
            self.said = now
            left = (now - self.started) * (self.total / self.done - 1)
            self.lines.note(f"{self.title}: {self.done / self.total:.0%}, about {duration(left)} left")

    def finish(self) -> None:
        if self.total:
            self.lines.note(f"{self.title}: {duration(_now() - self.started)}")


class Bars:
    """Bars with time left, on a terminal."""

    def __init__(self) -> None:
        """Begin drawing on standard error."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._progress: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._progress.start()

    def note(self, text: str) -> None:
        """Say one line above the bars."""
        self._progress.console.print(text, markup=False, highlight=False)

    def start(self, title: str, total: float) -> Stage:
        """A bar."""
        return _Bar(self._progress, self._progress.add_task(title, total=total))

    def close(self) -> None:
        """Stop drawing."""
        self._progress.stop()


@dataclass
class _Bar:
    progress: Progress
    task: TaskID

    def advance(self, units: float) -> None:
        self.progress.advance(self.task, units)

    def finish(self) -> None:
        self.progress.remove_task(self.task)


@contextmanager
def reporting() -> Iterator[Reporter]:
    """Bars where standard error is a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield PlainLines()
        return
    bars = Bars()
    try:
        yield bars
    finally:
        bars.close()


@dataclass
class Both:
    """Moves the bar of the grid and that of the group."""

    whole: Stage
    stage: Stage
    work: float
    _done: float = 0.0

    def advance(self, share: float) -> None:
        self._done += share
        self.whole.advance(share * self.work)
        self.stage.advance(share * self.work)

    def started_anew(self) -> Both:
        """Itself, with nothing done."""
        if self._done:
            self.advance(-self._done)
        return self
