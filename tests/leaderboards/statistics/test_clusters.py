"""Sums by identity, their mean over queries, and its error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from robustreid.leaderboards.statistics.clusters import Clusters, clusters_of

QUERIES = st.lists(st.tuples(st.floats(0, 1), st.integers(-3, 6)), min_size=1, max_size=40)


def test_queries_are_summed_by_identity() -> None:
    """Identities come out ascending, each with the sum and the number of its queries."""
    found = clusters_of([0.5, 1.0, 0.25, 0.0], [7, -1, 7, 3])
    assert found.identities.tolist() == [-1, 3, 7]
    assert found.sums.tolist() == [1.0, 0.0, 0.75]
    assert found.counts.tolist() == [1, 1, 2]
    kinds = [str(values.dtype) for values in (found.identities, found.sums, found.counts)]
    assert kinds == ["int64", "float64", "int64"]
    assert len(found) == 3
    assert found.mean == 1.75 / 4


@given(queries=QUERIES, seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_the_mean_is_that_over_queries_in_any_order(queries: list[tuple[float, int]], seed: int) -> None:
    """The ratio of sums is the plain mean of the values; it is not the mean of the identities' means."""
    values, identities = (np.array(column) for column in zip(*queries, strict=True))
    order = np.random.default_rng(seed).permutation(len(values))
    found, shuffled = clusters_of(values, identities), clusters_of(values[order], identities[order])
    assert found.mean == pytest.approx(values.mean(), abs=1e-12)
    assert shuffled.sums == pytest.approx(found.sums, abs=1e-12)
    assert shuffled.counts.tolist() == found.counts.tolist()


def error_by_hand(values: list[float], identities: list[int]) -> float:
    """The standard error of the mean in plain loops."""
    mean, people = sum(values) / len(values), sorted(set(identities))
    total = 0.0
    for person in people:
        total += sum(value - mean for value, who in zip(values, identities, strict=True) if who == person) ** 2
    return math.sqrt(total * len(people) / (len(people) - 1)) / len(values)


def check_error(clusters: Clusters, values: list[float], identities: list[int]) -> None:
    """The error of these clusters is that of people."""
    assert clusters.standard_error == pytest.approx(error_by_hand(values, identities), rel=1e-9)


def test_the_error_is_that_of_people_not_of_queries() -> None:
    """Queries of one person that agree count once: the plain loop agrees, a cluster a query does not."""
    values, identities = [0.9, 0.9, 0.9, 0.1, 0.2, 0.5, 0.4], [1, 1, 1, 2, 2, 3, 3]
    check_error(clusters_of(values, identities), values, identities)
    with pytest.raises(AssertionError):
        check_error(clusters_of(values, range(7)), values, identities)
    assert clusters_of([0.3, 0.5], [4, 4]).standard_error == math.inf


@pytest.mark.parametrize(
    ("values", "identities"),
    [([], []), ([0.5], [1, 2]), ([[0.5]], [[1]]), ([math.nan], [1]), ([math.inf, 0.5], [1, 2])],
)
def test_what_is_no_score_of_a_query_is_refused(values: list[float], identities: list[int]) -> None:
    """No queries, other shapes, NaN and infinity are bugs of the caller."""
    with pytest.raises(ValueError, match="expected"):
        clusters_of(values, identities)
