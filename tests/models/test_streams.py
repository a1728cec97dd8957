"""An embedder with a stream for each modality: folded, doubled, twinned and followed stream by stream."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from robustreid.models.architectures.tinynet import tinynet
from robustreid.models.architectures.two_stream import AGWTiny, agw_tiny
from robustreid.models.base import MODALITIES, NORMALISATIONS, ModelSpec
from robustreid.models.defences.catalogue import parse
from robustreid.models.engine import embedder
from robustreid.models.load import build, resolve
from robustreid.models.pixels import PixelEmbedder
from robustreid.models.precision import twin
from robustreid.models.stages import Adaptive, StraightThrough, followed
from robustreid.models.streams import TwoStreamEmbedder
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

SPEC = ModelSpec(
    label="m", architecture="agw_tiny", input_size=(128, 64), normalise=NORMALISATIONS["imagenet"], folding=True
)


@pytest.fixture(scope="module")
def network() -> AGWTiny:
    """With batch norms that do something, in evaluation mode."""
    torch.manual_seed(0)
    found = agw_tiny()
    for module in found.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for name, low in (("running_mean", -0.2), ("running_var", 0.5), ("weight", 0.4), ("bias", -0.2)):
                getattr(module, name).data.uniform_(low, low + 0.5)
    return found.eval()


@pytest.fixture(scope="module")
def model(network: AGWTiny) -> PixelEmbedder:
    return embedder(network, SPEC)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 96, 48, generator=torch.Generator().manual_seed(1))


def n_norms(network: object) -> int:
    assert isinstance(network, nn.Module)
    return sum(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in network.modules())


def features(model: PixelEmbedder, images: Tensor) -> list[Tensor]:
    """Of each stream."""
    with torch.no_grad():
        return [model.of(modality)(images) for modality in MODALITIES]


def test_folding_agrees_stream_by_stream(network: AGWTiny, model: PixelEmbedder, images: Tensor) -> None:
    """Each stream is folded by itself and gives the features of the network as it was written; they differ."""
    plain = embedder(network, replace(SPEC, folding=False))
    visible, infrared = features(model, images)
    for wanted, found in zip(features(plain, images), (visible, infrared), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert (visible - infrared).abs().max() > 1e-3
    # What is left is the batch norm of the stem that a stream never runs.
    assert [n_norms(each.of(modality)) for each in (plain, model) for modality in MODALITIES] == [13, 13, 1, 1]
    assert {model.of(modality).layout for modality in MODALITIES} == {torch.channels_last}
    mixed = F.normalize(network(plain.inputs(images), torch.tensor([0, 1, 0])), dim=1)
    torch.testing.assert_close(mixed, torch.stack([visible[0], infrared[1], visible[2]]), atol=1e-5, rtol=1e-4)


def test_without_of_images_are_visible(model: PixelEmbedder, images: Tensor) -> None:
    """So does what knows nothing of modalities, such as an inspection."""
    visible, _ = features(model, images)
    assert model.has_streams
    with torch.no_grad():
        assert torch.equal(model(images), visible)
        assert torch.equal(model.embed(images), visible)


def test_an_ordinary_model_is_its_own_stream(images: Tensor) -> None:
    """`of` is the very same object, and nothing about it is new."""
    model = embedder(tinynet(), SPEC)
    assert not model.has_streams
    assert all(model.of(modality) is model for modality in MODALITIES)
    assert type(model) is PixelEmbedder
    assert twin(model, "float32")[0] is model
    del images


def test_copies_keep_their_streams(model: PixelEmbedder, images: Tensor) -> None:
    """In float64 and in a copy, each of them still differs from the other as before."""
    double = copy.deepcopy(model).double().to("cpu")
    for wanted, found in zip(features(model, images), features(double, images.double()), strict=True):
        assert found.dtype == torch.float64
        torch.testing.assert_close(found.float(), wanted, atol=1e-4, rtol=1e-3)


def test_a_twin_has_streams(model: PixelEmbedder, images: Tensor) -> None:
    """In bf16 each stream is nearly what it is in float32, and none is the other one's."""
    found, arithmetic = twin(model, "bf16")
    assert arithmetic == "bf16"
    assert isinstance(found, TwoStreamEmbedder)
    assert all(found.of(modality).dtype == torch.bfloat16 for modality in MODALITIES)
    visible, infrared = features(model, images)
    near = [F.cosine_similarity(a, b).min() for a, b in zip(features(found, images), (visible, infrared), strict=True)]
    assert min(near) > 0.99
    assert F.cosine_similarity(visible, infrared).max() < min(near)
    assert twin(model, "tf32") == (model, "tf32")


def test_stages_are_passed_in_each_stream(network: AGWTiny, images: Tensor) -> None:
    """A defence stands before both; an adversary who knows it goes straight through in both."""
    spec = replace(SPEC, defence=parse("bit-depth"))
    defended = embedder(network, spec)
    follower = followed(defended, Adaptive())
    assert isinstance(follower, TwoStreamEmbedder)
    assert all(isinstance(follower.of(modality), StraightThrough) for modality in MODALITIES)
    for wanted, found in zip(features(defended, images), features(follower, images), strict=True):
        assert torch.equal(wanted, found)
    leaf = images.clone().requires_grad_()
    for modality in MODALITIES:
        (gradient,) = torch.autograd.grad(follower.of(modality)(leaf)[:, 0].sum(), leaf)
        assert gradient.abs().max() > 0
    assert followed(defended, Adaptive(bpda=())) is defended


def test_a_weights_file_is_built_with_streams(network: AGWTiny, tmp_path: object) -> None:
    """By its architecture's name, with its own input size."""
    path = f"{tmp_path}/w.safetensors"
    save_file(network.state_dict(), path)
    spec = resolve(label="m", architecture="agw_tiny", weights=path)
    model = build(spec)
    assert (model.has_streams, spec.input_size) == (True, (128, 64))
    images = torch.rand(2, 3, 128, 64, generator=torch.Generator().manual_seed(1))
    for wanted, found in zip(features(embedder(network, SPEC), images), features(model, images), strict=True):
        assert torch.equal(wanted, found)
