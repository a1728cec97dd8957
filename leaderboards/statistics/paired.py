"""Whether two models, asked the same queries, differ: a sign-flip test over identities."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .clusters import clusters_of
from .intervals import interval_of_difference

#: `sign flips`: all of them or a sample; `normal tail`: a bound on what they would find, where a sample has none so
#: small; `identical`: every query has the same value twice.
Method = Literal["sign flips", "normal tail", "identical"]

#: Sums that differ by less, a fraction of the sum of absolute differences, are the same.
_SAME = 1e-12
#: Identities whose signs are drawn together, as one byte.
_BYTE = 8


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """How far apart two models are on the same queries, and how likely that is by chance."""

    #: Mean of the new less mean of the base, a fraction.
    difference: float
    #: Two-sided, in (0, 1].
    p_value: float
    #: Of the difference, over identities; infinite where there is only one.
    standard_error: float
    #: Query identities.
    n_identities: int
    #: Ends of the 95% interval of the difference, fractions.
    low: float
    high: float
    #: How the p-value was found.
    method: Method


def paired_test(
    base: ArrayLike, new: ArrayLike, identities: ArrayLike, *, flips: int = 100_000, seed: int = 0
) -> PairedTest:
    """Test the hypothesis that exchanging the two models within any identity changes nothing.

    The statistic is |T|, T the sum over identities of d, the sum of new - base over an identity's queries. Under the
    hypothesis each d is as likely with the other sign: p = (1 + number of flips with |T*| >= |T|) / (1 + flips), or the
    share among all 2^I where those are no more (Fisher, The Design of Experiments, 1935, section 21; Phipson and Smyth
    2010 for the ones).

    A sample cannot show p below 1 / (1 + flips), which a board with thousands of comparisons may need. There p is
    2 exp(-T^2 / 2 sum d^2), which no flipping exceeds for any data (Hoeffding 1963, theorem 2), once that is smaller;
    flips are then not drawn. For a normal statistic it is about ten times the exact tail.

    Args:
        base: (Q,) in [0, 1].
        new: (Q,) in [0, 1], of the same queries in the same order.
        identities: (Q,) integers.
        flips: how many to draw, at least 1.
        seed: of the flips and of the interval's resampling.

    Raises:
        ValueError: shapes differ, there is no query, a value is out of range, or there are no flips.
    """
    if flips < 1:
        raise ValueError(f"expected at least one flip, got {flips}")
    interval = interval_of_difference(base, new, identities, seed=seed)
    before, after = np.asarray(base, dtype=np.float64), np.asarray(new, dtype=np.float64)
    clusters = clusters_of(after - before, identities)
    p_value, method = _tail(clusters.sums, flips, seed)
    return PairedTest(
        difference=clusters.mean,
        p_value=p_value,
        standard_error=clusters.standard_error,
        n_identities=len(clusters),
        low=interval.low,
        high=interval.high,
        method="identical" if np.array_equal(before, after) else method,
    )


def smallest_detectable(standard_error: float, *, alpha: float, power: float = 0.8) -> float:
    """The smallest true difference that a two-sided test at level alpha finds with that power, a fraction.

    (z(1 - alpha / 2) + z(power)) standard errors, for a normal statistic. After Holm over m tests, alpha / m is a safe
    choice.

    Args:
        standard_error: of the difference, a fraction.
        alpha: in (0, 1).
        power: in (0, 1).

    Raises:
        ValueError: an argument is out of range.
    """
    from scipy.special import ndtri  # type: ignore[import-untyped] # slow

    if not (standard_error >= 0 and 0 < alpha < 1 and 0 < power < 1):
        raise ValueError(f"expected an error >= 0, alpha and power in (0, 1), got {standard_error}, {alpha}, {power}")
    return float(max(ndtri(1 - alpha / 2) + ndtri(power), 0.0) * standard_error)


def _tail(differences: NDArray[np.float64], flips: int, seed: int) -> tuple[float, Method]:
    """How likely a sum as far from zero is under random signs, and how that was found."""
    moved = differences[differences != 0]
    reach = abs(moved.sum()) - _SAME * np.abs(moved).sum()
    if len(moved) < 63 and 2 ** len(moved) <= flips:
        return float((np.abs(_all_sums(moved)) >= reach).mean()), "sign flips"
    bound = 2 * exp(-(float(moved.sum()) ** 2) / (2 * float(np.square(moved).sum())))
    if bound < 1 / (1 + flips):
        return bound, "normal tail"
    return (1 + int((np.abs(_flipped_sums(moved, flips, seed)) >= reach).sum())) / (1 + flips), "sign flips"


def _all_sums(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2^n,): the sum under every choice of signs."""
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    return sums


def _flipped_sums(differences: NDArray[np.float64], flips: int, seed: int) -> NDArray[np.float64]:
    """(flips,): sums under random signs.

    Eight identities at a time: one random byte picks one of their 256 signed sums. Memory is that of the answer.
    """
    random = np.random.default_rng(seed)
    signs = 1.0 - 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    sums, picked = np.zeros(flips), np.empty(flips)
    for start in range(0, len(differences), _BYTE):
        eight = differences[start : start + _BYTE]
        bytes_drawn = np.frombuffer(random.bytes(flips), dtype=np.uint8)
        np.take(signs[:, : len(eight)] @ eight, bytes_drawn, out=picked, mode="clip")
        sums += picked
    return sums
