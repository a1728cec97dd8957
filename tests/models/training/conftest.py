"""A small training set in memory and a small network, quick enough to train in a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from robustreid.models.base import NORMALISATIONS, ModelSpec
from robustreid.models.training.augment import Augment
from robustreid.models.training.plan import Plan
from torch import Tensor, nn

if TYPE_CHECKING:
    from robustreid.models.training.loop import Trainer

SIZE = (16, 8)


@dataclass(frozen=True)
class MemorySet:
    """People who differ by their colours; every image is its person's picture and noise."""

    identities: NDArray[np.int64]
    cameras: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    modalities: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.identities)

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels[indices]


class SmallNet(nn.Module):
    """A convolution, a batch norm and a linear layer: everything that has a state of its own."""

    feature_dim = 12
    channels_last = True

    def __init__(self, *, neck: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Linear(8 * 8 * 4, self.feature_dim)
        self.bottleneck = nn.BatchNorm1d(self.feature_dim) if neck else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.bottleneck(self.last(torch.relu(self.norm(self.conv(images))).flatten(1)))
        return features


@pytest.fixture
def make_set() -> Callable[..., MemorySet]:
    """A function that draws a training set; identities are not numbered from 0."""

    def make(n_people: int = 7, n_images: int = 6, n_cameras: int = 3, seed: int = 0) -> MemorySet:
        random = np.random.default_rng(seed)
        identities = np.repeat(10 + 3 * np.arange(n_people), n_images)
        looks = random.integers(40, 216, (n_people, 3, *SIZE))
        noise = random.integers(-30, 31, (len(identities), 3, *SIZE))
        pixels = (np.repeat(looks, n_images, axis=0) + noise).astype(np.uint8)
        cameras = 1 + np.arange(len(identities)) % n_cameras
        modalities = np.zeros_like(identities)
        return MemorySet(identities=identities, cameras=cameras, pixels=pixels, modalities=modalities)

    return make


@pytest.fixture
def make_network() -> Callable[..., SmallNet]:
    """A function that gives the same small network every time, with a batch norm at its end or without."""

    def make(*, neck: bool = False) -> SmallNet:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            return SmallNet(neck=neck)

    return make


@pytest.fixture
def spec() -> ModelSpec:
    """ImageNet's normalisation, unit features, no resize."""
    return ModelSpec(label="small", architecture="small", normalise=NORMALISATIONS["imagenet"])


@pytest.fixture
def make_trainer(
    make_set: Callable[..., MemorySet], make_network: Callable[..., SmallNet], spec: ModelSpec
) -> Callable[..., Trainer]:
    """A function that gives a trainer, with any key of the plan, and `perturb`."""

    def make(
        *,
        perturb: Any = None,
        data: MemorySet | None = None,
        neck: bool | None = None,
        is_compiled: bool = False,
        **changes: Any,
    ) -> Trainer:
        from robustreid.models.training.loop import Trainer

        plan: dict[str, Any] = {"epochs": 4, "identities": 3, "images": 4, "learning_rate": 5e-3, "warmup_epochs": 0.5}
        plan |= {"augment": Augment(crop=1, erase=0.2), **changes}
        network = make_network(neck=changes.get("bnneck", False) if neck is None else neck)
        return Trainer(network, spec, data or make_set(), Plan(**plan), perturb=perturb, is_compiled=is_compiled)

    return make
