"""Training people for the fits: looks of their own under noise, as batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from robustreid.attacks.counts import from_counts
from robustreid.attacks.universal import Batch, Perturbation
from robustreid.models.base import MODALITIES, Modality, ModelSpec, Normalise
from robustreid.models.pixels import PixelEmbedder
from robustreid.models.streams import TwoStreamEmbedder
from robustreid.models.training.sampling import batches
from torch import Tensor, nn


@dataclass(frozen=True)
class People:
    """A `Loader` of images in memory."""

    images: Tensor
    identities: Tensor
    n_identities: int = 3
    seed: int = 0
    #: Places in `MODALITIES`; None where all are visible.
    modalities: Tensor | None = None
    #: The modalities that batches take in turn; None for batches of everybody.
    turns: tuple[Modality, ...] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.images.shape[2], self.images.shape[3]

    @property
    def n_images(self) -> int:
        """All of them."""
        return len(self.images)

    @property
    def n_epoch(self) -> int:
        """P x K in a batch."""
        n_steps = len(torch.unique(self.identities)) // self.n_identities
        return n_steps * len(self.turns or "1") * self.n_identities * 4

    def n_of(self, modality: Modality) -> int:
        """Of a modality."""
        return len(self.rows_of(modality))

    def rows_of(self, modality: Modality) -> NDArray[np.int64]:
        """Where the images of a modality are."""
        places = torch.zeros_like(self.identities) if self.modalities is None else self.modalities
        return np.flatnonzero(places.numpy() == MODALITIES.index(modality))

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """These images."""
        modalities = None if self.modalities is None else self.modalities[rows]
        return Batch(images=self.images[rows], identities=self.identities[rows], modalities=modalities)

    def everyone(self) -> Iterator[Batch]:
        """In parts of five."""
        for start in range(0, len(self.images), 5):
            yield self.batch(np.arange(start, min(start + 5, len(self.images))))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """P x 4, of everybody or of one modality after the other."""
        labels = self.identities.numpy()
        parts = [self.rows_of(modality) for modality in self.turns] if self.turns else [np.arange(len(labels))]
        drawn = [
            part[batches(labels[part], part, n_identities=self.n_identities, n_images=4, seed=self.seed, epoch=epoch)]
            for part in parts
        ]
        for turn in zip(*drawn, strict=True):
            yield from map(self.batch, turn)


@pytest.fixture(scope="session")
def make_people() -> Callable[..., People]:
    """A function that draws people (9x6 images, four each): others for another seed.

    `both`: the same people seen four times more, gray and darker, as infrared images; batches alternate.
    """

    def make(
        n_people: int = 9, *, seed: int = 0, dtype: torch.dtype = torch.float64, both: bool = False, **options: Any
    ) -> People:
        source = torch.Generator().manual_seed(seed)
        labels = torch.arange(1, n_people + 1).repeat_interleave(4)

        def drawn(most: int, *shape: int) -> Tensor:
            return torch.randint(-most, most + 1, (n_people, *shape, 9, 6), generator=source)

        if not both:
            looks = torch.randint(60, 196, (n_people, 1, 3, 9, 6), generator=source)
            return People(from_counts((looks + drawn(30, 4, 3)).to(dtype)).flatten(0, 1), labels, **options)
        looks = 128 + drawn(60, 1, 1)
        seen = (
            looks + drawn(10, 1, 3) + drawn(20, 4, 3),
            (0.7 * looks + drawn(20, 4, 1)).round().expand(-1, -1, 3, 9, 6),
        )
        images = torch.cat([from_counts(each.to(dtype)).flatten(0, 1) for each in seen])
        modalities = torch.tensor([0, 1]).repeat_interleave(len(labels))
        return People(images, labels.repeat(2), **{"modalities": modalities, "turns": MODALITIES, **options})

    return make


@pytest.fixture(scope="session")
def streams() -> TwoStreamEmbedder:
    """A small float64 network with stems of its own for visible and infrared images, alike but for noise; cosine."""
    source = torch.Generator().manual_seed(7)

    def weights(*shape: int) -> Tensor:
        found: Tensor = torch.randn(*shape, generator=source) / float(prod(shape[1:])) ** 0.5
        return found

    luma = weights(6, 1, 3, 3)
    stems = [nn.Conv2d(3, 6, 3, padding=1, bias=False) for _ in MODALITIES]
    for stem in stems:
        stem.weight.data = luma / 3 + 0.3 * weights(6, 3, 3, 3)
    second, last = nn.Conv2d(6, 6, 3, stride=2, bias=False), nn.Linear(6 * 5 * 3, 5, bias=False)
    second.weight.data, last.weight.data = weights(6, 6, 3, 3), weights(5, 6 * 5 * 3)
    trunk = nn.Sequential(nn.Tanh(), second, nn.Flatten(), last)
    spec = ModelSpec(label="streams", architecture="plugin", input_size=(12, 8), metric="cosine")
    visible, infrared = (
        PixelEmbedder(
            nn.Sequential(stem, trunk), replace(spec, normalise=Normalise(mean=(mean,) * 3, std=(0.25, 0.25, 0.25)))
        ).double()
        for stem, mean in zip(stems, (0.5, 0.35), strict=True)
    )
    return TwoStreamEmbedder(visible, infrared)


@pytest.fixture
def make_perturbation() -> Callable[..., Perturbation]:
    """A function that makes a perturbation of random entries within its epsilon."""

    def make(size: tuple[int, int] = (9, 6), *, epsilon: str = "8/255", seed: int = 0, **changes: Any) -> Perturbation:
        source = torch.Generator().manual_seed(seed)
        delta = (2 * torch.rand(3, *size, generator=source) - 1) * float(Fraction(epsilon))
        known = {"sha256": f"{seed:064x}", "procedure": "muap", "model": "tiny", "model_sha256": "a" * 64}
        return Perturbation(
            **{**known, "delta": delta, "epsilon": Fraction(epsilon), "data_sha256": "b" * 64, **changes}
        )

    return make
