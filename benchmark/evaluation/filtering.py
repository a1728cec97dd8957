"""Tie groups at the price of a float32 product: it decides what is clear, and fixed point the rest.

For each similarity that a positive of a query has we need how many negatives are nearer, and how many are tied. In
float32 a similarity is off by less than a proven margin (`sides.py`). A negative further than that from all positives
is above or below each of them for certain, and is counted (`thresholds.py`); the few others, in doubt, are compared in
fixed point. What comes out is a function of exact similarities alone: float32, the BLAS, the device and the chunks
decide which pairs are in doubt, never what is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from . import devices
from .thresholds import thresholds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .sides import Sides
    from .spans import Spans
    from .thresholds import Thresholds

#: D = 2048: a pair in doubt costs 4 us, any pair 0.05 us; without a filter any pair costs 0.11 us.
_MOST_IN_DOUBT = 1 / 64
#: How many times as many may be in bins that a band touches: they cost 0.1 us each.
_NEAR_DOUBT = 16
#: As many numbers near a threshold are collected before they are looked at.
_COLLECTED = 2**15
#: Pairs that are compared in fixed point at once.
_PAIRS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """Some queries against the whole gallery."""

    sides: Sides
    spans: Spans
    #: (R,) int64: the queries' places among the valid ones, and their rows; those of one identity side by side.
    places: NDArray[np.int64]
    rows: NDArray[np.int64]
    #: Gallery images compared at once.
    gallery_chunk: int


def filtered_groups(chunk: Chunk) -> NDArray[np.int64] | None:
    """Columns (5, T) int64 of the tie groups of a chunk: query, C, P, N, y; None where too many pairs are in doubt.

    Memory: 4 R (D + bins + 2 gallery_chunk) and 4 gallery_chunk D bytes.
    """
    sides, rows = chunk.sides, chunk.rows
    query, values, tied = _positives(chunk)
    starts = np.searchsorted(query, np.arange(len(rows) + 1))
    references, margin = sides.references(values, rows[query]), sides.margin
    limits = thresholds(values, starts, references - margin, references + margin, sides.device)
    if not _count_negatives(chunk, limits):
        return None
    nearer, ties = limits.above_and_tied()
    # Ascending within each query: of two values the later one is nearer.
    seen = np.cumsum(tied)
    nearer_positives = seen[starts[query + 1] - 1] - seen
    columns = [chunk.places[query], nearer + nearer_positives, nearer_positives, ties + tied, tied]
    return np.stack(columns)[:, ::-1]


def _positives(chunk: Chunk) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Of each distinct similarity to a positive, (T,) each: the query within the chunk, the value, how many have it.

    By query, ascending.
    """
    sides, spans, found = chunk.sides, chunk.spans, []
    for run in spans.runs(chunk.rows):
        rows = chunk.rows[run.start : run.stop]
        queries = sides.wholes(sides.queries, rows)
        for start in range(run.own_start, run.own_stop, chunk.gallery_chunk):
            gallery = spans.rows[start : min(start + chunk.gallery_chunk, run.own_stop)]
            products = torch.mm(queries, sides.wholes(sides.gallery, gallery).T)
            values = sides.similarities(products, rows[:, None], gallery).cpu().numpy()
            query, column = np.divmod(np.arange(values.size), len(gallery))
            found.append((query + run.start, column + start, values.reshape(-1)))
    query, column, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    row = chunk.rows[query]
    is_positive = (column < spans.junk_start[row]) | (column >= spans.junk_stop[row])
    query, values = query[is_positive], values[is_positive]

    order = np.lexsort((values, query))
    query, values = query[order], values[order]
    is_first = np.ones(len(query), dtype=bool)
    is_first[1:] = (query[1:] != query[:-1]) | (values[1:] != values[:-1])
    first = np.flatnonzero(is_first)
    return query[first], values[first], np.diff(first, append=len(query))


def _count_negatives(chunk: Chunk, limits: Thresholds) -> bool:
    """Count the negatives of all queries of a chunk; false, and counts of no use, where too many are in doubt."""
    sides, spans, n_query = chunk.sides, chunk.spans, len(chunk.rows)
    dimension, width = sides.queries.features.shape[1], min(chunk.gallery_chunk, len(spans.rows))
    queries = sides.singles(sides.queries, chunk.rows, np.empty((n_query, dimension), np.float32))
    room = np.empty((width, dimension), np.float32)
    memory = torch.empty((2, n_query * width), dtype=torch.float32, device=sides.device)
    runs = spans.runs(chunk.rows)
    collected: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    n_collected = n_doubtful = 0
    for start in range(0, len(spans.rows), width):
        rows = spans.rows[start : start + width]
        stop = start + len(rows)
        numbers, scratch = memory[:, : n_query * len(rows)].view(2, n_query, len(rows))
        sides.approximate(queries, sides.singles(sides.gallery, rows, room), rows, out=numbers, scratch=scratch)
        for run in runs:
            if run.own_start < stop and start < run.own_stop:
                numbers[run.start : run.stop, max(run.own_start - start, 0) : run.own_stop - start] = -torch.inf
        near = limits.count(numbers, scratch)
        if len(near) > _NEAR_DOUBT * _MOST_IN_DOUBT * numbers.numel():
            return False
        if len(near):
            collected.append((near // len(rows), near % len(rows) + start, numbers.view(-1)[near]))
            n_collected += len(near)
        if n_collected > _COLLECTED or (n_collected and stop == len(spans.rows)):
            query, column, number = (torch.cat(parts) for parts in zip(*collected, strict=True))
            inside = limits.count_outside(query, number)
            n_doubtful += int(inside.sum())
            if n_doubtful > _MOST_IN_DOUBT * n_query * stop:
                return False
            _count_doubtful(chunk, limits, query[inside], column[inside])
            collected, n_collected = [], 0
    return True


def _count_doubtful(chunk: Chunk, limits: Thresholds, query: torch.Tensor, column: torch.Tensor) -> None:
    """Compare pairs (P,) of queries within the chunk and gallery columns in fixed point."""
    sides = chunk.sides
    order = torch.argsort(query)
    query, column = query[order], column[order]
    query_rows, gallery_rows = chunk.rows[query.cpu().numpy()], chunk.spans.rows[column.cpu().numpy()]
    products = torch.empty(len(query), dtype=torch.float64, device=sides.device)
    width = devices.at_once(_PAIRS, sides.device)
    for start in range(0, len(query), width):
        pairs = slice(start, start + width)
        queries = sides.wholes(sides.queries, query_rows[pairs])
        products[pairs] = torch.linalg.vecdot(queries, sides.wholes(sides.gallery, gallery_rows[pairs]))
    limits.count_exact(query, sides.similarities(products, query_rows, gallery_rows))
