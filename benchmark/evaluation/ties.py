"""Exact expectations over a random order within ties.

A tie group has C images and P positives before it, N images and y positives in it. Its y positives stand on a random
y-subset of the ranks C+1 ... C+N. With b = (y-1)/(N-1), the chance that another given rank of the group is a positive
once one is (0 if N = 1), each function here is the expectation of one score's part in the group. After DESIGN.md,
section 5; the tests enumerate every order. Positives first (or last) within a group is itself a group, of N = y images.

All arrays are (T,), T groups of all queries. Everything is a sum of terms of one sign or cancels benignly; relative
error about 1e-13 for N up to 1e5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIRECT_TERMS = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class TieGroups:
    """The groups of equal similarity that hold a positive, query by query, nearest first."""

    #: (T,) int64: which query, counted among those scored; ascending.
    query: NDArray[np.int64]
    #: (T,) int64 >= 0: C, valid images nearer than the group.
    nearer_images: NDArray[np.int64]
    #: (T,) int64 >= 0: P, positives nearer than the group.
    nearer_positives: NDArray[np.int64]
    #: (T,) int64 >= 1: N, valid images in the group.
    tied_images: NDArray[np.int64]
    #: (T,) int64 in [1, N]: y, positives in the group.
    tied_positives: NDArray[np.int64]

    def __post_init__(self) -> None:
        columns = (self.query, self.nearer_images, self.nearer_positives, self.tied_images, self.tied_positives)
        if len({column.shape for column in columns}) != 1:
            raise ValueError(f"expected five columns of one length, got {[column.shape for column in columns]}")
        if (self.tied_positives < 1).any() or (self.tied_positives > self.tied_images).any():
            raise ValueError("expected 1 to N positives in each tie group")
        if (self.nearer_positives < 0).any() or (self.nearer_positives > self.nearer_images).any():
            raise ValueError("expected 0 to C nearer positives before each tie group")

    def __len__(self) -> int:
        """How many groups there are."""
        return len(self.query)

    def select(self, chosen: NDArray[np.bool_]) -> TieGroups:
        """The groups where chosen (T,) is true."""
        return TieGroups(
            query=self.query[chosen],
            nearer_images=self.nearer_images[chosen],
            nearer_positives=self.nearer_positives[chosen],
            tied_images=self.tied_images[chosen],
            tied_positives=self.tied_positives[chosen],
        )

    def optimistic(self) -> TieGroups:
        """The positives of each group before its negatives."""
        return self._only_positives(self.nearer_images)

    def pessimistic(self) -> TieGroups:
        """The positives of each group after its negatives."""
        return self._only_positives(self.nearer_images + self.tied_images - self.tied_positives)

    def _only_positives(self, nearer_images: NDArray[np.int64]) -> TieGroups:
        return TieGroups(
            query=self.query,
            nearer_images=nearer_images,
            nearer_positives=self.nearer_positives,
            tied_images=self.tied_positives,
            tied_positives=self.tied_positives,
        )


def harmonic_span(start: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.float64]:
    """H(start + length) - H(start) = 1/(start+1) + ... + 1/(start+length), to a few units in the last place.

    32 terms are added directly; the rest by Euler and Maclaurin, H(x) = ln x + gamma + 1/(2x) - 1/(12x^2) + ..., whose
    difference is taken term by term (log1p), never as a difference of two large harmonic numbers.
    """
    total = np.zeros(np.broadcast(start, length).shape)
    for term in range(1, _DIRECT_TERMS + 1):
        inside = length >= term
        if not inside.any():
            return total
        total += inside / (start + term)
    rest = np.maximum(length - _DIRECT_TERMS, 0).astype(np.float64)
    low = (start + _DIRECT_TERMS).astype(np.float64)
    high = low + rest
    tail = np.log1p(rest / low) - rest / (2 * low * high)
    for power, coefficient in ((2, -1 / 12), (4, 1 / 120), (6, -1 / 252), (8, 1 / 240)):
        tail += coefficient * (high**-power - low**-power)
    return total + tail


def _another(groups: TieGroups) -> NDArray[np.float64]:
    """Compute b = (y-1)/(N-1), 0 if N = 1."""
    return (groups.tied_positives - 1) / np.maximum(groups.tied_images - 1, 1)


def step_precisions(groups: TieGroups) -> NDArray[np.float64]:
    """Expected sum, over the group's positives, of precision at their rank: n times the part in step AP.

    y/N [(P+1) S + b (N - (C+1) S)], S = H(C+N) - H(C); y (P+1)/(C+1) where N = 1.
    """
    C, P, N, y = groups.nearer_images, groups.nearer_positives, groups.tied_images, groups.tied_positives
    S = harmonic_span(C, N)
    tied = y / N * ((P + 1) * S + _another(groups) * (N - (C + 1) * S))
    return np.where(N == 1, (P + 1) / (C + 1), tied)


def trapezoid_precisions(groups: TieGroups) -> NDArray[np.float64]:
    """Expected sum, over the group's positives, of the mean of precision at their rank and just before it.

    Before rank 1 precision counts as 1 (REFERENCE.md, section 4.4). The second half: y/N [P S' + b (N - C S')],
    S' = H(C+N-1) - H(C-1); where C = 0 the bracket is 1 + b (N-1).
    """
    C, P, N, y = groups.nearer_images, groups.nearer_positives, groups.tied_images, groups.tied_positives
    before = np.maximum(C, 1)
    S = harmonic_span(before - 1, N)
    b = _another(groups)
    tied = y / N * np.where(C == 0, 1 + b * (N - 1), P * S + b * (N - C * S))
    previous = np.where((N == 1) & (C > 0), P / before, tied)
    return (step_precisions(groups) + previous) / 2


def first_ranks(first: TieGroups) -> NDArray[np.float64]:
    """Expected rank, from 1, of a query's first positive, given its first group: C + (N+1)/(y+1)."""
    return first.nearer_images + (first.tied_images + 1) / (first.tied_positives + 1)


def hits(first: TieGroups, cutoff: int) -> NDArray[np.float64]:
    """Chance that a positive stands among the first `cutoff` ranks, given each query's first group (CMC).

    1 - binom(N-y, m)/binom(N, m), m = min(cutoff - C, N), added up rank by rank: y/(N-j) times the chance of none yet.
    """
    N, y = first.tied_images, first.tied_positives
    hit = np.zeros(len(first))
    miss = np.ones(len(first))
    for rank in range(cutoff):
        inside = (first.nearer_images + rank < cutoff) & (rank < N)
        left = np.maximum(N - rank, 1)
        hit += np.where(inside, miss * y / left, 0.0)
        miss *= np.where(inside, np.maximum(N - y - rank, 0) / left, 1.0)
    return hit


def inverse_negative_penalties(last: TieGroups) -> NDArray[np.float64]:
    """Expected n/rank of a query's last positive (INP), given its last group, where n = P + y.

    Sum over m = y..N of n/(C+m) binom(m-1, y-1)/binom(N, y). Closed where y = N (the last rank) and where y = 1
    (n S/N); else the sum, once for each distinct (C, N, y), its weights by w(N) = y/N, w(m-1) = w(m) (m-y)/(m-1).
    """
    C, N, y = last.nearer_images, last.tied_images, last.tied_positives
    n = last.nearer_positives + y
    result = np.where(y == N, n / (C + N), n * harmonic_span(C, N) / N)
    summed = np.flatnonzero((y > 1) & (y < N))
    distinct, which = np.unique(np.stack([C, N, y], axis=1)[summed], axis=0, return_inverse=True)
    sums = np.array([_inverse_maximum(*map(int, row)) for row in distinct], dtype=np.float64)
    result[summed] = n[summed] * sums[which.reshape(-1)]
    return result


def _inverse_maximum(C: int, N: int, y: int) -> float:
    """E[1 / (C + largest of a random y-subset of 1..N)], for 1 < y < N."""
    m = np.arange(N, y, -1, dtype=np.float64)
    weights = np.cumprod(np.concatenate([[y / N], (m - y) / (m - 1)]))
    return float((weights / (C + np.arange(N, y - 1, -1))).sum())
