"""Gradients go straight through stages, and nothing else about a model changes."""

from __future__ import annotations

import pytest
import torch
from robustreid import UserError
from robustreid.models.base import ModelSpec
from robustreid.models.defences.parameters import EOT_SAMPLES
from robustreid.models.pixels import PixelEmbedder
from robustreid.models.stages import AUTO, OFF, Adaptive, StraightThrough, declared, followed
from torch import Tensor, nn


class Steps(nn.Module):
    """Rounds to two bits; cuts the graph and insists on an input without one."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.from_numpy((images.numpy() * 3).round() / 3)


class Net(nn.Module):
    """Rounding between two linear layers of pixels."""

    bpda_stages = ("steps",)

    def __init__(self, stage: nn.Module | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.steps = stage or Steps()
        self.head = nn.Linear(3 * 4 * 2, 5)
        for parameter in self.head.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.head(self.steps(images).flatten(1))
        return found


def behind_pixels(network: nn.Module) -> PixelEmbedder:
    return PixelEmbedder(network, ModelSpec(label="net", architecture="plugin", metric="euclidean"))


@pytest.fixture
def images() -> Tensor:
    """Three small images."""
    return torch.rand(3, 3, 4, 2, generator=torch.Generator().manual_seed(1))


def gradient(model: nn.Module, images: Tensor) -> Tensor:
    leaf = images.clone().requires_grad_()
    return torch.autograd.grad(model(leaf).sum(), leaf)[0]


def test_forward_is_the_stage_and_backward_the_identity(images: Tensor) -> None:
    """The features are those of the model bit for bit; the gradient is that of the model without its stage."""
    model = behind_pixels(Net())
    other = followed(model, AUTO)
    assert isinstance(other, StraightThrough)
    assert torch.equal(other(images.clone().requires_grad_()), model(images))
    with torch.no_grad():
        assert torch.equal(other(images), model(images))
    assert torch.equal(gradient(other, images), gradient(behind_pixels(Net(nn.Identity())), images))


def test_a_wrong_twin_would_be_seen(images: Tensor) -> None:
    """Backward as identity with forward as identity too: the gradient is right, and the features are not."""
    wrong = behind_pixels(Net(nn.Identity()))
    assert torch.equal(gradient(wrong, images), gradient(followed(behind_pixels(Net()), AUTO), images))
    assert not torch.equal(wrong(images), behind_pixels(Net())(images))


def test_the_model_that_is_scored_is_left_alone(images: Tensor) -> None:
    """No hook stays behind, not even after a stage that raises."""
    network = Net()
    model = behind_pixels(network)
    gradient(followed(model, AUTO), images)
    with pytest.raises(RuntimeError):
        followed(model, AUTO)(images[:, :, :2])
    assert not network.steps._forward_hooks
    assert not network.steps._forward_pre_hooks
    with pytest.raises(RuntimeError):
        model(images.clone().requires_grad_())  # it still insists on an input without a graph


@pytest.mark.parametrize("adaptive", [OFF, Adaptive(bpda=())])
def test_off_follows_the_model_itself(adaptive: Adaptive) -> None:
    """An adversary who looks for nothing gets the model."""
    model = behind_pixels(Net())
    assert followed(model, adaptive) is model
    assert followed(behind_pixels(nn.Flatten()), AUTO).network is not None


def test_what_modules_declare_is_found_wherever_they_are() -> None:
    """Names are those of the network; one random module makes a model random."""
    random = nn.Identity()
    random.is_random = True  # type: ignore[assignment]
    network = nn.Sequential(nn.Sequential(Net()), random)
    assert declared(network).stages == ("0.0.steps",)
    assert declared(network).samples == EOT_SAMPLES
    assert declared(Net()).samples == 1
    assert declared(lambda images: images) == declared(nn.Flatten())


def test_unknown_stages_are_refused_with_the_nearest_name() -> None:
    """In a grid as in an attribute; the network itself is no stage."""
    for name in ("step", ""):
        with pytest.raises(UserError, match="has no stage"):
            followed(behind_pixels(Net()), Adaptive(bpda=(name,)))
    with pytest.raises(UserError, match="Did you mean 'steps'"):
        followed(behind_pixels(Net()), Adaptive(bpda=("step",)))
    network = Net()
    network.bpda_stages = ("jpeg",)
    with pytest.raises(UserError, match="'jpeg'"):
        followed(behind_pixels(network), AUTO)


def test_a_stage_that_changes_the_shape_says_so(images: Tensor) -> None:
    """The identity has no meaning there."""
    with pytest.raises(ValueError, match=r"'steps' gives \(3, 24\)"):
        followed(behind_pixels(Net(nn.Flatten())), AUTO)(images)


def test_samples_and_parameters_say_who_decided() -> None:
    """The attack's own number first, then the grid's, then the model's; what the model decides is in no id."""
    assert (AUTO.samples(1, 20), AUTO.samples(5, 20), OFF.samples(1, 20)) == (20, 5, 1)
    assert Adaptive(eot=3).samples(1, 20) == 3
    assert Adaptive(eot=3).samples(7, 20) == 7
    assert AUTO.parameters() == {}
    assert AUTO.is_neutral
    assert OFF.parameters() == {"adaptive": "off"}
    assert Adaptive(bpda=("a", "b"), eot=2).parameters() == {"bpda": "a+b", "adaptive_eot": 2}
