"""Whether two models, asked the same queries, differ: a sign-flip test over identities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .flips import FLIPS, bound, flip
from .intervals import differences_of, interval_of_flips

#: `sign flips`: all of them or a sample; `normal tail`: a bound on what they would find, where a sample has none so
#: small; `identical`: every query has the same value twice.
Method = Literal["sign flips", "normal tail", "identical"]


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
    base: ArrayLike, new: ArrayLike, identities: ArrayLike, *, flips: int = FLIPS, seed: int = 0
) -> PairedTest:
    """Test the hypothesis that exchanging the two models within any identity changes nothing.

    The statistic is |T|, T the sum over identities of d, the sum of new - base over an identity's queries. Under the
    hypothesis each d is as likely with the other sign: p = (1 + number of flips with |T*| >= |T|) / (1 + flips), or the
    share among all 2^I where those are no more (Fisher, The Design of Experiments, 1935, section 21; Phipson and Smyth
    2010 for the ones). The interval is made of the same flips, and does not hold 0 where p <= 0.05, unless all
    identities have the same difference.

    A sample cannot show p below 1 / (1 + flips), which a board with thousands of comparisons may need. Where
    Hoeffding's bound on the share of all flips is smaller (`flips.bound`), that is p: "normal tail".

    Args:
        base: (Q,) in [0, 1].
        new: (Q,) in [0, 1], of the same queries in the same order.
        identities: (Q,) integers.
        flips: how many to draw, at least 1.
        seed: of the flips.

    Raises:
        ValueError: shapes differ, there is no query, a value is out of range, or there are no flips.
    """
    flipped = flip(differences_of(base, new, identities), flips=flips, seed=seed)
    clusters, p_value = flipped.clusters, flipped.p_value
    method: Method = "sign flips"
    highest = bound(clusters)
    if np.array_equal(np.asarray(base), np.asarray(new)):
        method = "identical"
    elif not flipped.is_complete and highest < 1 / (1 + flips):
        p_value, method = highest, "normal tail"
    interval = interval_of_flips(flipped, level=0.95)
    return PairedTest(
        difference=clusters.mean,
        p_value=p_value,
        standard_error=clusters.standard_error,
        n_identities=len(clusters),
        low=interval.low,
        high=interval.high,
        method=method,
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
