"""Ranges of places: which models a board can tell apart, and which it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from .estimates import Column
from .statistics.multiple import benjamini_hochberg
from .statistics.paired import paired_test

#: Two models are told apart where the adjusted p-value is below this: of the differences that a board shows, at most
#: so large a share is none in truth (Benjamini and Hochberg 1995).
FALSE_DISCOVERIES = 0.05


def places(columns: Mapping[str, Column]) -> dict[str, tuple[int, int]]:
    """By model, the first and the last place that it may have.

    The first is 1 + how many models are significantly better, the last is M - how many are significantly worse: paired
    sign-flip tests over query identities, every pair of the board, corrected together. Models with other queries than
    the first one's are told apart from nobody.
    """
    labels = list(columns)
    pairs = [pair for pair in combinations(labels, 2) if columns[pair[0]].ids == columns[pair[1]].ids]
    tests = [paired_test(columns[a].values, columns[b].values, columns[a].identities) for a, b in pairs]
    better = dict.fromkeys(labels, 0)
    worse = dict.fromkeys(labels, 0)
    adjusted = benjamini_hochberg([test.p_value for test in tests])
    for (one, other), test, p_value in zip(pairs, tests, adjusted, strict=True):
        if p_value < FALSE_DISCOVERIES and test.difference:
            winner, loser = (other, one) if test.difference > 0 else (one, other)
            better[loser] += 1
            worse[winner] += 1
    return {label: (1 + better[label], len(labels) - worse[label]) for label in labels}
