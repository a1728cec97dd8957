"""Random signs for identities: how far a sum of differences goes by chance, and which true differences that allows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import exp, floor, inf

import numpy as np
from numpy.typing import NDArray

from .clusters import Clusters

#: Where nothing else is asked for.
FLIPS = 100_000
#: Sums that differ by less, a fraction of the sum of absolute values, are the same.
_SAME = 1e-12
#: Identities whose signs are drawn together, as one byte.
_BYTE = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Flipped:
    """Sums over identities of differences d and of numbers of queries c, each identity's sign drawn anew each time."""

    #: What was flipped; sums are of differences, new less base.
    clusters: Clusters
    #: (F,) float64: sums of d under the signs.
    sums: NDArray[np.float64]
    #: (F,) float64: sums of c under the same signs.
    counts: NDArray[np.float64]
    #: Whether these are all 2^I choices of signs, the unchanged one among them, and not a sample.
    is_complete: bool

    @property
    def p_value(self) -> float:
        """How likely a sum T as far from zero is: (1 + flips with |T*| >= |T|) / (1 + F), or the exact share."""
        reach = abs(self.clusters.sums.sum()) - _SAME * np.abs(self.clusters.sums).sum()
        found = int((np.abs(self.sums) >= reach).sum())
        return found / len(self.sums) if self.is_complete else (1 + found) / (1 + len(self.sums))

    def interval(self, level: float) -> tuple[float, float]:
        """Every true difference that the test would not reject with p <= 1 - level; infinite where it rejects none.

        With the true difference m the test is about d - m c, and a flip exceeds |T| just where m lies between the means
        over queries of the identities that kept their sign and of those that changed it. So the ends are quantiles of
        means of random subsets (Hartigan, Journal of the American Statistical Association 64, 1969).
        """
        total, queries = self.clusters.sums.sum(), self.clusters.counts.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            kept, changed = (total + self.sums) / (queries + self.counts), (total - self.sums) / (queries - self.counts)
        everyone = np.abs(self.counts) == queries
        lower = np.where(everyone, -inf, np.minimum(kept, changed))
        upper = np.where(everyone, inf, np.maximum(kept, changed))
        flips = len(self.sums)
        # The smallest number of flips with which p is above 1 - level, rounding of the product apart.
        place = floor((1 - level) * flips + 1e-9) + 1 if self.is_complete else floor((1 - level) * (1 + flips) + 1e-9)
        if place < 1:
            return -inf, inf
        return float(np.partition(lower, place - 1)[place - 1]), float(
            np.partition(upper, flips - place)[flips - place]
        )


def flip(clusters: Clusters, *, flips: int, seed: int) -> Flipped:
    """Flip the identities' signs `flips` times, or in all 2^I ways where those are no more.

    Args:
        clusters: sums are of differences.
        flips: at least 1.
        seed: of the signs; the same identities in the same order get the same signs.

    Raises:
        ValueError: there are no flips.
    """
    if flips < 1:
        raise ValueError(f"expected at least one flip, got {flips}")
    counts = clusters.counts.astype(np.float64)
    if len(clusters) < 63 and 2 ** len(clusters) <= flips:
        return Flipped(clusters=clusters, sums=_all(clusters.sums), counts=_all(counts), is_complete=True)
    sums = _some(clusters.sums, flips, seed)
    return Flipped(clusters=clusters, sums=sums, counts=_counts(counts.tobytes(), flips, seed), is_complete=False)


def bound(clusters: Clusters) -> float:
    """What the share of flips that go as far never exceeds: 2 exp(-T^2 / 2 sum d^2) (Hoeffding 1963, theorem 2).

    It holds for any differences; for a normal statistic it is about ten times the exact tail.
    """
    squares = float(np.square(clusters.sums).sum())
    return 1.0 if squares == 0 else min(1.0, 2 * exp(-(float(clusters.sums.sum()) ** 2) / (2 * squares)))


def _all(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2^I,): the sum under every choice of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _some(values: NDArray[np.float64], flips: int, seed: int) -> NDArray[np.float64]:
    """(flips,): sums under random signs.

    Eight identities at a time: one random byte picks one of their 256 signed sums. Memory is that of the answer.
    """
    random = np.random.default_rng(seed)
    signs = 1.0 - 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    sums, picked = np.zeros(flips), np.empty(flips)
    for start in range(0, len(values), _BYTE):
        eight = values[start : start + _BYTE]
        drawn = np.frombuffer(random.bytes(flips), dtype=np.uint8)
        np.take(signs[:, : len(eight)] @ eight, drawn, out=picked, mode="clip")
        sums += picked
    return sums


@lru_cache(maxsize=4)
def _counts(counts: bytes, flips: int, seed: int) -> NDArray[np.float64]:
    """`_some` of numbers of queries, which all comparisons on one data set have in common."""
    sums = _some(np.frombuffer(counts, dtype=np.float64), flips, seed)
    sums.flags.writeable = False
    return sums
