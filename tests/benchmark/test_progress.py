"""Progress: what is said, when, and where."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest
from robustreid.benchmark import progress
from robustreid.benchmark.progress import Bars, PlainLines, Reporter, Silent, duration, reporting, staged

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (75, "1 min 15 s"),
        (3599.6, "1 h 00 min"),
        (3725, "1 h 02 min"),
        (360000, "100 h 00 min"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    """In the two units that matter."""
    assert duration(seconds) == said


def test_plain_lines_have_title_percentage_and_time_left(clock: Clock) -> None:
    """A line every fifteen seconds at most, and one when the stage ends."""
    stream = io.StringIO()
    lines = PlainLines(stream)
    with staged(lines, "decoding mini", 200) as stage:
        for seconds, units in ((5, 20), (10, 30), (5, 10), (30, 40), (50, 100)):
            clock.now += seconds
            stage.advance(units)
    lines.note("done")
    assert stream.getvalue().splitlines() == [
        "decoding mini: 25%, about 45 s left",
        "decoding mini: 50%, about 50 s left",
        "decoding mini: 1 min 40 s",
        "done",
    ]


def test_a_stage_ends_with_its_block(clock: Clock) -> None:
    """An error does not keep the last line from being said; a stage of nothing says nothing."""
    stream = io.StringIO()
    with pytest.raises(KeyError), staged(PlainLines(stream), "grid", 2):
        raise KeyError
    with staged(PlainLines(stream), "nothing", 0) as stage:
        stage.advance(0)
    assert stream.getvalue() == "grid: 0 s\n"


def test_nothing_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Elsewhere than on a terminal: plain lines on standard error alone."""
    with reporting() as reporter:
        assert isinstance(reporter, PlainLines)
        work(reporter)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "[a] note\nstage: 0 s\n")


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Bars draw on standard error, take brackets literally, and stop when the block ends, error or not."""
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())

    def broken_work() -> None:
        with reporting() as reporter:
            assert isinstance(reporter, Bars)
            work(reporter)
            raise KeyError

    with pytest.raises(KeyError):
        broken_work()
    assert "[a] note" in terminal.getvalue()
    assert capsys.readouterr().out == ""
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h") == 1


def test_a_reader_that_left_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken pipe behind progress loses the line, not the work."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    gone = Gone()
    work(PlainLines(gone))
    assert gone.getvalue() == ""


@pytest.mark.parametrize("make", [Silent, lambda: PlainLines(io.StringIO())])
def test_every_reporter_takes_the_same_calls(make: Callable[[], Reporter], capsys: pytest.CaptureFixture[str]) -> None:
    """Silence is a reporter as well."""
    work(make())
    assert capsys.readouterr() == ("", "")


def work(reporter: Reporter) -> None:
    """What any command does with a reporter."""
    reporter.note("[a] note")
    with staged(reporter, "stage", 2) as stage:
        stage.advance(1)
        stage.advance(0.5)
