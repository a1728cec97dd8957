"""Intervals of a mean over queries and of a paired difference, over identities (docs/statistics.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .clusters import Clusters, clusters_of
from .flips import FLIPS, Flipped, flip
from .resampling import HIGHEST_LEVEL, studentised

#: `studentised bootstrap`: identities drawn with replacement; `sign flips`: differences that a paired test does not
#: reject; `Clopper-Pearson`: next to 0 or 1, or to no difference; `one value`: all identities are alike, so that only
#: people who were not asked can differ; `too few identities`: nothing is known, and the interval is the whole range.
Method = Literal["studentised bootstrap", "sign flips", "Clopper-Pearson", "one value", "too few identities"]

#: With as many identities or fewer that have a hit (or a miss), resamples without any are too common to be of use; and
#: where as many or fewer differ between two models, all in one direction, even p = 2^(1-5) is no evidence.
FEW = 5
#: Sums that differ by less, a fraction of a query, are alike.
_ALIKE = 1e-12


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where the mean over the queries of all people like these lies, gallery, model and attacked images held fixed."""

    #: Fractions, the estimate between them: in [0, 1] of a score, in [-1, 1] of a difference.
    low: float
    high: float
    #: How often such an interval is right, a fraction.
    level: float
    #: How it was found.
    method: Method
    #: Query identities that it rests on.
    n_identities: int


def mean_interval(
    values: ArrayLike, identities: ArrayLike, *, level: float = 0.95, is_binary: bool = False, seed: int = 0
) -> Interval:
    """The interval of a score: a studentised bootstrap over identities of sum of values / number of queries.

    It never leaves what a Clopper-Pearson interval allows that takes an identity for a single trial.

    Args:
        values: (Q,) in [0, 1], larger is better: AP, INP, or hits.
        identities: (Q,) integers.
        level: in (0, 0.999].
        is_binary: whether every value is a hit or a miss, as for Rank-k; where no more than `FEW` identities have a
            hit, or a miss, the interval is Clopper and Pearson's.
        seed: of the resampling; one seed gives the same interval every time.

    Raises:
        ValueError: shapes differ, there is no query, or a value or the level is out of range.
    """
    clusters = clusters_of(_fractions(values), identities)
    _check_level(level)
    special = _without_spread(clusters, lowest=0.0, level=level)
    if special is not None:
        return special
    lowest, highest = clopper_pearson(clusters, level=level)
    hits, misses = clusters.sums > _ALIKE, clusters.counts - clusters.sums > _ALIKE
    if is_binary and min(hits.sum(), misses.sum()) <= FEW:
        ends = clopper_pearson(clusters, level=level, agreement=agreement_of(clusters))
        return _interval(clusters, ends, level, "Clopper-Pearson")
    low, high = studentised(clusters, level=level, seed=seed)
    return _interval(clusters, (max(low, lowest), min(high, highest)), level, "studentised bootstrap")


def interval_of_difference(
    base: ArrayLike, new: ArrayLike, identities: ArrayLike, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """The interval of mean(new) - mean(base) over the same queries: what a sign-flip test does not reject.

    Differences are zero for many people and large for some, and there a studentised bootstrap is right in 87 to 93 % of
    cases only (docs/statistics.md).

    Args:
        base: (Q,) in [0, 1].
        new: (Q,) in [0, 1], of the same queries in the same order.
        identities: (Q,) integers.
        level: in (0, 0.999].
        seed: of the signs.

    Raises:
        ValueError: shapes differ, there is no query, or a value or the level is out of range.
    """
    return interval_of_flips(flip(differences_of(base, new, identities), flips=FLIPS, seed=seed), level=level)


def differences_of(base: ArrayLike, new: ArrayLike, identities: ArrayLike) -> Clusters:
    """New less base, summed by identity.

    Raises:
        ValueError: shapes differ, there is no query, or a value is out of range.
    """
    before, after = _fractions(base), _fractions(new)
    if before.shape != after.shape:
        raise ValueError(f"expected the same queries twice, got {before.shape} and {after.shape}")
    return clusters_of(after - before, identities)


def interval_of_flips(flipped: Flipped, *, level: float) -> Interval:
    """The interval of a paired difference whose signs were flipped.

    Where no more than `FEW` identities changed at all, Clopper and Pearson bound how many others would have, up and
    down. Such an interval holds 0, as the test would never reject it.

    Raises:
        ValueError: the level is out of range.
    """
    _check_level(level)
    clusters = flipped.clusters
    special = _without_spread(clusters, lowest=-1.0, level=level)
    if special is not None:
        return special
    if (np.abs(clusters.sums) > _ALIKE).sum() <= FEW:
        up, down = (replace(clusters, sums=np.maximum(sign * clusters.sums, 0)) for sign in (1, -1))
        ends = (-clopper_pearson(down, level=level)[1], clopper_pearson(up, level=level)[1])
        return _interval(clusters, ends, level, "Clopper-Pearson")
    low, high = flipped.interval(level)
    if np.isinf(low) or np.isinf(high):
        return _interval(clusters, (-1.0, 1.0), level, "too few identities")
    return _interval(clusters, (low, high), level, "sign flips")


def clopper_pearson(clusters: Clusters, *, level: float, agreement: float = 1.0) -> tuple[float, float]:
    """Clopper and Pearson (1934) for clusters of values in [0, 1], sums taken for hits.

    The number of trials is queries / (1 + agreement (size - 1)) (Kish, Survey Sampling, 1965). The size is the number
    of queries of the identity to which a hit belongs on average, or a miss, whichever is more. Values between 0 and 1
    vary less than hits of the same mean: for them the interval is too wide, not too narrow.

    Args:
        clusters: sums at least 0 and at most the counts.
        level: in (0, 1).
        agreement: of two queries of one identity, in [0, 1]; 1 takes every identity for a single trial.
    """
    from scipy.special import betaincinv  # type: ignore[import-untyped] # slow

    counts, mean = clusters.counts.astype(np.float64), clusters.mean
    kinds = (clusters.sums, counts - clusters.sums)
    size = max(float(np.average(counts, weights=weights)) for weights in kinds if weights.sum() > _ALIKE)
    trials = counts.sum() / (1 + agreement * (size - 1))
    hits, tail = np.clip(mean, 0, 1) * trials, (1 - level) / 2
    low = betaincinv(hits, trials - hits + 1, tail) if hits > _ALIKE else 0.0
    high = betaincinv(hits + 1, trials - hits, 1 - tail) if trials - hits > _ALIKE else 1.0
    return float(low), float(high)


def agreement_of(clusters: Clusters) -> float:
    """How often another query of the same identity is a hit too, where one is: in (0, 1]; misses where they are fewer.

    Four pairs that agree are added to those at hand, so that a single hit among an identity's queries does not say that
    queries are independent. With none the intervals of 1 to 5 such identities are right too seldom, with ten too often
    (docs/statistics.md).
    """
    counts = clusters.counts.astype(np.float64)
    rarer = clusters.sums if clusters.mean <= 0.5 else counts - clusters.sums
    return float((np.sum(rarer * (rarer - 1)) + 4) / (np.sum(rarer * (counts - 1)) + 4))


def _without_spread(clusters: Clusters, *, lowest: float, level: float) -> Interval | None:
    """Where identities do not differ, or there is but one of them; None elsewhere.

    If all of n identities have mean v, then with confidence `level` no more than a share q of all people, with
    (1 - q)^n = (1 - level) / 2, have another: and theirs may be anything.
    """
    if len(clusters) < 2:
        return _interval(clusters, (lowest, 1.0), level, "too few identities")
    if (np.abs(clusters.residuals) > _ALIKE * clusters.counts).any():
        return None
    counts, mean = clusters.counts.astype(np.float64), clusters.mean
    share = 1 - ((1 - level) / 2) ** (np.average(counts, weights=counts) / counts.sum())
    return _interval(clusters, (mean - share * (mean - lowest), mean + share * (1 - mean)), level, "one value")


def _interval(clusters: Clusters, ends: tuple[float, float], level: float, method: Method) -> Interval:
    """The ends with the estimate between them."""
    low, high = min(ends[0], clusters.mean), max(ends[1], clusters.mean)
    return Interval(low=float(low), high=float(high), level=level, method=method, n_identities=len(clusters))


def _fractions(values: ArrayLike) -> NDArray[np.float64]:
    """Values as float64 in [0, 1]: what rounding took past an end is put back, anything else refused."""
    found = np.asarray(values, dtype=np.float64)
    if found.size and (found.min() < -1e-9 or found.max() > 1 + 1e-9):
        raise ValueError(f"expected values in [0, 1], got {found.min()} to {found.max()}")
    return np.clip(found, 0, 1)


def _check_level(level: float) -> None:
    """Refuse levels without an order statistic."""
    if not 0 < level <= HIGHEST_LEVEL:
        raise ValueError(f"expected a level above 0 and at most {HIGHEST_LEVEL}, got {level}")
