"""Trials: which queries are looked for among which gallery images, time after time, and what that comes to."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

import numpy as np

from .scores import METRICS, Bounded, RankingScores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .protocol import Labels, Protocol


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One time: places on each side, ascending."""

    #: (Q,) int64.
    query: NDArray[np.int64]
    #: (G,) int64.
    gallery: NDArray[np.int64]


def drawn_trials(
    protocol: Protocol, query: tuple[Labels, Sequence[str]], gallery: tuple[Labels, Sequence[str]]
) -> tuple[Trial, ...]:
    """The trials of a protocol that draws them, from the labels and paths of both sides; one of everything otherwise.

    Args:
        protocol: of its trials, the first has number 0.
        query: labels (Q,) and the paths relative to the data root, which order the images of a camera.
        gallery: likewise (G,).
    """
    sides = {"query": query, "gallery": gallery}
    everything = {name: np.arange(len(labels)) for name, (labels, _) in sides.items()}
    if protocol.drawn is None:
        return (Trial(**everything),)
    labels, paths = sides[protocol.drawn.side]
    chosen = [_drawn(labels, paths, protocol.drawn.shots, trial) for trial in range(protocol.n_trials)]
    return tuple(Trial(**{**everything, protocol.drawn.side: places}) for places in chosen)


def _drawn(labels: Labels, paths: Sequence[str], shots: int, trial: int) -> NDArray[np.int64]:
    """The places (N,) of `shots` images of each identity by each camera."""
    chance = random.Random(trial)  # noqa: S311 (the stream that the public evaluation code draws from)
    cells: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, key in enumerate(zip(labels.identities.tolist(), labels.cameras.tolist(), strict=True)):
        cells[key].append(place)
    found: list[int] = []
    for key in sorted(cells):
        places = sorted(cells[key], key=paths.__getitem__)
        found += [chance.choice(places)] if shots == 1 else chance.sample(places, min(shots, len(places)))
    return np.array(sorted(found), dtype=np.int64)


def over_trials(scores: Sequence[RankingScores]) -> RankingScores:
    """Scores of several trials as one: means of all, and the standard deviation of each value over the trials.

    Counts are means too, rounded to whole numbers. One trial is given back as it is.
    """
    if not scores:
        raise ValueError("expected the scores of at least one trial")
    if len(scores) == 1:
        return scores[0]
    bounded = {name: _bounded_over_trials([getattr(each, name) for each in scores]) for name in METRICS}
    return RankingScores(
        **bounded,
        chance_mAP=fmean(each.chance_mAP for each in scores),
        chance_rank1=fmean(each.chance_rank1 for each in scores),
        n_query=round(fmean(each.n_query for each in scores)),
        n_query_valid=round(fmean(each.n_query_valid for each in scores)),
        n_gallery=round(fmean(each.n_gallery for each in scores)),
        n_identity=round(fmean(each.n_identity for each in scores)),
    )


def _bounded_over_trials(trials: list[Bounded]) -> Bounded:
    return Bounded(
        value=fmean(each.value for each in trials),
        optimistic=fmean(each.optimistic for each in trials),
        pessimistic=fmean(each.pessimistic for each in trials),
        std=pstdev(each.value for each in trials),
    )
