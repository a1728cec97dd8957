"""The convolutional networks: counts and names from the literature, OSNet against its exported twin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime
import pytest
import torch
from onnx import load, numpy_helper
from robustreid.models.architectures import resnet
from robustreid.models.architectures.densenet import DenseNet121, densenet121
from robustreid.models.architectures.osnet import OSNet, osnet_x0_25, osnet_x1_0
from robustreid.models.architectures.resnet import resnet50, resnext50_32x4d
from robustreid.models.catalogue import ARCHITECTURES, INPUT_SIZES
from torch.nn import functional as F

if TYPE_CHECKING:
    from pathlib import Path


def count(network: torch.nn.Module, *, without: str = "\0") -> int:
    return sum(tensor.numel() for name, tensor in network.named_parameters() if not name.startswith(without))


def module_path(node_name: str) -> str:
    """`conv2.0.conv2b.1.conv2` of `/conv2/conv2.0/conv2b/conv2b.1/conv2/Conv`: an item's name repeats its list's."""
    parts: list[str] = []
    for part in node_name.split("/")[1:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    return ".".join(parts)


def fill(network: OSNet, path: Path) -> None:
    """Give every convolution the folded weight of the program's, in the place of a batch norm an identity plus bias."""
    graph = load(path).graph
    tensors = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    state = network.state_dict()
    for name in state:
        if name.endswith("running_var"):
            state[name] = torch.full_like(state[name], 1 - 1e-5)
    for node in graph.node:
        if node.op_type != "Conv" or "gate" in node.name:
            continue
        place = module_path(node.name)
        state[f"{place}.weight"] = tensors[node.input[1]]
        if len(node.input) == 3:
            state[f"{place.rpartition('.')[0]}.bn.bias"] = tensors[node.input[2]]
    # Heads and gates keep their names in the file.
    state |= {name: tensor for name, tensor in tensors.items() if name in state and (".gate." in name or "fc" in name)}
    network.load_state_dict(state)


def test_osnet_equals_the_exported_program(real_data: Path) -> None:
    """Our x0.25 with the weights of the exported one gives onnxruntime's features."""
    path = real_data / "weights" / "osnet_x0_25_msmt17.onnx"
    network = osnet_x0_25().eval()
    fill(network, path)
    images = torch.randn(2, 3, 256, 128, generator=torch.Generator().manual_seed(0))
    expected = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
        None, {"images": images.numpy()}
    )
    with torch.no_grad():
        found = network(images)
    torch.testing.assert_close(found, torch.from_numpy(expected[0]), atol=1e-4, rtol=1e-5)
    with torch.no_grad():
        network.get_parameter("conv3.0.gate.fc2.bias").add_(0.1)
        assert (network(images) - found).abs().max() > 1e-3


def test_osnet_counts_as_published() -> None:
    """Torchreid prints 2,193,616 for x1.0; its counter meets each shared gate once for every scale, four times."""
    network = osnet_x1_0()
    gates = sum(tensor.numel() for name, tensor in network.named_parameters() if ".gate." in name)
    assert count(network) + 3 * gates == 2_193_616


def trunk(network: torch.nn.Module) -> int:
    """Parameters but those of the head."""
    return count(network, without="bottleneck")


def test_trunks_count_as_published() -> None:
    """Each trunk has the parameters that torchvision prints less those of its classifier of 1000 classes."""
    assert trunk(resnet50()) == 25_557_032 - 2_049_000 == 23_508_032
    assert trunk(resnext50_32x4d()) == 25_028_904 - 2_049_000
    assert trunk(densenet121()) == 7_978_856 - 1_025_000


@pytest.mark.parametrize(("groups", "group_width"), [(32, 8), (32, 2), (4, 32), (1, 128)])
def test_planted_wrong_groups_are_rejected(groups: int, group_width: int) -> None:
    """Another width or number of groups is another count."""
    assert trunk(resnet.ResNet(groups=groups, group_width=group_width)) != 25_028_904 - 2_049_000


def test_resnext_differs_from_resnet_in_its_blocks_alone() -> None:
    """Names are those of ResNet-50; a 3x3 convolution has 32 groups, of 4 channels in the first stage."""
    network = resnext50_32x4d()
    assert network.state_dict().keys() == resnet50().state_dict().keys()
    shapes = [tuple(network.get_parameter(f"layer{stage}.0.conv2.weight").shape) for stage in (1, 2, 3, 4)]
    assert shapes == [(128, 4, 3, 3), (256, 8, 3, 3), (512, 16, 3, 3), (1024, 32, 3, 3)]
    convolutions = [module for name, module in network.named_modules() if name.endswith("conv2")]
    assert {vars(module)["groups"] for module in convolutions} == {32}
    assert len(convolutions) == 16


def plain_densenet(state: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Features from a state dict with torchvision's names, step by step as its paper's table 1 lists them."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, variance, weight, bias = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, weight, bias)

    x = F.conv2d(images, state["features.conv0.weight"], stride=2, padding=3)
    x = F.max_pool2d(norm(x, "features.norm0").relu(), 3, 2, 1)
    for block, n_layers in enumerate((6, 12, 24, 16), 1):
        parts = [x]
        for layer in range(1, n_layers + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            inner = F.conv2d(norm(torch.cat(parts, 1), f"{name}.norm1").relu(), state[f"{name}.conv1.weight"])
            parts.append(F.conv2d(norm(inner, f"{name}.norm2").relu(), state[f"{name}.conv2.weight"], padding=1))
        x, name = torch.cat(parts, 1), f"features.transition{block}"
        if block < 4:
            x = F.avg_pool2d(F.conv2d(norm(x, f"{name}.norm").relu(), state[f"{name}.conv.weight"]), 2)
    return norm(norm(x, "features.norm5").mean((2, 3)), "bottleneck")


def test_densenet_equals_a_plain_reference() -> None:
    """Features are those of the table walked by hand; with a rectifier left out they are not."""
    network = trained(densenet121())
    images = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = plain_densenet(network.state_dict(), images)
        torch.testing.assert_close(network(images), expected, atol=1e-4, rtol=1e-4)
        network.get_submodule("features.denseblock2.denselayer5").register_module("relu1", torch.nn.Identity())
        assert (network(images) - expected).abs().max() > 1e-2


def trained(network: DenseNet121) -> DenseNet121:
    """The network in evaluation mode with batch norms that do something."""
    torch.manual_seed(0)
    for name, tensor in network.state_dict().items():
        if "norm" in name or "bottleneck" in name:
            low = {"weight": 0.5, "running_var": 0.5, "bias": -0.2, "running_mean": -0.2}.get(name.rpartition(".")[2])
            if low is not None:
                tensor.uniform_(low, low + 1)
    return network.eval()


def test_densenet_has_torchvisions_names() -> None:
    """Names as in the state dicts that torchvision saves today."""
    names = {"conv0.weight", "norm0.bias", "denseblock1.denselayer1.norm1.weight", "norm5.running_var"}
    names |= {"denseblock4.denselayer16.conv2.weight", "transition3.conv.weight", "transition1.norm.running_mean"}
    found = densenet121().state_dict().keys()
    assert {f"features.{name}" for name in names} | {"bottleneck.weight"} <= found
    assert len(found) == 725 + 5


def test_resnet_has_torchvisions_names_and_stride() -> None:
    """Names as in torchvision's state dicts; the stride stands in the 3x3 convolution."""
    network = resnet50()
    names = {
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.downsample.0.weight",
        "layer4.2.bn3.bias",
        "bottleneck.weight",
    }
    assert names <= network.state_dict().keys()
    strides = [vars(network.get_submodule(f"layer2.0.conv{place}"))["stride"] for place in (1, 2)]
    assert strides == [(1, 1), (2, 2)]


def test_osnet_has_torchreids_names() -> None:
    """Names as in torchreid's state dicts."""
    names = {"conv1.conv.weight", "conv2.0.conv1.bn.bias", "conv2.0.conv2a.conv1.weight", "conv2.0.conv2d.3.bn.weight"}
    names |= {"conv2.0.gate.fc1.bias", "conv2.0.downsample.conv.weight", "conv2.2.0.bn.weight", "conv5.bn.weight"}
    assert names | {"fc.0.weight", "fc.1.running_var"} <= osnet_x0_25().state_dict().keys()


@pytest.mark.parametrize("name", list(ARCHITECTURES.table))
def test_every_architecture_embeds(name: str) -> None:
    """Each name loads, gives features of the width it says, and its size is the catalogue's."""
    network = ARCHITECTURES.load(name)().eval()
    with torch.no_grad():
        features = network(torch.zeros(2, 3, 64, 32))
    assert features.shape == (2, network.feature_dim)
    assert INPUT_SIZES[name] == network.input_size
