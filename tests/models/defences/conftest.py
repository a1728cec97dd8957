"""A small model and small images for the suites of defences."""

from __future__ import annotations

import pytest
import torch
from robustreid.models.base import ModelSpec
from robustreid.models.defences.catalogue import DefenceRequest, parse
from robustreid.models.pixels import PixelEmbedder
from torch import Tensor, nn


@pytest.fixture
def images() -> Tensor:
    """Four images (4, 3, 20, 12) of whole grey levels, smooth enough to look like something; no side fits a JPEG."""
    rough = torch.rand(4, 3, 6, 4, generator=torch.Generator().manual_seed(1))
    fine = nn.functional.interpolate(rough, size=(20, 12), mode="bilinear")
    return (fine * 255).round() / 255


class Maker:
    """Gives embedders of one small convolutional network behind defences."""

    def __call__(self, defence: DefenceRequest = None, *, metric: str = "euclidean") -> PixelEmbedder:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5))
        spec = ModelSpec(
            label="net",
            architecture="plugin",
            input_size=(16, 8),
            metric="cosine" if metric == "cosine" else "euclidean",
            defence=parse(defence),
        )
        return PixelEmbedder(network, spec)


@pytest.fixture
def net() -> Maker:
    """A function that gives the same small network behind defences."""
    with torch.random.fork_rng():
        return Maker()
