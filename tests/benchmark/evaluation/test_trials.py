"""Trials: what each draws, by the public code's drawing written down a second time, and the means over them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from robustreid.benchmark.evaluation import (
    METRICS,
    PROTOCOLS,
    Bounded,
    Labels,
    RankingScores,
    drawn_trials,
    over_trials,
    rank,
    score,
)

DRAWING = [name for name, protocol in PROTOCOLS.items() if protocol.drawn]


def images(seed: int) -> tuple[Labels, list[str]]:
    """Labels and paths of 30 people, each seen by some of nine cameras in 1 to 14 images, in no order."""
    chance = random.Random(seed)  # noqa: S311
    found = [
        (identity, camera, f"cam{camera}/{identity:04d}/{place:04d}.jpg")
        for identity in chance.sample(range(1, 500), 30)
        for camera in range(1, 10)
        if chance.random() < 0.7
        for place in chance.sample(range(100), chance.randint(1, 14))
    ]
    chance.shuffle(found)
    identities, cameras, paths = (list(column) for column in zip(*found, strict=True))
    return Labels(identities=np.array(identities), cameras=np.array(cameras)), paths


def one_of(chance: random.Random, names: list[str]) -> list[str]:
    """Single-shot."""
    return [chance.choice(names)]


def ten_of(chance: random.Random, names: list[str]) -> list[str]:
    """Multi-shot: all where there are fewer."""
    return chance.sample(names, 10) if len(names) > 10 else chance.sample(names, len(names))


@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.parametrize("seed", range(3))
def test_trials_are_drawn_as_by_the_public_code(plain: Any, name: str, seed: int) -> None:
    """Ten different draws of one side, the same on every call, against all of the other side."""
    protocol, sides = PROTOCOLS[name], {"query": images(seed), "gallery": images(seed + 100)}
    side, other = ("query", "gallery") if name == "llcm-v2i-published" else ("gallery", "query")
    labels, paths = sides[side]
    names: dict[tuple[int, int], list[str]] = {}
    for identity, camera, path in zip(labels.identities.tolist(), labels.cameras.tolist(), paths, strict=True):
        names.setdefault((identity, camera), []).append(path)

    trials = drawn_trials(protocol, **sides)
    draws = []
    for number, trial in enumerate(trials):
        places = getattr(trial, side)
        assert (np.diff(places) > 0).all()
        drawn = [paths[place] for place in places]
        assert sorted(drawn) == sorted(plain.draw(names, number, ten_of if "multi" in name else one_of))
        assert getattr(trial, other).tolist() == list(range(len(sides[other][1])))
        cells = list(zip(labels.identities[places].tolist(), labels.cameras[places].tolist(), strict=True))
        counts = {cell: cells.count(cell) for cell in cells}
        most = 10 if "multi" in name else 1
        assert counts == {cell: min(most, len(paths_of)) for cell, paths_of in names.items()}
        draws.append(frozenset(drawn))
    assert len(set(draws)) == len(draws) == 10
    again = drawn_trials(protocol, **sides)
    assert all(
        np.array_equal(getattr(one, each), getattr(two, each))
        for one, two in zip(trials, again, strict=True)
        for each in sides
    )


def test_the_order_of_the_images_is_of_no_matter() -> None:
    """A folder read in another order gives the same images."""
    labels, paths = images(1)
    order = np.random.default_rng(0).permutation(len(paths))
    shuffled = labels.part(order), [paths[place] for place in order]
    protocol = PROTOCOLS["sysu-all"]
    for one, two in zip(
        drawn_trials(protocol, (labels, paths), (labels, paths)),
        drawn_trials(protocol, shuffled, shuffled),
        strict=True,
    ):
        assert {paths[place] for place in one.gallery} == {shuffled[1][place] for place in two.gallery}


@pytest.mark.parametrize("name", sorted(set(PROTOCOLS) - set(DRAWING)))
def test_a_protocol_that_draws_nothing_has_one_trial_of_everything(name: str) -> None:
    """Splits are the data set's own."""
    side = images(0)
    (trial,) = drawn_trials(PROTOCOLS[name], side, side)
    assert trial.query.tolist() == trial.gallery.tolist() == list(range(len(side[1])))


def ten_trials(*, count: int = 10, only: int | None = None) -> list[RankingScores]:
    """Scores of a random model on the trials of a drawing protocol; only one of them, again and again, if asked."""
    chance, protocol = np.random.default_rng(3), PROTOCOLS["llcm-v2i"]
    labels, paths = images(0)
    query = labels.part(np.arange(100))
    features = [chance.standard_normal((count, 4)) for count in (100, len(paths))]
    trials = drawn_trials(protocol, (query, paths[:100]), (labels, paths))
    return [
        score(rank(features[0], features[1][t.gallery], query, labels.part(t.gallery), protocol, "euclidean"))[1]
        for t in (trials[number if only is None else only] for number in range(count))
    ]


def check_means(trials: Sequence[RankingScores], found: RankingScores) -> None:
    """Assert that scores are those of trials that differ."""
    for name in METRICS:
        several, one = [getattr(trial, name) for trial in trials], getattr(found, name)
        for part in ("value", "optimistic", "pessimistic"):
            assert getattr(one, part) == pytest.approx(np.mean([getattr(each, part) for each in several]), abs=1e-15)
        values = np.array([each.value for each in several])
        assert one.std == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / len(values)), abs=1e-15)
        assert one.std > 0


def test_scores_over_ten_trials_are_means_with_their_spread() -> None:
    """Of every metric and bound; the deviation is that of a population."""
    trials = ten_trials()
    found = over_trials(trials)
    check_means(trials, found)
    for name in ("chance_mAP", "chance_rank1"):
        assert getattr(found, name) == pytest.approx(fmean(getattr(trial, name) for trial in trials), abs=1e-15)
    assert (found.n_query, found.n_identity) == (trials[0].n_query, trials[0].n_identity)
    assert found.n_query_valid == round(np.mean([trial.n_query_valid for trial in trials]))


def test_one_trial_counted_ten_times_is_caught() -> None:
    """The planted bug: its deviation is 0, where the trials differ."""
    found = over_trials(ten_trials(only=4))
    assert {getattr(found, name).std for name in METRICS} == {0.0}
    with pytest.raises(AssertionError):
        check_means(ten_trials(), found)


def test_counts_are_whole() -> None:
    """2 and 3 queries, and 2 and 4 images of the gallery."""
    bounded = Bounded(value=0.5, optimistic=0.5, pessimistic=0.5)
    one = RankingScores(
        **dict.fromkeys(METRICS, bounded),
        chance_mAP=0.1, chance_rank1=0.1, n_query=2, n_query_valid=1, n_gallery=2, n_identity=1,
    )  # fmt: skip
    found = over_trials([one, replace(one, n_query=3, n_gallery=4), replace(one, n_query=3)])
    assert (found.n_query, found.n_query_valid, found.n_gallery, found.n_identity) == (3, 1, 3, 1)


def test_a_single_trial_is_given_back() -> None:
    """Without a deviation."""
    (one,) = ten_trials(count=1)
    assert over_trials([one]) is one
    assert one.mAP.std is None


def test_no_trial_is_refused() -> None:
    """There is no mean of nothing."""
    with pytest.raises(ValueError, match="at least one trial"):
        over_trials([])


def test_an_impossible_deviation_is_refused() -> None:
    """Fractions do not spread further than 1."""
    with pytest.raises(ValueError, match="standard deviation"):
        Bounded(value=0.5, optimistic=0.5, pessimistic=0.5, std=-0.1)
