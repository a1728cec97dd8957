"""The expectations over tied orders, against enumeration and against exact fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb, fsum

import numpy as np
import pytest
from robustreid.benchmark.evaluation.ties import (
    TieGroups,
    first_ranks,
    harmonic_span,
    hits,
    inverse_negative_penalties,
    step_precisions,
    trapezoid_precisions,
)


def group(C: int, P: int, N: int, y: int) -> TieGroups:
    """One tie group of one query."""
    columns = (np.array([value], dtype=np.int64) for value in (0, C, P, N, y))
    names = ("query", "nearer_images", "nearer_positives", "tied_images", "tied_positives")
    return TieGroups(**dict(zip(names, columns, strict=True)))


def enumerate_group(C: int, P: int, N: int, y: int) -> list[float]:
    """Exact means of each part, over every place of the y positives, by definition."""
    step, trapezoid, first, penalties = [], [], [], []
    for places in combinations(range(1, N + 1), y):
        ranks = [C + place for place in places]
        precisions = [Fraction(P + 1 + i, rank) for i, rank in enumerate(ranks)]
        before = [Fraction(P + i, rank - 1) if rank > 1 else Fraction(1) for i, rank in enumerate(ranks)]
        step.append(sum(precisions))
        trapezoid.append((sum(precisions) + sum(before)) / 2)
        first.append(Fraction(ranks[0]))
        penalties.append(Fraction(P + y, ranks[-1]))
    return [float(sum(values) / len(values)) for values in (step, trapezoid, first, penalties)]


@pytest.mark.parametrize("C", [0, 1, 2, 7, 40])
def test_expectations_are_the_mean_over_every_order(C: int) -> None:
    """All groups of up to eight images, after 0 to 40 others, agree with enumeration in fractions."""
    for N in range(1, 9):
        for y in range(1, N + 1):
            for P in {0, C // 2, C}:
                groups = group(C, P, N, y)
                functions = (step_precisions, trapezoid_precisions, first_ranks, inverse_negative_penalties)
                found = [float(function(groups)[0]) for function in functions]
                assert enumerate_group(C, P, N, y) == pytest.approx(found, rel=1e-13)


@pytest.mark.parametrize("cutoff", [1, 5, 10, 20])
def test_hits_are_one_minus_the_hypergeometric_miss(cutoff: int) -> None:
    """CMC@k is 1 - binom(N-y, m)/binom(N, m) with m = min(k - C, N), and 0 where the group begins too late."""
    for C in (0, 1, 4, 5, 19, 20, 30):
        for N, y in ((1, 1), (3, 1), (3, 2), (8, 8), (30, 2), (1000, 17)):
            m = max(0, min(cutoff - C, N))
            expected = float(1 - Fraction(comb(N - y, m), comb(N, m)))
            assert expected == pytest.approx(hits(group(C, 0, N, y), cutoff)[0], abs=1e-14)


@pytest.mark.parametrize("start", [0, 1, 31, 32, 1000, 10**6])
@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 34, 500, 10**5])
def test_harmonic_span_is_the_sum_to_the_last_digits(start: int, length: int) -> None:
    """Direct terms and the Euler-Maclaurin tail meet, with no loss far from the origin."""
    expected = fsum(1 / m for m in range(start + 1, start + length + 1))
    assert expected == pytest.approx(harmonic_span(np.array([start]), np.array([length]))[0], rel=2e-15)


@pytest.mark.parametrize(
    ("C", "P", "N", "y"),
    [
        (0, 0, 10**5, 1),
        (0, 0, 10**5, 17),
        (0, 0, 10**5, 10**5),
        (5, 5, 10**5, 50_000),
        (10**5, 3, 2, 1),
        (10**5, 9, 400, 7),
    ],
)
def test_large_groups_keep_twelve_digits(C: int, P: int, N: int, y: int) -> None:
    """Up to 1e5 tied images, each expectation agrees with its own sum over ranks, added up exactly."""
    b = (y - 1) / (N - 1)
    precision = fsum(y / N * (P + 1 + b * (m - 1)) / (C + m) for m in range(1, N + 1))
    before = fsum(y / N * (1 if C + m == 1 else (P + b * (m - 1)) / (C + m - 1)) for m in range(1, N + 1))
    groups = group(C, P, N, y)
    assert precision == pytest.approx(step_precisions(groups)[0], rel=1e-12)
    assert (precision + before) / 2 == pytest.approx(trapezoid_precisions(groups)[0], rel=1e-12)

    weight, terms = Fraction(y, N), []
    for m in range(N, max(y, N - 3000) - 1, -1):
        terms.append((P + y) * float(weight) / (C + m))
        weight = weight * (m - y) / (m - 1) if m > 1 else weight
        weight = Fraction(float(weight))
    if y >= 17 or N <= 3000:  # else the weights beyond 3000 ranks from the end count too
        tail = (P + y) * float(weight) * N / (C + 1)
        assert fsum(terms) == pytest.approx(inverse_negative_penalties(groups)[0], rel=1e-12, abs=tail)


def test_bounds_are_groups_of_positives_at_either_end() -> None:
    """Positives first keeps C, positives last moves it past the negatives; both leave N = y."""
    groups = group(3, 1, 7, 2)
    first, last = groups.optimistic(), groups.pessimistic()
    assert (first.nearer_images[0], first.tied_images[0], first.tied_positives[0]) == (3, 2, 2)
    assert (last.nearer_images[0], last.tied_images[0], last.tied_positives[0]) == (8, 2, 2)


@pytest.mark.parametrize(("C", "P", "N", "y"), [(0, 0, 2, 3), (0, 0, 2, 0), (1, 2, 1, 1), (1, -1, 1, 1)])
def test_impossible_groups_are_refused(C: int, P: int, N: int, y: int) -> None:
    """A group holds 1 to N positives, and no more positives than images stand before it."""
    with pytest.raises(ValueError, match="expected"):
        group(C, P, N, y)
