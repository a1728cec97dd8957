"""The pixel-space wrapper: resize, normalise, unit length, always in evaluation mode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustreid import UserError
from robustreid.models.base import NORMALISATIONS, ModelSpec
from robustreid.models.pixels import PixelEmbedder, resize, resize_mode
from torch import nn

IMAGES = torch.rand(3, 3, 12, 8, generator=torch.Generator().manual_seed(0))


def spec(**changes: Any) -> ModelSpec:
    return ModelSpec(**{"label": "m", "architecture": "plugin", "metric": "euclidean", **changes})


@pytest.mark.parametrize(
    ("mode", "from_size", "to_size"),
    [
        ("none", (12, 8), (12, 8)),
        ("none", (12, 8), None),
        ("bilinear", (12, 8), (24, 8)),
        ("bilinear", (12, 8), (24, 16)),
        ("bilinear-antialias", (12, 8), (24, 7)),
        ("bilinear-antialias", (12, 8), (6, 4)),
    ],
)
def test_resize_mode(mode: str, from_size: tuple[int, int], to_size: tuple[int, int] | None) -> None:
    """Antialiasing exactly when height or width shrinks."""
    assert mode == resize_mode(from_size, to_size)


def test_resize_uses_the_mode_it_names() -> None:
    """Growing is plain bilinear, shrinking antialiased, and the same size gives the very same tensor."""
    interpolate = nn.functional.interpolate
    options: dict[str, Any] = {"mode": "bilinear", "align_corners": False}
    assert torch.equal(interpolate(IMAGES, size=(24, 16), antialias=False, **options), resize(IMAGES, (24, 16)))
    assert torch.equal(interpolate(IMAGES, size=(6, 4), antialias=True, **options), resize(IMAGES, (6, 4)))
    assert not torch.equal(interpolate(IMAGES, size=(6, 4), antialias=False, **options), resize(IMAGES, (6, 4)))
    assert resize(IMAGES, (12, 8)) is IMAGES
    assert resize(IMAGES, None) is IMAGES


@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_resize_keeps_a_flat_image_flat_and_its_range(height: int, width: int) -> None:
    """Interpolation weights sum to one and none is negative."""
    flat = torch.full((1, 3, 12, 8), 0.25, dtype=torch.float64)
    torch.testing.assert_close(resize(flat, (height, width)), torch.full((1, 3, height, width), 0.25).double())
    moved = resize(IMAGES.double(), (height, width))
    assert moved.min() >= IMAGES.min() - 1e-12
    assert moved.max() <= IMAGES.max() + 1e-12


def normalises(embedder: nn.Module) -> bool:
    """Whether the network is fed (x - mean) / std by ImageNet's numbers, worked out in NumPy."""
    mean = np.array([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
    std = np.array([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
    expected = ((IMAGES.double().numpy() - mean) / std).reshape(3, -1)
    return bool(np.allclose(expected, embedder(IMAGES).numpy(), atol=1e-5))


class Exchanged(PixelEmbedder):
    """A planted bug: mean and std change places."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network((images - self.std) / self.mean)


def test_normalisation_and_its_planted_bug() -> None:
    """The right order passes and the exchanged one is rejected by the same check."""
    wanted = spec(normalise=NORMALISATIONS["imagenet"])
    assert normalises(PixelEmbedder(nn.Flatten(), wanted))
    assert not normalises(Exchanged(nn.Flatten(), wanted))
    assert not normalises(PixelEmbedder(nn.Flatten(), spec()))


def test_the_module_stays_in_evaluation_mode_and_frozen() -> None:
    """Neither `train()` nor a batch norm inside can tie an image to its neighbours."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    embedder = PixelEmbedder(network, spec())
    before = embedder(IMAGES[:1])
    assert embedder.train() is embedder
    assert [module.training for module in network.modules()] == [False] * 4
    assert not any(parameter.requires_grad for parameter in embedder.parameters())
    torch.testing.assert_close(embedder(IMAGES)[:1], before)
    assert embedder.state_dict().keys() == {f"network.{name}" for name in network.state_dict()}


def test_cosine_features_have_unit_length_and_gradients() -> None:
    """With metric cosine the norm is 1, in float64 too, and gradients reach the pixels through the resize."""
    embedder = PixelEmbedder(nn.Flatten(), spec(metric="cosine", input_size=(6, 4))).double()
    at = IMAGES.double().requires_grad_()
    features = embedder(at)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3, dtype=torch.float64))
    features[:, 0].sum().backward()
    assert at.grad is not None
    assert at.grad.abs().sum() > 0
    assert embedder.mean.dtype == torch.float64


@pytest.mark.parametrize("images", [torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8).byte()])
def test_other_shapes_and_types_are_refused(images: torch.Tensor) -> None:
    """Images are (B, 3, H, W) and floating."""
    with pytest.raises(ValueError, match=r"expected images \(B, 3, H, W\)"):
        PixelEmbedder(nn.Flatten(), spec())(images)


def test_an_output_that_is_no_feature_is_refused() -> None:
    """A map in place of a feature is named with its shape."""
    with pytest.raises(UserError, match=r"'m' gave an output of shape \(3, 3, 12, 8\) for 3 images"):
        PixelEmbedder(nn.Identity(), spec())(IMAGES)
