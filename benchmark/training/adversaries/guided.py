"""Adversaries that move features away from some, toward others: the objectives of `attacks`, and GOAT's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....attacks.neighbours import FeatureBank, Neighbours
from ....attacks.objectives import OBJECTIVES, Objective, objective_for
from ....attacks.references import References
from ....models.training.chance import stream
from ....models.training.plan import Batch, Embed, Hardened, TrainingSet
from .ball import Ball

TrainReferences = Literal["train", "self"]

#: Objectives that look at the identities around an image; in training those of the batch.
_AROUND = ("furthest", "furthest-pull", "toward-nearest")

#: What can be climbed while a network trains: what looks at references, the image and the batch's identities alone.
INNER_OBJECTIVES = tuple(
    name for name, kind in OBJECTIVES.items() if not kind.moves and (not kind.needs_neighbours or name in _AROUND)
)


@dataclass(frozen=True, kw_only=True)
class PgdPerturb:
    """A `Perturb`: an objective of `attacks`, against the other images of the batch."""

    ball: Ball
    #: One of `INNER_OBJECTIVES`.
    objective: str = "push"
    #: What is pushed from: `train`, the clean features of the batch's other images of the identity; `self`, the image's
    #: own.
    references: TrainReferences = "train"

    def __call__(self, embed: Embed, batch: Batch, step: int) -> Hardened:
        """`steps` gradients and one forward an image."""
        objective = objective_for(self.objective, "untargeted")
        references = self._references(objective, self.ball.clean(embed, batch.images), batch.classes)
        images = self.ball.climb(embed, lambda features: objective(features, references), batch.images, step)
        return Hardened(images=images, sources=torch.arange(len(images), device=images.device))

    def _references(self, objective: Objective, features: Tensor, classes: Tensor) -> References:
        around = _around(features, classes) if objective.needs_neighbours else None
        if self.references == "self":
            count = torch.ones_like(features[:, 0])
            return References(count=count, mean=features, clean=features, neighbours=around)
        others = (classes[:, None] == classes[None, :]).to(features.dtype).fill_diagonal_(0)
        count = others.sum(1)
        mean = others @ features / count.clamp_min(1)[:, None]
        return References(count=count, mean=mean, clean=features, neighbours=around)


def _around(features: Tensor, classes: Tensor) -> Neighbours:
    """The batch as its images see it. Classes start at 0, which attacks keep for nobody, so they move up by one."""
    people, places = classes + 1, torch.arange(len(classes), device=classes.device)
    bank = FeatureBank(features=features, identities=people, cameras=torch.zeros_like(people))
    return Neighbours(
        bank=bank,
        peers=bank,
        side="query",
        places=places,
        clean=features,
        identities=people,
        aims=people,
        cameras=bank.cameras,
        same_camera_is_junk=False,
        lots=torch.zeros(len(classes), 1, device=classes.device),
    )


@dataclass(frozen=True, kw_only=True)
class GoatPerturb:
    """GOAT's adversary (Bouniot, Audigier, Loesch; CVPR workshops 2020): guided away and toward by training images.

    sum over `push` guides g of ||f - f(g)||^2 - sum over `pull` guides h of ||f - f(h)||^2; push guides are images of
    the own identity drawn anew from the whole training set, pull guides the furthest images of others in the batch,
    all of them clean. Without any guide it is SMA: away from the image's own clean feature.
    """

    ball: Ball
    data: TrainingSet
    push: int = 4
    pull: int = 1

    def __call__(self, embed: Embed, batch: Batch, step: int) -> Hardened:
        """`steps` gradients and 1 + `push` forwards an image."""
        clean = self.ball.clean(embed, batch.images)
        pushed, pulled = self._pushed(embed, batch, step), _furthest(clean, batch.classes, self.pull)

        def value(features: Tensor) -> Tensor:
            if not (self.push or self.pull):
                return (features - clean).square().sum(1)
            away = (features[:, None] - pushed).square().sum((1, 2))
            return away - (features[:, None] - pulled).square().sum((1, 2))

        images = self.ball.climb(embed, value, batch.images, step)
        return Hardened(images=images, sources=torch.arange(len(images), device=images.device))

    def _pushed(self, embed: Embed, batch: Batch, step: int) -> Tensor:
        """The push guides' features (B, push, D)."""
        guides = guides_of(self.data.identities, batch.places, self.push, seed=self.ball.seed, step=step)
        if not guides.size:
            return batch.images.new_zeros(len(guides), 0, 1)
        used, place = np.unique(guides, return_inverse=True)
        pixels = torch.from_numpy(self.data.batch(used)).to(batch.images.device).float() / 255
        layout = torch.contiguous_format if batch.images.is_contiguous() else torch.channels_last
        if batch.modalities is not None:
            modalities = torch.from_numpy(self.data.modalities[used]).to(batch.images.device)
            embed = partial(embed, modalities=modalities)
        features = self.ball.clean(embed, pixels.contiguous(memory_format=layout))
        return features[torch.from_numpy(place.reshape(guides.shape)).to(features.device)]


def guides_of(
    identities: NDArray[np.int64], places: NDArray[np.int64], count: int, *, seed: int, step: int
) -> NDArray[np.int64]:
    """For images at `places` (B,) of a training set, `count` others of their identity each, (B, count).

    Distinct where there are enough others, then some come again; an image that is alone guides itself.
    """
    random = stream(seed, "guides", step)
    rows = []
    for place in places.tolist():
        others = np.flatnonzero(identities == identities[place])
        others = others[others != place] if len(others) > 1 else others
        rows.append(random.choice(others, count, replace=len(others) < count))
    return np.array(rows, dtype=np.int64).reshape(len(places), count)


def _furthest(features: Tensor, classes: Tensor, count: int) -> Tensor:
    """The features (B, count, D) of the images of other classes that are furthest from each of (B, D)."""
    distances = torch.cdist(features.double(), features.double())
    distances = distances.masked_fill(classes[:, None] == classes[None, :], -torch.inf)
    chosen = torch.argsort(distances, dim=1, descending=True, stable=True)[:, :count]
    return features[chosen]
