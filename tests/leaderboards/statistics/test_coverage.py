"""How often intervals are right, on made-up populations whose score is known; docs/statistics.md shows the figures."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from robustreid.leaderboards.statistics.clusters import clusters_of
from robustreid.leaderboards.statistics.intervals import Interval, interval_of_difference, mean_interval
from robustreid.leaderboards.statistics.resampling import RESAMPLES, times_drawn

SCORES = (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95)
Find = Callable[..., Interval]


def over_queries(values: Any, identities: Any, **given: Any) -> Interval:
    """The wrong twin: every query is taken for a person of its own."""
    return mean_interval(values, np.arange(len(identities)), **given)


def percentiles(values: Any, identities: Any, **_: Any) -> Interval:
    """What is done more often: quantiles of the resampled means themselves, over identities."""
    clusters = clusters_of(values, identities)
    drawn = times_drawn(len(clusters), 0).astype(np.float64)
    low, high = np.quantile((drawn @ clusters.sums) / (drawn @ clusters.counts), [0.025, 0.975])
    return Interval(low=low, high=high, level=0.95, method="studentised bootstrap", n_identities=len(clusters))


def coverage(find: Find, population: Any, sets: int, *, n: int = 100) -> float:
    """The share of sets of n people whose interval holds the population's score."""
    random, right = np.random.default_rng(1), 0
    for _ in range(sets):
        values, identities = population.sample(n, random)
        found = find(values, identities, is_binary=population.is_binary)
        right += found.low <= population.score <= found.high
    return right / sets


def check(share: float, sets: int) -> None:
    """93 to 97 % of 2,000 sets; of fewer, as far outside as chance brings a right one in one case of a thousand."""
    slack = 0.0 if sets >= 2000 else 3.3 * np.sqrt(0.95 * 0.05 / sets)
    assert 0.93 - slack <= share <= 0.97 + slack


def figures(page: str, row: str) -> list[float]:
    """The numbers of the row of a table that begins with these cells."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {row} |"))
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", line[len(row) + 2 :])]


@pytest.mark.parametrize(
    ("is_binary", "is_tilted", "score"), [(False, False, 0.3), (False, True, 0.9), (True, True, 0.1)]
)
def test_intervals_over_identities_are_right_and_over_queries_are_not(
    make_population: Any, is_binary: bool, is_tilted: bool, score: float
) -> None:
    """With 100 people; the same check refuses intervals that take queries for independent."""
    population = make_population(score=score, is_binary=is_binary, is_tilted=is_tilted)
    check(coverage(mean_interval, population, 200), 200)
    with pytest.raises(AssertionError):
        check(coverage(over_queries, population, 80), 80)


@pytest.mark.parametrize("is_tilted", [False, True])
@pytest.mark.parametrize("is_binary", [False, True])
def test_a_population_has_the_score_that_it_says(make_population: Any, is_binary: bool, is_tilted: bool) -> None:
    """The mean over the queries of 100,000 people is the score; counts follow scores or do not."""
    for score in (0.05, 0.5, 0.95):
        population = make_population(score=score, is_binary=is_binary, is_tilted=is_tilted)
        values, identities = population.sample(100_000, np.random.default_rng(0))
        assert values.mean() == pytest.approx(score, abs=0.008)
        clusters = clusters_of(values, identities)
        assert (clusters.counts.min(), clusters.counts.max()) == (1, 8)
        follows = np.corrcoef(clusters.counts, clusters.sums / clusters.counts)[0, 1]
        assert follows > 0.3 if is_tilted else abs(follows) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("is_tilted", [False, True])
@pytest.mark.parametrize("is_binary", [False, True])
def test_coverage_on_two_thousand_sets(make_population: Any, page: str, is_binary: bool, is_tilted: bool) -> None:
    """93 to 97 % for every score from 5 to 95 %, as the page says; over queries under-covers at every one."""
    row = f"{'hits' if is_binary else 'AP'} | {'yes' if is_tilted else 'no'}"
    found: dict[str, list[float]] = {}
    for name, find, sets in (
        ("identities", mean_interval, 2000),
        ("percentiles", percentiles, 2000),
        ("queries", over_queries, 400),
    ):
        for score in SCORES:
            population = make_population(score=score, is_binary=is_binary, is_tilted=is_tilted)
            share = coverage(find, population, sets)
            found.setdefault(name, []).append(100 * share)
            if name == "identities":
                check(share, sets)
            elif name == "queries":
                with pytest.raises(AssertionError):
                    check(share, sets)
    for name, shares in found.items():
        assert shares == pytest.approx(figures(page, f"{row} | {name}"), abs=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 20, 50, 400])
def test_coverage_with_other_numbers_of_people(make_population: Any, page: str, n: int) -> None:
    """As the page says: right from some fifty people on, less often with fewer."""
    places = [(False, 0.3), (False, 0.05), (True, 0.3), (True, 0.05)]
    shares = [100 * coverage(mean_interval, make_population(score=s, is_binary=b), 2000, n=n) for b, s in places]
    assert shares == pytest.approx(figures(page, f"{n} people"), abs=0.25)


@pytest.mark.slow
def test_coverage_of_differences(make_population: Any, make_pair: Any, page: str) -> None:
    """Of a model that loses a tenth of its score, with 100 people, as the page says."""
    for score in (0.3, 0.9):
        for is_tilted in (False, True):
            pair = make_pair(population=make_population(score=score, is_tilted=is_tilted), lost=0.1)
            random, right = np.random.default_rng(1), 0
            for _ in range(2000):
                found = interval_of_difference(*pair.sample(100, random))
                right += found.low <= pair.difference <= found.high
            check(right / 2000, 2000)
            row = f"difference | {'yes' if is_tilted else 'no'} | {score:.0%}".replace("%", " %")
            assert [right / 20] == pytest.approx(figures(page, row), abs=0.25)


@dataclass(frozen=True, kw_only=True)
class FewFound:
    """People of whom a share is found, at a third on average, and the others hardly better than by chance."""

    share: float
    is_binary: bool = False

    @property
    def score(self) -> float:
        """The mean of Beta(1.5, 3) for the share, and that of Beta(0.8, 100) for the others."""
        return self.share / 3 + (1 - self.share) * 0.8 / 100.8

    def sample(self, n: int, random: np.random.Generator) -> tuple[Any, Any]:
        """Values (Q,) and identities (Q,) of n people."""
        counts, is_found = 1 + random.binomial(7, random.beta(1, 2, n)), random.random(n) < self.share
        levels = np.where(is_found, random.beta(1.5, 3, n), random.beta(0.8, 100, n))
        identities = np.repeat(np.arange(n), counts)
        spread = levels[identities]
        return random.beta(np.maximum(8 * spread, 1e-9), 8 * (1 - spread)), identities


@pytest.mark.slow
def test_where_intervals_fall_short_in_two_thousand_sets(make_population: Any, page: str) -> None:
    """As the page says: where a few people decide, intervals are right less often, or too often."""
    common = {"score": 0.05, "is_binary": True, "is_tilted": True}
    places = {
        "few found": FewFound(share=0.03),
        "more found": FewFound(share=0.1),
        "alike": make_population(concentration=0.7, **common),
        "less alike": make_population(concentration=2.0, **common),
    }
    for name, population in places.items():
        assert 100 * coverage(mean_interval, population, 2000) == pytest.approx(figures(page, name)[0], abs=0.25)


def test_the_page_names_the_numbers_in_use(page: str) -> None:
    """Resamples, flips and the five identities are those of the code."""
    for words in (f"{RESAMPLES:,} resamples", "100,000 flips", "five identities"):
        assert words in page
