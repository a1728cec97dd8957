"""Training people for the fits: looks of their own under noise, as batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from robustreid.attacks.counts import from_counts
from robustreid.attacks.universal import Batch, Perturbation
from robustreid.models.training.sampling import batches
from torch import Tensor


@dataclass(frozen=True)
class People:
    """A `Loader` of images in memory."""

    images: Tensor
    identities: Tensor
    n_identities: int = 3
    seed: int = 0

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
        return len(torch.unique(self.identities)) // self.n_identities * self.n_identities * 4

    def everyone(self) -> Iterator[Batch]:
        """In parts of five."""
        for start in range(0, len(self.images), 5):
            yield Batch(images=self.images[start : start + 5], identities=self.identities[start : start + 5])

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """P x 4."""
        labels = self.identities.numpy()
        for rows in batches(
            labels, np.arange(len(labels)), n_identities=self.n_identities, n_images=4, seed=self.seed, epoch=epoch
        ):
            yield Batch(images=self.images[rows], identities=self.identities[rows])


@pytest.fixture(scope="session")
def make_people() -> Callable[..., People]:
    """A function that draws people (9x6 images, four each): others for another seed."""

    def make(n_people: int = 9, *, seed: int = 0, dtype: torch.dtype = torch.float64, **options: Any) -> People:
        source = torch.Generator().manual_seed(seed)
        looks = torch.randint(60, 196, (n_people, 1, 3, 9, 6), generator=source)
        noise = torch.randint(-30, 31, (n_people, 4, 3, 9, 6), generator=source)
        images = from_counts((looks + noise).to(dtype)).flatten(0, 1)
        return People(images, torch.arange(1, n_people + 1).repeat_interleave(4), **options)

    return make


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
