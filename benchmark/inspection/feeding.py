"""Whether people are recognised, and whether they were better recognised if the network were fed otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...attacks.reliability.thresholds import ABOVE_CHANCE, FED_BETTER, FED_ERRORS
from ...models.base import NORMALISATIONS, Normalise
from ...models.pixels import PixelEmbedder
from ..evaluation import NonFiniteFeatureError, QueryScores, RankingScores
from ..runner.features import CleanFeatures
from .findings import Finding, flagged
from .sample import Sample

#: Grey levels, as networks of Caffe and OpenVINO expect them.
GREY_LEVELS = Normalise(std=(1 / 255, 1 / 255, 1 / 255))


@dataclass(frozen=True, kw_only=True)
class Feeding:
    """Another way to feed a network."""

    #: How it is called: `0..255, BGR`.
    name: str
    normalise: Normalise
    swaps_channels: bool
    #: What to do where it is the right one.
    remedy: str


def is_near_chance(mAP: float, chance: float) -> bool:
    """Whether a score leaves nothing to lose."""
    return mAP < chance + ABOVE_CHANCE


def people(clean: CleanFeatures, scores: RankingScores, sample: Sample) -> Finding:
    """Whether features tell people apart."""
    mAP, chance = scores.mAP.value, scores.chance_mAP
    likeness, spread = _likeness(clean, sample)
    measured = (
        f"clean mAP {100 * mAP:.1f}, chance {100 * chance:.1f}; cosine {likeness:.2f} between people, "
        f"{spread} of {clean.query.shape[1]} numbers vary"
    )
    if is_near_chance(mAP, chance):
        return flagged("people", measured, "near-chance")
    return Finding(name="people", verdict="fine", measured=measured)


def _likeness(clean: CleanFeatures, sample: Sample) -> tuple[float, int]:
    """The mean cosine between features of different people, and how many numbers of a feature are not constant."""
    gallery = clean.gallery.astype(np.float64)
    unit = gallery / np.maximum(np.linalg.norm(gallery, axis=1, keepdims=True), 1e-12)
    identities = sample.data.gallery.identities
    cosines = (unit @ unit.T)[identities[:, None] != identities[None, :]]
    scale = np.abs(gallery).max(initial=1e-12)
    return float(cosines.mean()) if len(cosines) else 1.0, int((np.ptp(gallery, axis=0) > 1e-6 * scale).sum())


def feedings(normalise: Normalise) -> Iterator[Feeding]:
    """The ways to feed a network other than the one that is asked for."""
    ways = (
        ("RGB in [0, 1]", NORMALISATIONS["none"], "say --normalise none (in a grid `normalise: none`)"),
        ("normalised as ImageNet", NORMALISATIONS["imagenet"], "say --normalise imagenet (`normalise: imagenet`)"),
        ("RGB in 0..255", GREY_LEVELS, "multiply by 255 inside the model: from_module(..., scale=255)"),
    )
    for name, way, remedy in ways:
        if way != normalise:
            yield Feeding(name=name, normalise=way, swaps_channels=False, remedy=remedy)
    swap = "swap the channels inside the model: from_module(..., bgr=True)"
    yield Feeding(name="BGR as it is", normalise=normalise, swaps_channels=True, remedy=swap)
    if normalise != GREY_LEVELS:
        both = "from_module(..., scale=255, bgr=True), or `architecture: ir-bgr255` for an IR"
        yield Feeding(name="BGR in 0..255", normalise=GREY_LEVELS, swaps_channels=True, remedy=both)


def _swapped(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda images: network(images.flip(1))


def fed_otherwise(embedder: PixelEmbedder, sample: Sample, given: QueryScores) -> Finding:
    """Whether another way to feed the network recognises more people, by more than chance would have it.

    Args:
        embedder: the model, fed as it is asked for.
        sample: the people.
        given: scores of each query, fed so.
    """
    spec, network = embedder.spec, embedder.network
    seen: list[tuple[float, float, Feeding]] = []
    for feeding in feedings(spec.normalise):
        other = PixelEmbedder(
            _swapped(network) if feeding.swaps_channels else network,
            replace(spec, normalise=feeding.normalise),
            layout=embedder.layout,
        ).to(sample.device)
        try:
            scores = sample.scores(sample.features(other), spec)[0]
        except NonFiniteFeatureError:
            continue
        gains = _gains(scores.ap - given.ap, sample.data.query.identities[given.query_index])
        error = float(gains.std(ddof=1)) / len(gains) ** 0.5 if len(gains) > 1 else float("inf")
        seen.append((float(gains.mean()), error, feeding))
    best = max(seen, key=lambda each: each[0], default=None)
    if best is None:
        return Finding(name="input", verdict="fine", measured="fed in any other way, features are not finite")
    gain, error, feeding = best
    measured = f"best of {len(seen)} other ways to feed it: {feeding.name}, {100 * gain:+.1f} points of AP a person"
    if gain > FED_BETTER and gain > FED_ERRORS * error:
        flag = flagged("input", measured, "better-fed-otherwise")
        return replace(flag, remedy=f"if it was trained so, {feeding.remedy}")
    return Finding(name="input", verdict="fine", measured=measured)


def _gains(differences: NDArray[np.float64], identities: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean difference of each person's queries."""
    return np.array([differences[identities == person].mean() for person in np.unique(identities)])
