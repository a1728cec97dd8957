"""Scores against their queries: what the harness really computes agrees, ties and all, and what was edited does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from robustreid.benchmark.evaluation import METRICS, PROTOCOLS, Labels, QueryScores, RankingScores, rank, score
from robustreid.leaderboards.measurements import Measurement, Queries
from robustreid.leaderboards.submission import plausibility
from robustreid.leaderboards.submission.plausibility import impossible, made_up

COLUMNS = ("ap", "ap_trapezoid", "inp", "first_rank")


def _scored(seed: int, kinds: int) -> tuple[QueryScores, RankingScores]:
    """Scores of 40 queries among 120 images whose features take few values, so that many tie."""
    draw = np.random.default_rng(seed)

    def side(count: int) -> tuple[Any, Labels]:
        labels = Labels(identities=draw.integers(1, 9, count), cameras=draw.integers(1, 4, count))
        return draw.integers(0, kinds, (count, 2)).astype(np.float32), labels

    (query, query_labels), (gallery, gallery_labels) = side(40), side(120)
    return score(rank(query, gallery, query_labels, gallery_labels, PROTOCOLS["market"], "euclidean"))


def _cell(seed: int = 0, kinds: int = 3, goal: str = "untargeted") -> tuple[Measurement, Queries]:
    """A row and its queries, as the store has them."""
    made = {"clean": _scored(seed, kinds), "attacked": _scored(seed, kinds + 1)}
    means = {state: found for state, (_, found) in made.items()}
    n_valid = means["clean"].n_query_valid
    row: dict[str, Any] = {
        "goal": goal,
        "norm": "linf",
        "epsilon": 4 / 255,
        "linf_max": 4 / 255,
        "n_query_valid": n_valid,
        **dict.fromkeys(("n_query", "n_gallery", "n_identity", "n_attacked"), 40),
    }
    for metric in METRICS if goal == "untargeted" else ():
        for state, found in means.items():
            each = getattr(found, metric)
            row |= {f"{metric}_{state}": each.value, f"{metric}_{state}_optimistic": each.optimistic}
            row[f"{metric}_{state}_pessimistic"] = each.pessimistic
        row[f"{metric}_drop"] = row[f"{metric}_clean"] - row[f"{metric}_attacked"]
    if goal == "targeted":
        for suffix, found in (("_clean", means["clean"]), ("", means["attacked"])):
            row |= {f"target_mAP{suffix}": found.mAP.value, f"target_rank1{suffix}": found.rank1.value}
    columns = {f"{name}_{state}": getattr(found, name) for state, (found, _) in made.items() for name in COLUMNS}
    numbers = np.zeros(n_valid, dtype=np.int64)
    queries = Queries(
        ids=tuple(map(str, range(n_valid))), identities=numbers, cameras=numbers, trials=numbers, columns=columns
    )
    return _measurement(row), queries


def _measurement(row: dict[str, Any]) -> Measurement:
    return Measurement(
        cell_id="a", label="a", model="m", dataset="d", status="done", reason="", source=Path("x"), row=row
    )


def problems(each: Measurement, queries: Queries) -> dict[str, str]:
    """Everything that is said of a row."""

    def said() -> Iterator[tuple[str, str]]:
        yield from impossible(each)
        yield from made_up(each, queries)

    return dict(said())


@pytest.mark.parametrize("goal", ["untargeted", "targeted"])
@pytest.mark.parametrize("kinds", [1, 2, 3, 50])
def test_scores_of_the_harness_are_possible(kinds: int, goal: str) -> None:
    """With all images in one point, with many ties, and with few."""
    for seed in range(5):
        assert problems(*_cell(seed, kinds, goal)) == {}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kinds", [3, 1000])
def test_an_edited_score_is_seen(metric: str, kinds: int) -> None:
    """Half a point more, with drop and bounds edited to match; Rank-k only where no tie could be the reason."""
    each, queries = _cell(kinds=kinds)
    row = dict(each.row)
    for bound in ("", "_optimistic", "_pessimistic"):
        row[f"{metric}_attacked{bound}"] = row[f"{metric}_attacked"] + 0.005
    row[f"{metric}_drop"] = row[f"{metric}_clean"] - row[f"{metric}_attacked"]
    assert set(problems(_measurement(row), queries)) == {f"{metric}_attacked"}


def test_an_edited_targeted_score_is_seen() -> None:
    """A defender would write less, an attacker more."""
    each, queries = _cell(goal="targeted")
    for change in (-0.005, 0.005):
        row = {**each.row, "target_mAP": each.row["target_mAP"] + change}
        assert set(problems(_measurement(row), queries)) == {"target_mAP"}


def test_a_sloppy_twin_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: with a tolerance of a point the test above would find nothing."""
    monkeypatch.setattr(plausibility, "ROUNDING", 0.01)
    with pytest.raises(AssertionError):
        test_an_edited_score_is_seen("mAP", 1000)


def test_a_change_beyond_the_budget_is_seen() -> None:
    """More than rounding above the radius; under L2 no pixel has a radius of its own."""
    each, queries = _cell()
    over = {**each.row, "linf_max": 4 / 255 + 2e-6}
    assert set(problems(_measurement(over), queries)) == {"linf_max"}
    assert problems(_measurement(over | {"norm": "l2"}), queries) == {}
