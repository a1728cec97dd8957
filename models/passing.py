"""What holds while a model runs: which sample of a random defence it is, and which stages gradients pass straight.

A part of a forward may run once more during the backward pass, to save memory (`defences.random.Smoothing`). What held
then has to hold again: `resumption` keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

_Entry = Callable[[], AbstractContextManager[None]]

_SAMPLE: ContextVar[int] = ContextVar("sample", default=0)
_ENTRY: ContextVar[_Entry] = ContextVar("entry", default=nullcontext)


def current_sample() -> int:
    """Which sample of random defences it is: 0 while images are scored."""
    return _SAMPLE.get()


@contextmanager
def sampled(index: int) -> Iterator[None]:
    """While this lasts random defences draw their sample `index`: 0 is the one that images are scored by."""
    token = _SAMPLE.set(index)
    try:
        yield
    finally:
        _SAMPLE.reset(token)


@contextmanager
def entered(entry: _Entry) -> Iterator[None]:
    """While this lasts `entry()` holds, and what runs once more later runs inside it too; it may be entered twice."""
    token = _ENTRY.set(entry)
    try:
        with entry():
            yield
    finally:
        _ENTRY.reset(token)


def resumption() -> _Entry:
    """A function that gives a context in which all that holds now holds again, in whatever thread."""
    index, entry = _SAMPLE.get(), _ENTRY.get()

    @contextmanager
    def again() -> Iterator[None]:
        with sampled(index), entered(entry):
            yield

    return again
