"""Intervals of scores and of differences: their ends, their edges, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from robustreid.leaderboards.statistics.clusters import clusters_of
from robustreid.leaderboards.statistics.intervals import FEW, interval_of_difference, mean_interval
from robustreid.leaderboards.statistics.resampling import RESAMPLES, studentised, times_drawn
from scipy.stats import binomtest  # type: ignore[import-untyped]

PEOPLE = np.repeat(np.arange(100), 1 + np.arange(100) % 8)
SCORES = np.random.default_rng(4).beta(0.8, 1.4, 100)[PEOPLE] * 0.9 + np.linspace(0, 0.1, len(PEOPLE))
QUERIES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9)), min_size=1, max_size=40)


def by_hand(values: list[float], identities: list[int], table: Any) -> tuple[float, float]:
    """The studentised interval at 95 % in plain loops, from how often each identity is drawn."""
    people = sorted(set(identities))
    groups = [[v for v, who in zip(values, identities, strict=True) if who == person] for person in people]

    def angle_and_error(times: list[int]) -> tuple[float, float]:
        drawn = [group for group, count in zip(groups, times, strict=True) for _ in range(count)]
        queries = sum(map(len, drawn))
        mean = sum(map(sum, drawn)) / queries
        squares = sum((sum(group) - mean * len(group)) ** 2 for group in drawn)
        error = math.sqrt(squares * len(drawn) / (len(drawn) - 1)) / queries
        return math.asin(math.sqrt(mean)), error / (2 * math.sqrt(mean * (1 - mean)))

    angle, error = angle_and_error([1] * len(people))
    ratios = []
    for times in table.tolist():
        other, its_error = angle_and_error(times)
        ratios.append((other - angle) / its_error)
    ratios.sort()
    low, high = (angle - ratios[place] * error for place in (1949, 49))
    return math.sin(max(low, 0)) ** 2, math.sin(min(high, math.pi / 2)) ** 2


def test_a_plain_loop_gives_the_same_interval() -> None:
    """Quantiles 50 and 1950 of 1,999 studentised resamples of whole identities, on the scale of arcsin(sqrt)."""
    identities = [0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9, 9, 10, 11]
    values = [round(0.05 + 0.9 * (7 * i % 13) / 13, 3) for i in range(len(identities))]
    expected = by_hand(values, identities, times_drawn(12, 0))
    assert studentised(clusters_of(values, identities), level=0.95, seed=0) == pytest.approx(expected, abs=1e-9)


def test_resamples_are_of_as_many_identities_with_replacement() -> None:
    """Each resample draws 20 of 20; one identity is left out with probability (19/20)^20; the table is read-only."""
    table = times_drawn(20, 3)
    assert table.shape == (RESAMPLES, 20)
    assert (table.sum(axis=1) == 20).all()
    assert (table == 0).mean() == pytest.approx((19 / 20) ** 20, abs=0.01)
    assert not table.flags.writeable


def test_one_seed_gives_one_interval() -> None:
    """The same bytes every time, whatever the global generator does; another seed differs a little."""
    first = mean_interval(SCORES, PEOPLE)
    np.random.seed(1)  # noqa: NPY002 (to show that it does not matter)
    times_drawn.cache_clear()
    assert mean_interval(SCORES, PEOPLE) == first
    assert mean_interval(list(SCORES), list(PEOPLE)) == first
    other = mean_interval(SCORES, PEOPLE, seed=1)
    assert first.low != other.low
    assert other.low == pytest.approx(first.low, abs=0.01)
    assert (first.method, first.n_identities, first.level) == ("studentised bootstrap", 100, 0.95)


@given(queries=QUERIES, is_binary=st.booleans())
@settings(max_examples=80, deadline=None)
def test_an_interval_holds_the_score_and_stays_in_range(queries: list[tuple[float, int]], is_binary: bool) -> None:
    """0 <= low <= score <= high <= 1 and low < high, for any values; mirrored values have the mirrored interval."""
    values, identities = (np.array(column, dtype=float) for column in zip(*queries, strict=True))
    values = np.round(values) if is_binary else values
    found = mean_interval(values, identities, is_binary=is_binary)
    assert 0 <= found.low <= values.mean() + 1e-12
    assert values.mean() - 1e-12 <= found.high <= 1
    assert found.low < found.high
    assume(abs(values.mean() - 0.5) > 1e-9)  # where hits and misses are as many, hits are looked at
    mirrored = mean_interval(1 - values, identities, is_binary=is_binary)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high), abs=1e-6)


def test_higher_levels_are_wider() -> None:
    """50 % lies in 95 %, that in 99 %."""
    ends = [mean_interval(SCORES, PEOPLE, level=level) for level in (0.5, 0.95, 0.99)]
    assert ends[2].low < ends[1].low < ends[0].low < ends[0].high < ends[1].high < ends[2].high


@pytest.mark.parametrize("value", [0.0, 0.37, 1.0])
def test_one_value_is_no_certainty(value: float) -> None:
    """With 100 people alike, a share of 1 - 0.025^(1/100) of all others may be anything: a two-sided rule of three."""
    found = mean_interval(np.full(100, value), np.arange(100))
    share = 1 - 0.025 ** (1 / 100)
    assert (found.low, found.high) == pytest.approx((value - share * value, value + share * (1 - value)))
    assert found.method == "one value"
    narrower = mean_interval(np.full(800, value), np.repeat(np.arange(800), 1))
    assert found.high - found.low > narrower.high - narrower.low
    assert mean_interval(np.full(800, value), np.repeat(np.arange(100), 8)).low == pytest.approx(found.low)


@pytest.mark.parametrize("hits", [1, 3, FEW, 100 - FEW, 99])
def test_next_to_the_edge_hits_take_clopper_and_pearsons_interval(hits: int) -> None:
    """With one query a person it is the textbook's; one person more, and identities are resampled."""
    values = (np.arange(100) < hits).astype(float)
    found = mean_interval(values, np.arange(100), is_binary=True)
    expected = binomtest(hits, 100).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.method == "Clopper-Pearson"
    inside = (np.arange(100) < FEW + 1).astype(float)
    assert mean_interval(inside, np.arange(100), is_binary=True).method == "studentised bootstrap"


def test_copies_of_a_query_add_little_and_independent_queries_more() -> None:
    """Three people with hits alone count as three trials of a hundred; hits of single queries say more."""
    people = np.repeat(np.arange(100), 4)
    together = mean_interval((people < 3).astype(float), people, is_binary=True)
    apart = mean_interval((np.arange(400) % 133 == 0)[:400].astype(float), people, is_binary=True)
    alone = binomtest(3, 100).proportion_ci(method="exact")
    assert together.low == pytest.approx(alone.low, abs=1e-12)
    assert together.high == pytest.approx(alone.high, abs=1e-12)
    assert apart.high < together.high


def test_a_score_of_few_people_never_leaves_clopper_and_pearsons_interval() -> None:
    """With three of 100 people below 1, half of the resamples' errors say nothing; a share of one person does."""
    values = np.ones(100)
    values[:3] = 0.5
    found = mean_interval(values, np.arange(100))
    assert 0.93 < found.low < 0.985 < found.high < 1


def test_one_identity_says_nothing() -> None:
    """The interval is the whole range, and its method says why."""
    score = mean_interval([0.4, 0.6], [5, 5])
    assert (score.low, score.high, score.method) == (0.0, 1.0, "too few identities")
    difference = interval_of_difference([0.4, 0.6], [0.5, 0.5], [5, 5])
    assert (difference.low, difference.high, difference.method) == (-1.0, 1.0, "too few identities")


def test_a_difference_of_few_people_is_bounded_but_not_shown() -> None:
    """Five changed people cannot make p <= 0.05, so no difference stays possible; of 100 they bound the rest."""
    five = interval_of_difference([0.1, 0.2, 0.3, 0.4, 0.5], [0.6, 0.8, 0.7, 0.9, 0.8], range(5))
    assert five.low == pytest.approx(-(1 - 0.025 ** (1 / 5)))
    assert five.method == "Clopper-Pearson"
    six = interval_of_difference(np.linspace(0.1, 0.5, 6), np.linspace(0.7, 0.8, 6), range(6), level=0.99)
    assert (six.low, six.high, six.method) == (-1.0, 1.0, "too few identities")
    base = np.full(100, 0.5)
    new = base + np.where(np.arange(100) < FEW, 0.3, 0)
    found = interval_of_difference(base, new, np.arange(100))
    assert found.method == "Clopper-Pearson"
    assert -0.04 < found.low < 0
    assert 0.015 < found.high < 0.08
    same = interval_of_difference(base, base, np.arange(100))
    assert (same.low, same.high) == pytest.approx((-0.0362, 0.0362), abs=1e-4)
    assert same.method == "one value"


def test_exchanging_the_models_mirrors_a_difference() -> None:
    """New for base changes the sign of both ends and nothing else."""
    new = np.clip(SCORES * 0.9 + 0.05 * np.sin(np.arange(len(PEOPLE))), 0, 1)
    found, swapped = interval_of_difference(SCORES, new, PEOPLE), interval_of_difference(new, SCORES, PEOPLE)
    assert found.method == "sign flips"
    assert (found.low, found.high) == pytest.approx((-swapped.high, -swapped.low), abs=1e-15)


@pytest.mark.parametrize(
    "arguments",
    [
        {"values": [0.5, 1.1], "identities": [1, 2]},
        {"values": [-0.1, 0.5], "identities": [1, 2]},
        {"values": [0.4, 0.5], "identities": [1, 2], "level": 1.0},
        {"values": [0.4, 0.5], "identities": [1, 2], "level": 0.0},
        {"values": [], "identities": []},
    ],
)
def test_values_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    """Points in place of fractions, impossible levels and no queries are bugs of the caller."""
    with pytest.raises(ValueError, match="expected"):
        mean_interval(**arguments)


def test_differences_of_other_queries_are_refused() -> None:
    """Two lists of different length are not the same queries."""
    with pytest.raises(ValueError, match="same queries"):
        interval_of_difference([0.5, 0.5], [0.5], [1, 2])
    with pytest.raises(ValueError, match="level"):
        interval_of_difference([0.5, 0.6], [0.5, 0.5], [1, 2], level=2)
