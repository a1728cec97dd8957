"""OSNet and ResNet-50: parameter counts from the literature, and OSNet against its exported twin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime
import pytest
import torch
from onnx import load, numpy_helper
from robustreid.models.architectures.osnet import OSNet, osnet_x0_25, osnet_x1_0
from robustreid.models.architectures.resnet import resnet50
from robustreid.models.catalogue import ARCHITECTURES, INPUT_SIZES

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


def test_resnet_trunk_counts_as_published() -> None:
    """The trunk has torchvision's 25,557,032 parameters less its classifier of 2,049,000."""
    assert count(resnet50(), without="bottleneck") == 25_557_032 - 2_049_000 == 23_508_032


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
