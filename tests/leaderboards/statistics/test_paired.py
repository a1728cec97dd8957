"""The paired test: against enumeration and plain loops, at its edges, and beside its interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from robustreid.leaderboards.statistics import flips as flips_module
from robustreid.leaderboards.statistics.clusters import Clusters, clusters_of
from robustreid.leaderboards.statistics.flips import bound, flip
from robustreid.leaderboards.statistics.paired import paired_test, smallest_detectable

PEOPLE = [0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 5, 5, 6, 7, 8, 8, 9]


def scores(seed: int, gain: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two models on the queries of `PEOPLE`."""
    random = np.random.default_rng(seed)
    base = random.uniform(0.2, 0.6, len(PEOPLE))
    return base, base + random.uniform(-0.15, 0.15, len(PEOPLE)) + gain


def enumerated(base: np.ndarray, new: np.ndarray, identities: list[int]) -> float:
    """The p-value over all signs of identities, in plain loops."""
    people = sorted(set(identities))
    sums = [sum(new[i] - base[i] for i, who in enumerate(identities) if who == person) for person in people]
    reached = 0
    for signs in product((1, -1), repeat=len(people)):
        reached += int(abs(sum(s * d for s, d in zip(signs, sums, strict=True))) >= abs(sum(sums)) - 1e-12)
    return float(reached / 2 ** len(people))


PValue = Callable[[np.ndarray, np.ndarray, list[int]], float]


def check_enumeration(p_value: PValue) -> None:
    """It is the share of all flips of identities that go as far, for several samples."""
    for seed in range(4):
        base, new = scores(seed, 0.03)
        assert p_value(base, new, PEOPLE) == pytest.approx(enumerated(base, new, PEOPLE), abs=1e-12)


def test_few_identities_are_enumerated() -> None:
    """All 2^10 signs give the exact share; signs of queries in place of identities, or one tail, do not pass."""
    check_enumeration(lambda *given: paired_test(*given).p_value)
    with pytest.raises(AssertionError):
        check_enumeration(lambda base, new, _: paired_test(base, new, range(len(base))).p_value)
    with pytest.raises(AssertionError):
        check_enumeration(lambda *given: paired_test(*given).p_value / 2)


def test_a_sample_of_flips_is_near_the_enumeration() -> None:
    """With 20 identities 2^20 signs are enumerated, or 100,000 drawn: the shares agree, ones added to the second."""
    random = np.random.default_rng(3)
    base, identities = random.uniform(0.3, 0.6, 50), np.arange(50) % 20
    new = base + random.normal(0.015, 0.06, 50)
    exact, drawn = (paired_test(base, new, identities, flips=flips).p_value for flips in (2**20, 100_000))
    assert 0.01 < exact < 0.5
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact / 100_000))
    assert drawn * 100_001 == pytest.approx(round(drawn * 100_001), abs=1e-6)


def test_signed_sums_are_sums_of_whole_identities() -> None:
    """Eight identities a byte and a rest of three: the drawn sums are those of all 2^11 choices, and balanced."""
    values = np.asarray(3.0 ** np.arange(11), dtype=np.float64)
    drawn = flips_module._some(values, 20_000, 0)
    assert set(drawn.tolist()) <= {
        sum(s * v for s, v in zip(signs, values, strict=True)) for signs in product((1, -1), repeat=11)
    }
    assert len(set(drawn.tolist())) == 2**11
    assert np.abs(drawn.mean()) < 4 * np.sqrt((values**2).sum() / 20_000)
    assert flips_module._some(values, 20_000, 1).tolist() != drawn.tolist()


def interval_by_hand(clusters: Clusters, flips: int) -> tuple[float, float]:
    """Ends of what is not rejected at 5 %, by bisection on the p-value of shifted differences."""

    def is_rejected(shift: float) -> bool:
        moved = Clusters(
            identities=clusters.identities, sums=clusters.sums - shift * clusters.counts, counts=clusters.counts
        )
        return flip(moved, flips=flips, seed=0).p_value <= 0.05

    ends = []
    for outer in (-1.0, 1.0):
        inside, outside = clusters.mean, outer
        for _ in range(50):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if is_rejected(middle) else (middle, outside)
        ends.append(inside)
    return ends[0], ends[1]


@pytest.mark.parametrize("flips", [999, 4096])
def test_the_interval_holds_what_the_test_does_not_reject(flips: int) -> None:
    """Quantiles of subset means are the ends found by testing one shift after the other; also with all flips."""
    for seed in range(3):
        base, new = scores(seed, 0.05)
        found = paired_test(base, new, PEOPLE, flips=flips)
        expected = interval_by_hand(clusters_of(new - base, PEOPLE), flips)
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_interval_holds_zero_just_where_p_is_above_five_percent(data: st.DataObject) -> None:
    """For hits and for fractions, whatever the sample; the estimate lies inside."""
    n = data.draw(st.integers(6, 30))
    seed, gain, is_binary = data.draw(st.integers(0, 10**6)), data.draw(st.floats(-0.5, 0.5)), data.draw(st.booleans())
    random = np.random.default_rng(seed)
    identities = random.integers(0, n, 3 * n)
    base, new = random.random(3 * n), np.clip(random.random(3 * n) + gain, 0, 1)
    base, new = (np.round(base), np.round(new)) if is_binary else (base, new)
    found = paired_test(base, new, identities, flips=999)
    assert (found.low <= 0 <= found.high) == (found.p_value > 0.05)
    assert found.low <= found.difference <= found.high


def test_identical_scores_are_no_difference() -> None:
    """They have p = 1 and an error of 0, and are called so; other scores with the same sums have p = 1 too."""
    base, _ = scores(0)
    found = paired_test(base, base.copy(), PEOPLE)
    assert (found.difference, found.p_value, found.standard_error, found.method) == (0.0, 1.0, 0.0, "identical")
    assert found.low < 0 < found.high
    swapped = paired_test([0.2, 0.4, 0.3], [0.4, 0.2, 0.3], [1, 1, 2])
    assert (swapped.p_value, swapped.method) == (1.0, "sign flips")


def test_exchanging_the_models_changes_signs_alone() -> None:
    """The p-value is two-sided: bit for bit the same; and the same call gives the same answer."""
    random = np.random.default_rng(8)
    base, identities = random.random(300), random.integers(0, 90, 300)
    new = np.clip(base + random.normal(0.01, 0.1, 300), 0, 1)
    found, swapped = paired_test(base, new, identities), paired_test(new, base, identities)
    assert paired_test(base, new, identities) == found
    assert (swapped.p_value, swapped.standard_error) == (found.p_value, found.standard_error)
    assert swapped.difference == -found.difference
    assert found.standard_error == clusters_of(new - base, identities).standard_error


def test_the_tail_is_a_bound_and_goes_below_one_in_all_flips() -> None:
    """Never less than the exact share, and the p-value only where no sample of flips could show as little."""
    for seed in range(20):
        base, new = scores(seed, 0.02 * (seed % 7))
        assert bound(clusters_of(new - base, PEOPLE)) >= enumerated(base, new, PEOPLE) - 1e-12
    base, identities = np.linspace(0.2, 0.5, 100), np.arange(100)
    found = [paired_test(base, base + gain + 0.1 * np.cos(identities), identities) for gain in (0.01, 0.05, 0.1)]
    assert [test.method for test in found] == ["sign flips", "normal tail", "normal tail"]
    assert found[0].p_value > 1 / 100_001 > found[1].p_value > found[2].p_value > 0
    assert found[1].low > 0


def test_the_smallest_detectable_difference_is_found_with_that_power() -> None:
    """2.8 errors at 5 % and 80 %: a normal statistic so far from zero is significant in 80 % of cases."""
    smallest = smallest_detectable(0.01, alpha=0.05)
    assert smallest == pytest.approx(0.0280158, abs=1e-6)
    statistics = np.random.default_rng(0).normal(smallest / 0.01, 1, 40_000)
    assert (np.abs(statistics) > 1.959964).mean() == pytest.approx(0.8, abs=0.01)
    assert smallest_detectable(0.02, alpha=0.05) == pytest.approx(2 * smallest)
    assert smallest_detectable(0.01, alpha=0.0025) > smallest_detectable(0.01, alpha=0.05, power=0.9) > smallest
    assert smallest_detectable(0.0, alpha=0.05) == 0
    assert smallest_detectable(math.inf, alpha=0.05) == math.inf


@pytest.mark.parametrize(
    ("error", "alpha", "power"), [(-1.0, 0.05, 0.8), (0.1, 0.0, 0.8), (0.1, 0.05, 1.0), (math.nan, 0.05, 0.8)]
)
def test_impossible_tests_are_refused(error: float, alpha: float, power: float) -> None:
    """Negative errors and probabilities of 0 or 1 are bugs of the caller."""
    with pytest.raises(ValueError, match="expected"):
        smallest_detectable(error, alpha=alpha, power=power)


def test_a_test_needs_flips_and_the_same_queries() -> None:
    """No flips, scores of other queries, and points in place of fractions are bugs of the caller."""
    for base, new, flips in (([0.5], [0.6], 0), ([0.5], [0.6, 0.7], 9), ([50.0], [60.0], 9)):
        with pytest.raises(ValueError, match="expected"):
            paired_test(base, new, [1], flips=flips)
