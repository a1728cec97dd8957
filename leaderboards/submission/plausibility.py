"""Scores that cannot be: out of their range, against their own bounds, or another mean than that of their queries."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...benchmark.evaluation import CUTOFFS, METRICS
from ..measurements import ROUNDING, Measurement, Queries

#: The columns of queries whose means are scores; Rank-k is read from the first rank.
_MEANS: Mapping[str, str] = {"mAP": "ap", "mAP_trapezoid": "ap_trapezoid", "mINP": "inp"}
#: The score of a targeted cell that each state's mean is.
_TARGETED: Mapping[str, str] = {"clean": "target_mAP_clean", "attacked": "target_mAP"}
_COUNTS = ("n_query", "n_query_valid", "n_gallery", "n_identity", "n_attacked")
_FRACTIONS = (
    *("mAP_attacked_float", "rank1_attacked_float", "chance_mAP", "chance_rank1"),
    *("target_mAP_clean", "target_mAP", "target_rank1_clean", "target_rank1"),
)
#: How far a change may be above its radius, in [0, 1] pixel units: the runner's own tolerance.
_BUDGET = 1e-6


def impossible(each: Measurement) -> Iterator[tuple[str, str]]:
    """Columns of a done row and what is wrong with them."""
    row = each.row
    names = _expected(row)
    for name in (*_FRACTIONS, *names):
        value = row.get(name)
        if value is not None and not -ROUNDING <= value <= 1 + ROUNDING:
            yield name, f"is {value}, expected a fraction from 0 to 1"
    for name in (*names, *_COUNTS):
        if row.get(name) is None:
            yield name, "has no value"
    for name in _COUNTS:
        if row.get(name) is not None and row[name] < 0:
            yield name, f"is {row[name]}, expected a count"
    if row["goal"] == "untargeted":
        yield from _against_bounds(row)
    if row["epsilon"] < 0 or (row["norm"] == "linf" and row["epsilon"] > 1):
        yield "epsilon", f"is {row['epsilon']}, expected a radius in [0, 1] pixel units"
    largest = row.get("linf_max")
    if row["norm"] == "linf" and largest is not None and largest > row["epsilon"] + _BUDGET:
        yield "linf_max", f"is {largest:.6f}, more than the radius {row['epsilon']:.6f}"


def _expected(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The scores that a done row has."""
    if row["goal"] == "targeted":
        return ("target_mAP_clean", "target_mAP", "target_rank1_clean", "target_rank1")
    return tuple(f"{metric}_{state}" for metric in METRICS for state in ("clean", "attacked"))


def _against_bounds(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for metric in METRICS:
        before, after, drop = _numbers(row, *(f"{metric}_{part}" for part in ("clean", "attacked", "drop")))
        if not abs(before - after - drop) <= ROUNDING:  # NaN where one is missing
            yield f"{metric}_drop", "is not what lies between clean and attacked"
        for state in ("clean", "attacked"):
            name = f"{metric}_{state}"
            span = _numbers(row, f"{name}_pessimistic", name, f"{name}_optimistic")
            if not all(low <= high + ROUNDING for low, high in pairwise(span)):
                yield name, "lies outside of the bounds of its ties, or has none"


def _numbers(row: Mapping[str, Any], *names: str) -> list[float]:
    """Columns of a row, NaN where there is nothing."""
    return [math.nan if row.get(name) is None else float(row[name]) for name in names]


def made_up(each: Measurement, queries: Queries) -> Iterator[tuple[str, str]]:
    """Scores of a done row that are not the means over its queries: of each trial, then over the trials."""
    row = each.row
    trials = np.unique(queries.trials)
    if len(trials) != (row.get("trials") or 1) and len(trials):
        yield "trials", f"is {row.get('trials')}, and queries of {len(trials)} trials are stored"
        return
    if not len(trials) or round(len(queries) / len(trials)) != row.get("n_query_valid"):
        yield "n_query_valid", f"is {row.get('n_query_valid')}, and {len(queries)} queries are stored"
        return
    for state in ("clean", "attacked"):
        targeted = row["goal"] == "targeted"
        means = {_TARGETED[state]: "ap"} if targeted else {f"{m}_{state}": column for m, column in _MEANS.items()}
        for name, column in means.items():
            mean = _mean(queries.columns[f"{column}_{state}"], queries)
            if row.get(name) is None or abs(mean - row[name]) > ROUNDING:
                yield name, f"is {row.get(name)}, and the mean over the queries is {mean}"
        if not targeted:
            yield from _made_up_ranks(row, queries, state)


def _mean(values: NDArray[np.float64], queries: Queries) -> float:
    """The mean over trials of the mean over each one's queries."""
    return float(np.mean([values[queries.trials == trial].mean() for trial in np.unique(queries.trials)]))


def _made_up_ranks(row: Mapping[str, Any], queries: Queries, state: str) -> Iterator[tuple[str, str]]:
    """Rank-k against the first ranks: the very share where no tie decides a hit, else within the bounds of the ties."""
    first = queries.columns[f"first_rank_{state}"]
    for cutoff in CUTOFFS:
        name = f"rank{cutoff}_{state}"
        low, value, high = (row.get(key) for key in (f"{name}_pessimistic", name, f"{name}_optimistic"))
        if low is None or value is None or high is None:
            continue  # said by `impossible`
        share = _mean((first <= cutoff).astype(np.float64), queries)
        if not low - ROUNDING <= share <= high + ROUNDING or (high - low <= ROUNDING < abs(share - value)):
            yield name, f"is {value}, and the share of queries with a first rank up to {cutoff} is {share}"
