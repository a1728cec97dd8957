"""The quick first convolution: the same features bit for bit, the same gradient up to rounding."""

from __future__ import annotations

import pytest
import torch
from robustreid.models import stem
from robustreid.models.architectures.resnet import resnet50
from robustreid.models.base import ModelSpec
from robustreid.models.engine import embedder
from robustreid.models.stem import Stem, is_stem
from torch import Tensor, nn


def gradient(layer: nn.Module, images: Tensor, weights: Tensor) -> Tensor:
    """Of a weighted sum of the output."""
    leaf = images.clone().requires_grad_()
    (found,) = torch.autograd.grad((layer(leaf) * weights).sum(), leaf)
    return found


@pytest.mark.parametrize("size", [(8, 8), (16, 6), (2, 2), (7, 8), (9, 5)])
@pytest.mark.parametrize("channels", [(3, 5), (1, 2), (4, 16)])
@pytest.mark.parametrize("bias", [False, True])
def test_a_stem_is_its_convolution(size: tuple[int, int], channels: tuple[int, int], bias: bool) -> None:
    """In float64, to the last digits, at every border, for even and odd sizes."""
    torch.manual_seed(0)
    layer = nn.Conv2d(*channels, 7, 2, 3, bias=bias).double()
    images = torch.randn(2, channels[0], *size, dtype=torch.float64)
    quick = Stem(layer)
    wanted = layer(images)
    assert torch.equal(quick(images), wanted)
    weights = torch.randn_like(wanted)
    assert torch.allclose(gradient(quick, images, weights), gradient(layer, images, weights), rtol=0, atol=1e-12)


def test_its_gradient_under_autocast() -> None:
    """The forward pass leaves bfloat16 there, and backward runs outside of autocast."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, 7, 2, 3)
    images = torch.randn(2, 3, 16, 8)
    weights = torch.randn(2, 5, 8, 4).bfloat16().float()
    with torch.autocast("cpu", torch.bfloat16):
        found = gradient(Stem(layer), images, weights)
    wanted = gradient(layer, images, weights)
    assert found.dtype == images.dtype
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 7, 1, 3),
        nn.Conv2d(3, 4, 3, 2, 1),
        nn.Conv2d(3, 4, 7, 2, 2),
        nn.Conv2d(64, 4, 7, 2, 3),
        nn.Conv2d(2, 4, 7, 2, 3, groups=2),
        nn.Conv2d(3, 4, 7, 2, 3, padding_mode="reflect"),
        nn.Conv2d(3, 4, 7, 2, 3, dilation=2),
        nn.Linear(3, 4),
    ],
)
def test_other_layers_are_not_stems(layer: nn.Module) -> None:
    """Another kernel, stride, border or group has other phases."""
    assert not is_stem(layer)


def test_the_engine_takes_it_and_refuses_a_wrong_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """ResNet-50 gets it; the planted bug, phases exchanged, is seen by its gradient and not taken."""
    spec = ModelSpec(label="m", architecture="resnet50", input_size=(64, 32))
    torch.manual_seed(0)
    network = resnet50().eval()
    assert isinstance(embedder(network, spec).get_submodule("network.conv1"), Stem)
    real = stem._phases
    monkeypatch.setattr(stem, "_phases", lambda weight: real(weight).roll(1, 0))
    assert isinstance(embedder(network, spec).get_submodule("network.conv1"), nn.Conv2d)
