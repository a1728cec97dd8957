"""Loading one item ahead: order, exceptions, memory and threads, and wrong twins that break each of these."""

from __future__ import annotations

import contextlib
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from robustreid.benchmark.runner.prefetch import ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Prefetch = Callable[[Callable[[int], Any], Sequence[int]], Iterator[tuple[int, Any]]]

#: Longer than any load here takes on a busy machine: a wait that ends by it has failed.
PATIENCE = 20.0


def patience(prefetch: Prefetch) -> float:
    """Wrong twins let us wait in vain."""
    return PATIENCE if prefetch is ahead else 0.5


class Pixels:
    """Something that can be watched to be freed."""

    def __init__(self, item: int) -> None:
        self.item = item


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("robustreid-ahead")}


def order(prefetch: Prefetch) -> bool:
    """Items come in order, each with what was loaded for it."""
    return [(item, found.item) for item, found in prefetch(Pixels, range(7))] == [(n, n) for n in range(7)]


def failure(prefetch: Prefetch) -> bool:
    """What a load raises comes where its item would have come, and ends it."""

    def load(item: int) -> int:
        if item == 3:
            raise OSError("unreadable")
        return item

    came = []
    try:
        for item, _ in prefetch(load, range(6)):
            came.append(item)
    except OSError:
        return came == [0, 1, 2]
    return False


def is_ahead(prefetch: Prefetch) -> bool:
    """While the caller has an item, the next one is loaded to its end, in another thread."""
    done = [threading.Event() for _ in range(5)]
    here = threading.get_ident()
    strangers = []

    def load(item: int) -> None:
        strangers.append(threading.get_ident() != here)
        done[item].set()

    for item, _ in prefetch(load, range(5)):
        if item < 4 and not done[item + 1].wait(patience(prefetch)):
            return False
    return all(strangers)


def is_modest(prefetch: Prefetch) -> bool:
    """While the caller has an item, no load but the next has begun, however long the caller takes."""
    started: list[int] = []
    second = threading.Event()

    def load(item: int) -> None:
        started.append(item)
        if item == 1:
            second.set()

    walk = prefetch(load, range(6))
    next(walk)
    second.wait(patience(prefetch))
    # The thread is free now: whatever it may do it does within a moment.
    threading.Event().wait(0.05)
    begun = list(started)
    list(walk)
    return begun == [0, 1]


def frees(prefetch: Prefetch) -> bool:
    """What was handed out and dropped is gone, though the caller has not asked for the next item yet."""
    walk = prefetch(Pixels, range(3))
    watched = weakref.ref(next(walk)[1])
    gc.collect()
    is_gone = watched() is None
    list(walk)
    return is_gone


PROMISES = (order, failure, is_ahead, is_modest, frees)


def broken(prefetch: Prefetch) -> list[str]:
    """The promises that a way to load ahead does not keep."""
    return [promise.__name__ for promise in PROMISES if not promise(prefetch)]


def lazy(load: Callable[[int], Any], items: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """A wrong twin: everything in the caller's thread."""
    for item in items:
        yield item, load(item)


def swallowing(load: Callable[[int], Any], items: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """A wrong twin: an item that does not load is left out."""

    def quiet(item: int) -> Any:
        with contextlib.suppress(OSError):
            return load(item)

    yield from ahead(quiet, items)


def shifted(load: Callable[[int], Any], items: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """A wrong twin: of the next item where it is there already."""
    found = [pair for _, pair in ahead(lambda item: (item, load(item)), items)]
    for item in items:
        yield item, found[min(item + 1, len(found) - 1)][1]


def holding(load: Callable[[int], Any], items: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """A wrong twin: the last one is kept in a variable."""
    for item, found in ahead(load, items):  # noqa: UP028 (that is the mistake)
        yield item, found


def test_promises_are_kept() -> None:
    """Order, exceptions, one ahead and no more, and nothing held."""
    assert broken(ahead) == []
    assert threads() == set()


@pytest.mark.parametrize(
    ("twin", "faults"),
    [
        (lazy, ["is_ahead", "is_modest"]),
        (swallowing, ["failure"]),
        (shifted, ["order", "failure", "is_modest", "frees"]),
        (holding, ["frees"]),
    ],
)
def test_wrong_twins_are_caught(twin: Prefetch, faults: list[str]) -> None:
    """The same checks refuse a loader that does not load ahead, hides an exception, mixes items up, or holds them."""
    assert broken(twin) == faults


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_items(count: int) -> None:
    """None, one and two items come as they are, and no thread stays."""
    assert list(ahead(lambda item: item + 10, range(count))) == [(item, item + 10) for item in range(count)]
    assert threads() == set()


def test_an_exception_of_the_first_item() -> None:
    """It is raised at once, and no thread stays."""
    with pytest.raises(ZeroDivisionError):
        next(ahead(lambda item: 1 // item, [0, 1, 2]))
    assert threads() == set()


def test_a_caller_that_stops_leaves_no_thread() -> None:
    """By `break`, by an exception, by `close`, and before the first item."""
    for item, _ in ahead(str, range(9)):
        if item == 2:
            break
    assert threads() == set()
    with pytest.raises(KeyError):
        raise KeyError(next(ahead(str, range(9))))
    gc.collect()
    assert threads() == set()
    with contextlib.closing(ahead(str, range(9))) as walk:
        next(walk)
        assert len(threads()) == 1
    assert threads() == set()
    ahead(str, range(9)).close()
    assert threads() == set()


def test_a_load_that_takes_long_is_waited_for() -> None:
    """Closing returns when the load under way has ended: nothing works on in the background."""
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def load(item: int) -> int:
        if item == 1:
            begun.set()
            go_on.wait(PATIENCE)
            ended.set()
        return item

    walk = ahead(load, range(5))
    next(walk)
    assert begun.wait(PATIENCE)
    threading.Timer(0.05, go_on.set).start()
    walk.close()
    assert ended.is_set()
    assert threads() == set()
