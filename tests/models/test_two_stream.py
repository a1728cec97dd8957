"""Networks with a stream for each modality: names and features of the public AGW, one trunk, two stems."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest
import torch
from robustreid.models.architectures.two_stream import AGWResNet50, AGWTiny, TwoStream, agw_resnet50, agw_tiny
from robustreid.models.base import MODALITIES
from robustreid.models.weights.files import load_safetensors
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from pathlib import Path

    from robustreid.models.base import Modality

N = TypeVar("N", bound=TwoStream)

#: Visible and infrared images in one batch, in no order.
MIXED = torch.tensor([1, 0, 0, 1, 0])


def lived(network: N) -> N:
    """The network in evaluation mode, with batch norms that do something and numbers that stay small."""
    source = torch.Generator().manual_seed(5)
    for name, tensor in network.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            low, high = {"running_var": (0.5, 1.5), "weight": (0.4, 0.9)}.get(name.rpartition(".")[2], (-0.2, 0.2))
            tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=source))
            if name.endswith("W.1.running_var"):  # what comes there is a product of three
                tensor.mul_(100)
    network.eval()
    return network


def images_of(size: tuple[int, int] = (64, 32)) -> Tensor:
    """Normalised images, as many as `MIXED` has."""
    return torch.randn(len(MIXED), 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def resnet() -> AGWResNet50:
    torch.manual_seed(0)
    return lived(agw_resnet50())


@pytest.fixture(scope="module")
def tiny() -> AGWTiny:
    torch.manual_seed(0)
    return lived(agw_tiny())


def plain_agw(state: dict[str, Tensor], images: Tensor, kind: str) -> Tensor:
    """Features from a state dict with the public code's names, step by step as that code goes."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, weight, bias)

    def block(x: Tensor, name: str, stride: int) -> Tensor:
        y = norm(F.conv2d(x, state[f"{name}.conv1.weight"]), f"{name}.bn1").relu()
        y = norm(F.conv2d(y, state[f"{name}.conv2.weight"], stride=stride, padding=1), f"{name}.bn2").relu()
        y = norm(F.conv2d(y, state[f"{name}.conv3.weight"]), f"{name}.bn3")
        if f"{name}.downsample.0.weight" in state:
            x = norm(F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
        return (x + y).relu()

    def non_local(x: Tensor, name: str) -> Tensor:
        flat = x.flatten(2)
        g, theta, phi = (
            F.conv1d(flat, state[f"{name}.{part}.weight"].flatten(2), state[f"{name}.{part}.bias"]).transpose(1, 2)
            for part in ("g.0", "theta", "phi")
        )
        pairs = theta @ phi.transpose(1, 2) / flat.shape[2]
        y = (pairs @ g).transpose(1, 2).reshape(len(x), 1, *x.shape[2:])
        return x + norm(F.conv2d(y, state[f"{name}.W.0.weight"], state[f"{name}.W.0.bias"]), f"{name}.W.1")

    stem = f"{kind}_module.{kind}"
    x = norm(F.conv2d(images, state[f"{stem}.conv1.weight"], stride=2, padding=3), f"{stem}.bn1").relu()
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, n_blocks, n_others in ((1, 3, 0), (2, 4, 2), (3, 6, 3), (4, 3, 0)):
        for place in range(n_blocks):
            stride = 2 if place == 0 and stage in {2, 3} else 1
            x = block(x, f"base_resnet.base.layer{stage}.{place}", stride)
            if place >= n_blocks - n_others:
                x = non_local(x, f"NL_{stage}.{place - n_blocks + n_others}")
    return norm((x.flatten(2).pow(3.0).mean(2) + 1e-12).pow(1 / 3), "bottleneck")


def test_agw_equals_a_plain_reference(resnet: AGWResNet50) -> None:
    """Features are those of the public code's steps, for both streams; in the wrong stream they are not."""
    images, state = images_of(), resnet.state_dict()
    with torch.no_grad():
        for modality, kind, other in (("visible", "visible", "thermal"), ("infrared", "thermal", "visible")):
            found = resnet.stream(modality)(images)  # type: ignore[arg-type]
            torch.testing.assert_close(found, plain_agw(state, images, kind), atol=1e-4, rtol=1e-4)
            assert (found - plain_agw(state, images, other)).abs().max() > 1e-2
        without = {**state, "NL_3.1.W.1.weight": torch.zeros(1024), "NL_3.1.W.1.bias": torch.zeros(1024)}
        assert (found - plain_agw(without, images, "thermal")).abs().max() > 1e-3


def test_a_public_checkpoint_loads(resnet: AGWResNet50, tmp_path: Path) -> None:
    """One that has a classifier, and in each of its three ResNets the parts that are never run."""
    state = dict(resnet.state_dict())
    public = {
        **{name: value.clone() for name, value in state.items()},
        "classifier.weight": torch.ones(395, 2048),
        "visible_module.visible.layer1.0.conv1.weight": torch.ones(64, 64, 1, 1),
        "thermal_module.thermal.layer4.2.bn3.running_mean": torch.ones(2048),
        "base_resnet.base.conv1.weight": torch.ones(64, 3, 7, 7),
        "base_resnet.base.bn1.running_var": torch.ones(64),
    }
    save_file(public, tmp_path / "agw.safetensors")
    torch.manual_seed(1)
    other = agw_resnet50()
    load_safetensors(other, tmp_path / "agw.safetensors")
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())


def test_agw_counts() -> None:
    """ResNet-50's trunk with a second stem, five non-local blocks, and the batch norm at the end."""
    with torch.device("meta"):
        network = AGWResNet50()
    n_stem = 64 * 3 * 49 + 2 * 64
    n_others = sum(n * (3 * (width + 1) + 2 * width + 2 * width) for n, width in ((2, 512), (3, 1024)))
    assert sum(each.numel() for each in network.parameters()) == 23_508_032 + n_stem + n_others + 2 * 2048


@pytest.mark.parametrize("build", [agw_tiny, agw_resnet50])
def test_it_starts_where_it_can_learn(build: type[TwoStream]) -> None:
    """Stems start alike, the last norm does not shift, and a non-local block gives back at first what it is given."""
    network = build()
    visible, infrared = (network.stem(modality).state_dict() for modality in MODALITIES)
    assert all(torch.equal(value, infrared[name]) for name, value in visible.items())
    assert all(value.data_ptr() != infrared[name].data_ptr() for name, value in visible.items())
    assert not network.bottleneck.bias.requires_grad
    assert not network.bottleneck.bias.any()
    lasts = [each[1] for name, each in network.named_modules() if name.endswith(".W")]
    assert lasts
    assert not any(each.weight.any() or each.bias.any() for each in lasts)


def check_streams(network: TwoStream) -> None:
    """What holds of a network with a stream for each modality."""
    images = images_of(network.input_size if isinstance(network, AGWTiny) else (64, 32))
    with torch.no_grad():
        streams = {modality: network.stream(modality)(images) for modality in MODALITIES}
        gap = (streams["visible"] - streams["infrared"]).abs().max()
        assert gap > 1e-4, "modalities make no difference"
        mixed = network(images, MIXED)
        for place, kind in enumerate(MIXED.tolist()):
            torch.testing.assert_close(mixed[place], streams[MODALITIES[kind]][place], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(network(images), streams["visible"], atol=1e-5, rtol=1e-4)
        swapped = network(images, 1 - MIXED)
    assert ((swapped - mixed).abs().amax(1) > 1e-4).all(), "an image passes the same in both modalities"


def test_a_mixed_batch_is_what_its_streams_are(tiny: AGWTiny, resnet: AGWResNet50) -> None:
    """Each image of a batch of both modalities has the feature that its own stream gives it alone, in its place."""
    check_streams(tiny)
    check_streams(resnet)


class _Ignores(AGWTiny):
    """The planted bug: everything is visible."""

    def stem(self, modality: Modality) -> nn.Module:
        del modality
        return super().stem("visible")


class _Unordered(AGWTiny):
    """The planted bug: features come in the order of the stems."""

    def forward(self, images: Tensor, modalities: Tensor | None = None) -> Tensor:
        found = super().forward(images, modalities)
        return found if modalities is None else found[modalities.argsort(stable=True)]


@pytest.mark.parametrize("wrong", [_Ignores, _Unordered])
def test_planted_bugs_are_caught(wrong: type[AGWTiny]) -> None:
    """A network that ignores the modality, and one that loses the order of the batch."""
    torch.manual_seed(0)
    with pytest.raises(AssertionError):
        check_streams(lived(wrong()))


def test_streams_share_the_trunk_and_have_their_own_stem(tiny: AGWTiny) -> None:
    """A loss over one stream reaches the whole trunk, and of the stems its own alone."""
    for modality, other in (MODALITIES, MODALITIES[::-1]):
        stream = tiny.stream(modality)
        own = {name: each for name, each in stream.named_parameters() if each.requires_grad}
        total = stream(images_of(tiny.input_size)).square().sum()
        reached: tuple[Tensor | None, ...] = torch.autograd.grad(total, list(own.values()), allow_unused=True)
        missed = {name for name, gradient in zip(own, reached, strict=True) if gradient is None}
        assert missed == {f"network.stems.{other}.{name}" for name in ("conv1.weight", "bn1.weight", "bn1.bias")}
        assert {id(each) for each in stream.parameters()} == {id(each) for each in tiny.parameters()}


def test_a_batch_of_one_modality_trains(tiny: AGWTiny) -> None:
    """Batch norms of the other stem see nothing, and keep what they knew."""
    network = agw_tiny()
    network.load_state_dict(tiny.state_dict())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()(images_of(tiny.input_size), torch.ones(len(MIXED), dtype=torch.int64))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name in changed if name.startswith("stems.")} == {
        f"stems.infrared.bn1.{part}" for part in ("running_mean", "running_var", "num_batches_tracked")
    }
