"""What the channels-last layout is worth: a gradient of OSNet x0.25 in it, beside the same in the default layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from robustreid.models.architectures.osnet import osnet_x0_25
from robustreid.models.base import ModelSpec
from robustreid.models.pixels import PixelEmbedder

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

SPEC = ModelSpec(label="osnet", architecture="osnet_x0_25", input_size=(256, 128))


@pytest.mark.benchmark(group="gradient of OSNet x0.25, 16 images of 128x64")
@pytest.mark.parametrize("layout", ["channels last", "default"])
def test_gradient(benchmark: BenchmarkFixture, layout: str) -> None:
    """One gradient with respect to the pixels; the feature is the same in both layouts."""
    torch.manual_seed(0)
    network = osnet_x0_25()
    network.channels_last = layout == "channels last"
    embedder = PixelEmbedder(network, SPEC)
    images = torch.rand(16, 3, 128, 64, requires_grad=True)

    def gradient() -> torch.Tensor:
        (found,) = torch.autograd.grad(embedder(images)[:, 0].sum(), images)
        return found

    found = benchmark.pedantic(gradient, rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]
    assert found.shape == images.shape
