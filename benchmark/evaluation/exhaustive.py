"""Tie groups from all exact similarities: what `filtering.py` finds, without a filter.

For models that leave hardly anything clear (a collapsed one ties every pair) and features whose norms float32 cannot
hold. Only images at least as near as a query's furthest positive are ever sorted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .similarity import fill_similarities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .filtering import Chunk

#: Images at least as near as the furthest positive are sorted where there are at most so many for each distinct
#: similarity of a positive, and counted otherwise: 16 ns an image against 1.5 to 5 us a value.
_SORTED_PER_VALUE = 256
#: All similarities of some queries take no more than this, if need be of fewer queries.
_BYTES = 2**25


def exhaustive_groups(chunk: Chunk) -> NDArray[np.int64]:
    """Columns (5, T) int64 of the tie groups of a chunk: query, C, P, N, y."""
    sides, spans = chunk.sides, chunk.spans
    dtype = np.float32 if sides.queries.metric == "cosine" else np.float64
    n_query = min(len(chunk.rows), max(1, _BYTES // max(1, len(spans.rows) * np.dtype(dtype).itemsize)))
    similarities = np.empty((n_query, len(spans.rows)), dtype)
    parts = []
    for start in range(0, len(chunk.rows), n_query):
        rows = chunk.rows[start : start + n_query]
        out = similarities[: len(rows)]
        fill_similarities(
            sides.queries, sides.gallery, rows, spans.rows,
            out=out, gallery_chunk=chunk.gallery_chunk, multiply=sides.multiply,
        )  # fmt: skip
        for place, query, row in zip(chunk.places[start : start + n_query], rows, out, strict=True):
            own_start, own_stop = spans.own_start[query], spans.own_stop[query]
            junk_start, junk_stop = spans.junk_start[query], spans.junk_stop[query]
            positives = np.concatenate([row[own_start:junk_start], row[junk_stop:own_stop]])
            row[junk_start:junk_stop] = -np.inf
            parts.append(_groups_of_query(place, row, positives))
    return np.concatenate(parts, axis=1)


def _groups_of_query(place: int, row: NDArray[Any], positives: NDArray[Any]) -> NDArray[np.int64]:
    """Columns (5, T) int64 of one query's tie groups: query, C, P, N, y.

    Args:
        place: the query's number among the valid ones.
        row: (G,) similarities to all images, minus infinity for junk.
        positives: (n,) those of the positives, read from `row`.
    """
    values, tied_positives = np.unique(positives, return_counts=True)
    values, tied_positives = values[::-1], tied_positives[::-1]
    candidates = row[row >= values[-1]]
    is_sorted = len(candidates) <= _SORTED_PER_VALUE * len(values)
    nearer, reached = (_count_sorted if is_sorted else _count)(candidates, values)
    nearer_positives = np.cumsum(tied_positives) - tied_positives
    return np.stack([np.full_like(nearer, place), nearer, nearer_positives, reached - nearer, tied_positives])


def _count(row: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many of row (G,) are above, and how many at or above, each of values (T,); passes over the row."""
    above = [np.count_nonzero(row > value) for value in values]
    reached = [np.count_nonzero(row >= value) for value in values]
    return np.array(above, dtype=np.int64), np.array(reached, dtype=np.int64)


def _count_sorted(row: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What `_count` gives, by sorting the row once."""
    ordered = np.sort(row)
    above = len(row) - np.searchsorted(ordered, values, side="right")
    reached = len(row) - np.searchsorted(ordered, values, side="left")
    return above.astype(np.int64), reached.astype(np.int64)
