"""One item ahead: the next batch is loaded in a thread while the caller works on the present one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_U = TypeVar("_U")


def ahead(load: Callable[[_T], _U], items: Sequence[_T]) -> Generator[tuple[_T, _U], None, None]:
    """Each item and what `load` makes of it, in order; while the caller has one, the next is loaded, and no other.

    What is handed out is not held here, so its memory is the caller's to free. All items are loaded by one thread,
    which ends with this iterator: at the last item, at an exception, or when the iterator is closed or dropped.
    Whoever keeps the iterator in a variable and may stop early puts `contextlib.closing` around it.

    Args:
        load: called once an item, in the thread.
        items: what is loaded, such as the batches of a side.

    Raises:
        Whatever `load` raises, where its item would have come; the items before it come first, none comes after it.
    """
    waiting: deque[tuple[_T, Future[_U]]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="robustreid-ahead")
    try:
        for item in items:
            waiting.append((item, pool.submit(load, item)))
            if len(waiting) > 1:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _first(waiting: deque[tuple[_T, Future[_U]]]) -> tuple[_T, _U]:
    item, future = waiting.popleft()
    return item, future.result()
