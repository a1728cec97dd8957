"""Gradients through defences: true ones against finite differences, replaced ones against what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from robustreid.models.defences import jpeg
from robustreid.models.defences.catalogue import parse_one
from robustreid.models.defences.stage import Stages
from robustreid.models.passing import sampled
from robustreid.models.pixels import PixelEmbedder
from robustreid.models.stages import AUTO, OFF, Adaptive, StraightThrough, declared_behind, followed
from torch import Tensor

SMALL_SMOOTHING = {"name": "smoothing", "copies": 3, "sigma": 0.2}


def gradient(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    leaf = images.clone().requires_grad_()
    total = model(leaf).square().sum()
    return torch.autograd.grad(total, leaf)[0]


@pytest.mark.parametrize(
    "defence",
    [
        "blur",
        {"name": "median", "size": 3},
        {"name": "resize-pad", "share": 0.6},
        SMALL_SMOOTHING,
        ["blur", "resize-pad"],
    ],
)
def test_true_gradients_agree_with_finite_differences(net: Any, images: Tensor, defence: Any) -> None:
    """In float64, in a random direction; what is drawn stays, as no pixel leaves its grey level."""
    model = net(defence).double()
    # Away from ties, where a median has no slope.
    images = images.double() + 0.2 / 255 * torch.rand(images.shape, generator=torch.Generator().manual_seed(2))
    found = gradient(model, images)
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    step = 1e-7
    with torch.no_grad():
        ahead, behind = (model(images + sign * step * direction).square().sum() for sign in (1, -1))
    assert float((found * direction).sum()) == pytest.approx(float((ahead - behind) / (2 * step)), rel=1e-4)


@pytest.mark.parametrize("name", ["jpeg", "bit-depth"])
def test_who_looks_for_nothing_gets_nothing(net: Any, images: Tensor, name: str) -> None:
    """The stage is honest: its own gradient is none, or zero."""
    model = followed(net(name), OFF)
    features = model(images.clone().requires_grad_())
    assert not features.requires_grad or float(gradient(model, images).abs().max()) == 0


@pytest.mark.parametrize("defence", ["jpeg", "bit-depth", "median", ["bit-depth", "jpeg"], ["jpeg", SMALL_SMOOTHING]])
def test_by_default_features_are_true_and_gradients_lead_somewhere(net: Any, images: Tensor, defence: Any) -> None:
    """With a graph and without one, bit for bit those of the model that is scored."""
    model = net(defence)
    other = followed(model, AUTO)
    assert isinstance(other, StraightThrough)
    assert not other.reaches_network
    with torch.no_grad():
        wanted = model(images)
        assert torch.equal(other(images), wanted)
    assert torch.equal(other(images.clone().requires_grad_()), wanted)
    assert float(gradient(other, images).abs().max()) > 0


def test_bit_depth_is_passed_straight(net: Any, images: Tensor) -> None:
    """The gradient at the rounded image, as it is."""
    model = net("bit-depth")
    (stage,) = model.defences.values()
    assert torch.equal(gradient(followed(model, AUTO), images), gradient(net(), stage(images)))


def test_a_jpeg_s_gradient_is_that_of_jpegs_on_average(images: Tensor) -> None:
    """What `pull_back` says of a small step is what steps of JPEG's own arithmetic do on average around an image.

    The mean over Gaussian noise of a few grey levels of the change by a small step, from a JPEG in plain numbers.
    """
    quality, step = 75, 2.0
    (stage,) = Stages((parse_one({"name": "jpeg", "quality": quality}),)).values()
    image = images[:1, :, :16, :8].repeat(1, 1, 1, 2).double()
    generator = torch.Generator().manual_seed(4)
    towards = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    direction = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    found = float((stage.pull_back(image, towards) * direction).sum())  # type: ignore[operator]
    changes = []
    for _ in range(500):
        noise = jpeg.SPREAD / 255 * torch.randn(image.shape, generator=generator, dtype=torch.float64)
        ahead, behind = (plain_jpeg(image + noise + sign * step / 255 * direction, quality) for sign in (1, -1))
        changes.append(float(((ahead - behind) * towards).sum()) / (2 * step / 255))
    mean, error = torch.tensor(changes).mean(), torch.tensor(changes).std() / len(changes) ** 0.5
    assert abs(found - float(mean)) < 4 * float(error) + 0.05 * abs(float(mean))
    straight = float((towards * direction).sum())
    assert abs(straight - float(mean)) > 8 * float(error)  # the identity is another gradient


def plain_jpeg(images: Tensor, quality: int) -> Tensor:
    """Encoded and decoded in real numbers: colours halved by means and doubled by repetition, nothing cut off."""
    to_ycc = torch.tensor(jpeg._YCC, dtype=torch.float64)
    ycc = torch.einsum("ij,bjhw->bihw", to_ycc, images * 255)
    found = []
    for channel, table in ((0, 0), (1, 1), (2, 1)):
        plane = ycc[:, channel : channel + 1] - (128 if channel == 0 else 0)
        if channel:
            plane = (plane[..., ::2, ::2] + plane[..., 1::2, ::2] + plane[..., ::2, 1::2] + plane[..., 1::2, 1::2]) / 4
        steps = torch.tensor(jpeg._tables(quality)[table], dtype=torch.float64)
        cosines = torch.tensor(
            [
                [(0.5 if u else 8**-0.5) * torch.cos(torch.tensor((2 * x + 1) * u * torch.pi / 16)) for x in range(8)]
                for u in range(8)
            ],
            dtype=torch.float64,
        )
        done = torch.empty_like(plane)
        for row in range(0, plane.shape[2], 8):
            for column in range(0, plane.shape[3], 8):
                block = plane[0, 0, row : row + 8, column : column + 8]
                kept = ((cosines @ block @ cosines.T) / steps).round() * steps
                done[0, 0, row : row + 8, column : column + 8] = cosines.T @ kept @ cosines
        found.append(done.repeat_interleave(2, 2).repeat_interleave(2, 3) if channel else done + 128)
    return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_ycc), torch.cat(found, 1)) / 255


def test_the_plain_jpeg_is_nearly_pillow_s(images: Tensor) -> None:
    """So the test above is about JPEG: within few grey levels where colours are weak, as they are doubled otherwise."""
    image = images[:1, :, :16, :8].repeat(1, 1, 1, 2)
    image = image.mean(1, keepdim=True) + 0.1 * (image - image.mean(1, keepdim=True))
    (stage,) = Stages((parse_one("jpeg"),)).values()
    difference = (plain_jpeg(image.double(), 75).clamp(0, 1) - stage(image).double()).abs() * 255
    assert float(difference.mean()) < 3


@pytest.mark.parametrize("where", ["defence", "network"])
def test_what_runs_again_for_the_backward_pass_is_the_same(net: Any, images: Tensor, where: str) -> None:
    """Noisy copies are embedded twice under a gradient: the same sample, and stages passed straight both times."""
    from robustreid.models.stages import Adaptive as Settings

    def direct(leaf: Tensor) -> Tensor:
        from robustreid.models.defences.draws import content, keys, normal, split

        own = keys(content(leaf), "smoothing", 0)
        copies = [leaf + 0.2 * normal(split(own, copy), leaf.shape[1:]) for copy in range(3)]
        if where == "defence":
            (stage,) = Stages((parse_one("bit-depth"),)).values()
            copies = [each + (stage(each) - each).detach() for each in copies]
        plain = net()
        if where == "network":
            plain = followed(plain, Settings(bpda=("1",)))
        return torch.stack([plain(each) for each in copies]).mean(0)

    if where == "defence":
        model = followed(net([SMALL_SMOOTHING, "bit-depth"]), AUTO)
    else:
        model = followed(net(SMALL_SMOOTHING), Adaptive(bpda=("1",)))
    for index in (0, 2):
        with sampled(index):
            leaf = images.clone().requires_grad_()
            total = model(leaf).square().sum()
            wanted = gradient(direct, images)
        (found,) = torch.autograd.grad(total, leaf)  # outside: the sample is that of the forward
        assert torch.allclose(found, wanted, atol=1e-7)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_says_what_its_defences_ask_for(net: Any) -> None:
    """Stages by name, a number where one stands twice; samples of the one that needs most."""
    model = net(["jpeg", "blur", "jpeg", "resize-pad"])
    assert declared_behind(model).stages == ("jpeg", "jpeg-2")
    assert declared_behind(model).samples == 20
    assert declared_behind(net("smoothing")).samples == 1
    assert declared_behind(net({"name": "smoothing", "copies": 8})).samples == 3
    assert declared_behind(net("blur")).samples == declared_behind(net()).samples == 1
    named = followed(model, Adaptive(bpda=("jpeg-2",)))
    assert isinstance(named, StraightThrough)
    assert isinstance(followed(net("blur"), AUTO), PixelEmbedder)
    assert not isinstance(followed(net("blur"), AUTO), StraightThrough)
