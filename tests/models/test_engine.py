"""A network in its fastest form gives the features of the network as it was written, or is not changed."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from robustreid.models import engine
from robustreid.models.architectures.densenet import densenet121
from robustreid.models.architectures.osnet import osnet_x0_25
from robustreid.models.architectures.resnet import resnet50, resnext50_32x4d
from robustreid.models.architectures.tinynet import tinynet
from robustreid.models.architectures.vit import vit_s16
from robustreid.models.base import ModelSpec
from robustreid.models.engine import TOLERANCE, embedder, fold
from robustreid.models.pixels import PixelEmbedder
from torch import Tensor, nn

SPEC = ModelSpec(label="m", architecture="test", input_size=(16, 8))


def trained(network: Any) -> nn.Module:
    """The network with batch norms whose statistics are not 0 and 1, in evaluation mode."""
    source = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            size = module.weight.shape
            for name, low in (("running_mean", -0.2), ("running_var", 0.5), ("weight", 0.5), ("bias", -0.2)):
                getattr(module, name).data.copy_(low + torch.rand(size, generator=source))
    found: nn.Module = network.eval()
    return found


def n_norms(network: object) -> int:
    """How many batch norms are left."""
    assert isinstance(network, nn.Module)
    return sum(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in network.modules())


def gradient(model: PixelEmbedder, images: Tensor) -> Tensor:
    """Of the first number of each feature."""
    leaf = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
    return found


class Chain(nn.Module):
    """A convolution and a batch norm, in one of several relations."""

    def __init__(self, relation: str) -> None:
        super().__init__()
        self.relation = relation
        self.conv, self.other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        made = {
            "plain": lambda: self.bn(y),
            "with a view": lambda: self.bn(y).view(len(x), -1),
            "of another value": lambda: self.bn(y.relu()),
            "twice": lambda: self.bn(y) + self.conv(x.flip(3)),
            "of two layers": lambda: self.bn(y) + self.bn(self.other(x)),
            "beside its input": lambda: self.bn(y) + y,
            "of noise": lambda: self.bn(y + 0.1 * torch.randn_like(y)),
        }
        result: Tensor = made[self.relation]().flatten(1)
        return result


@pytest.mark.parametrize(("build", "size", "left"), [(osnet_x0_25, (256, 128), 0), (tinynet, (128, 64), 0)])
def test_an_architecture_keeps_its_features_and_gradients(build: Any, size: tuple[int, int], left: int) -> None:
    """Batch norms are gone, memory lies channels last, and features and gradients are those of the plain network.

    A rectifier that rounding tips over changes a gradient by its whole share, so float32 gradients agree to a percent.
    """
    torch.manual_seed(0)
    network = trained(build())
    spec = replace(SPEC, input_size=size)
    plain = embedder(copy.deepcopy(network), replace(spec, folding=False))
    tuned = embedder(network, spec)
    assert n_norms(plain) > 10
    assert (n_norms(tuned), tuned.layout, plain.layout) == (left, torch.channels_last, torch.contiguous_format)
    images = torch.rand(4, 3, 128, 64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(plain(images), tuned(images), atol=1e-5)
    wanted, found = gradient(plain, images), gradient(tuned, images)
    assert (wanted - found).norm() < 0.02 * wanted.norm()


@pytest.mark.parametrize(
    ("build", "left"), [(resnet50, 1), (resnext50_32x4d, 1), (vit_s16, 1), (densenet121, 58 + 3 + 1 + 1)]
)
def test_a_norm_that_follows_no_layer_stays(build: Any, left: int) -> None:
    """The head's follows a mean or a token, and DenseNet's 62 follow channels put together; all others are folded.

    Features are those of the plain network.
    """
    network = trained(build())
    spec = replace(SPEC, input_size=(64, 32))
    plain, tuned = embedder(network, replace(spec, folding=False)), embedder(network, spec)
    assert [type(module) for module in tuned.modules() if n_norms(module) == 1][-1] is nn.BatchNorm1d
    assert n_norms(tuned) == left
    assert tuned.network is not network
    images = torch.rand(2, 3, 128, 64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(plain(images), tuned(images), atol=1e-5)


def test_one_norm_one_layer_is_folded() -> None:
    """The precondition of the next test: the plain relation is folded, and the network that came is as it was."""
    network = trained(Chain("plain"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tuned = embedder(network, SPEC)
    assert n_norms(tuned) == 0
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("relation", ["of another value", "twice", "of two layers", "beside its input", "of noise"])
def test_what_cannot_be_folded_is_left(relation: str) -> None:
    """A norm of something else, or a layer that somebody else needs as it is, keeps its numbers."""
    network = trained(Chain(relation))
    plain = PixelEmbedder(copy.deepcopy(network), SPEC)
    tuned = embedder(network, SPEC)
    assert n_norms(tuned) == 1
    images = torch.rand(2, 3, 16, 8)
    torch.manual_seed(0)
    wanted = plain(images)
    torch.manual_seed(0)
    assert torch.allclose(tuned(images), wanted, atol=1e-6)


def test_a_network_that_needs_the_default_layout_keeps_it() -> None:
    """`view` does not take channels last: folded all the same, in the default layout."""
    tuned = embedder(trained(Chain("with a view")), SPEC)
    assert (n_norms(tuned), tuned.layout) == (0, torch.contiguous_format)
    assert tuned.get_parameter("network.conv.weight").is_contiguous()
    assert tuned(torch.rand(3, 3, 16, 8)).shape == (3, 4 * 14 * 6)


def test_a_wrong_fold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: batch norms dropped instead of folded; the network stays as it was written."""
    monkeypatch.setattr(engine, "_fused", lambda layer, norm: layer)
    network = trained(Chain("plain"))
    assert n_norms(fold(network, lambda: network(torch.rand(2, 3, 16, 8)))) == 0
    assert n_norms(embedder(network, SPEC)) == 1


def test_without_folding_nothing_is_touched() -> None:
    """One switch: the very network, in the default layout."""
    network = trained(Chain("plain"))
    found = embedder(network, replace(SPEC, folding=False))
    assert found.network is network
    assert (n_norms(found), found.layout) == (1, torch.contiguous_format)


def test_the_random_state_is_left_alone() -> None:
    """A network that draws numbers is tried without moving the user's stream."""
    network = trained(Chain("of noise"))
    before = torch.get_rng_state()
    embedder(network, SPEC)
    assert torch.equal(before, torch.get_rng_state())


def test_a_network_that_fails_is_handed_on_as_it_is() -> None:
    """What it says to the user's own images is the message that counts."""
    found = embedder(nn.Linear(7, 2), SPEC)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        found(torch.rand(1, 3, 16, 8))


def test_features_of_the_embedded_weights_move_by_a_last_bit() -> None:
    """The real shipped model: folded and plain agree far better than the tolerance."""
    from robustreid.models.load import build, resolve
    from robustreid.models.zoo import find

    entry, weights = find("tiny")
    spec = resolve(label="tiny", architecture=entry.architecture, weights=weights, normalise=entry.normalise)
    images = torch.rand(4, 3, 128, 64, generator=torch.Generator().manual_seed(1))
    gap = (build(spec)(images) - build(replace(spec, folding=False))(images)).abs().max()
    assert 0 < gap < TOLERANCE / 10


class Rectified(nn.Module):
    """Two rectifiers, of which the second overwrites what another needs."""

    def __init__(self, *, shared: bool) -> None:
        super().__init__()
        self.conv, self.bn, self.relu, self.shared = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), shared

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x))
        z: Tensor = self.relu(y)
        return (z + y if self.shared else z).flatten(1)


@pytest.mark.parametrize("shared", [False, True])
def test_rectifiers_work_in_place_where_nobody_minds(shared: bool) -> None:
    """Where the input is needed once more, overwriting it would be a bug: it is seen and left."""
    network = trained(Rectified(shared=shared))
    plain = PixelEmbedder(copy.deepcopy(network), SPEC)
    tuned = embedder(network, SPEC)
    assert [module.inplace for module in tuned.modules() if isinstance(module, nn.ReLU)] == [not shared]
    images = torch.rand(3, 3, 16, 8)
    assert torch.allclose(plain(images), tuned(images), atol=1e-6)
    assert torch.allclose(gradient(plain, images), gradient(tuned, images), atol=1e-6)
