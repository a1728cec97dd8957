"""Transformers as torch exports them: features are onnxruntime's, gradients those of the module."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import helper, load
from robustreid import InvalidFileError
from robustreid.models.architectures.vit import ViT
from robustreid.models.program.network import OnnxNetwork
from robustreid.models.program.operators import OPERATORS
from robustreid.models.program.reader import read_program
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Pixels of the exported images.
SIZE = (64, 32)
#: Exporter and operator set; torch's new exporter needs a package of its own, and writes set 18 or later.
EXPORTS = [("torchscript", 17), ("torchscript", 20), ("dynamo", 18), ("dynamo", 20)]


class OurOwn(ViT):
    """Two blocks of the architecture that is written here."""

    def __init__(self) -> None:
        super().__init__(depth=2, input_size=SIZE)


class Layers(nn.Module):
    """A class token and `nn.TransformerEncoderLayer`, whose attention is the `nn.MultiheadAttention` of torchvision."""

    def __init__(self, *, norm_first: bool = True) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 48, 16, 16)
        self.token = nn.Parameter(torch.randn(1, 1, 48))
        self.places = nn.Parameter(torch.randn(1, 9, 48))
        layer = nn.TransformerEncoderLayer(48, 3, 96, activation="gelu", batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(48), enable_nested_tensor=False)

    def tokens(self, images: Tensor) -> Tensor:
        """What the encoder is fed, (B, 9, 48)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        return torch.cat((self.token.expand(tokens.shape[0], -1, -1), tokens), 1) + self.places

    def forward(self, images: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(self.tokens(images))
        return encoded[:, 0]


class PostNorm(Layers):
    """The order of the first transformer: normalised after the shortcut."""

    def __init__(self) -> None:
        super().__init__(norm_first=False)


class Masked(Layers):
    """`nn.MultiheadAttention` alone, with a mask and averaged weights."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(48, 3, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.tokens(images)
        mask = torch.ones(9, 9, dtype=torch.bool).triu(1)
        found, weights = self.attention(tokens, tokens, tokens, attn_mask=mask)
        return torch.cat((found.mean(1), weights.flatten(1)), 1)


class Functional(Layers):
    """The fused attention of `torch.nn.functional`, causal, and a token picked for each image by its number."""

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.tokens(images).reshape(images.shape[0], 9, 3, 16).transpose(1, 2)
        found = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True)
        found = found.transpose(1, 2).flatten(2)
        n_images = images.shape[0]
        return found[torch.arange(n_images), torch.full((n_images,), 5)]


class Summed(Layers):
    """Attention by Einstein's notation, around a token that is repeated instead of expanded."""

    def tokens(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        return torch.cat((self.token.repeat(tokens.shape[0], 1, 1), tokens), 1) + self.places

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.tokens(images).reshape(images.shape[0], 9, 3, 16)
        weights = torch.einsum("bihd,bjhd->bhij", tokens, tokens).softmax(-1)
        return torch.einsum("bhij,bjhd->bihd", weights, tokens).flatten(2).mean(1)


def made(kind: type[nn.Module]) -> nn.Module:
    """The network in evaluation mode, with norms that do something."""
    torch.manual_seed(0)
    network = kind().eval()
    for module in network.modules():
        if isinstance(module, nn.LayerNorm | nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.get_buffer("running_var"), 0.5, 1.5)
    return network


def export(network: nn.Module, path: Path, exporter: str, opset: int, *, n_images: int = 2, free: bool = True) -> Path:
    """The ONNX file that torch writes of a network, with a batch of any size where `free`."""
    images = torch.rand(n_images, 3, *SIZE)
    options: dict[str, Any] = {"input_names": ["images"], "opset_version": opset}
    if exporter == "dynamo":
        pytest.importorskip("onnxscript", reason="torch's new exporter needs onnxscript")
        options |= {"dynamo": True, "external_data": False, "verbose": False}
        options |= {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if free else {}
    else:
        options |= {"dynamo": False} | ({"dynamic_axes": {"images": {0: "batch"}}} if free else {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old exporter is deprecated, and warns of what it traces
        torch.onnx.export(network, (images,), path, **options)
    return path


def onnx_features(path: Path, images: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


def gaps(network: nn.Module, path: Path) -> tuple[float, float]:
    """How far features are from onnxruntime's, and gradients (as a share of their norm) from the module's."""
    program = OnnxNetwork(read_program(path))
    worst = 0.0
    for n_images in (1, 3):
        images = torch.rand(n_images, 3, *SIZE, generator=torch.Generator().manual_seed(n_images))
        found = program(images)
        expected = onnx_features(path, images)
        assert found.shape == expected.shape
        worst = max(worst, float((found - expected).abs().max()))
    gradients = []
    for each in (program, network):
        leaf = images.clone().requires_grad_()
        features = each(leaf)
        (features * torch.linspace(-1, 1, features.shape[1])).sum().backward()
        assert leaf.grad is not None
        gradients.append(leaf.grad)
    return worst, float((gradients[0] - gradients[1]).norm() / gradients[1].norm())


@pytest.mark.parametrize(("exporter", "opset"), EXPORTS)
@pytest.mark.parametrize("kind", [OurOwn, Layers, PostNorm, Masked, Functional, Summed])
def test_an_exported_transformer_runs(kind: type[nn.Module], exporter: str, opset: int, tmp_path: Path) -> None:
    """Features are onnxruntime's within 1e-4, for other batches than that of the export, and gradients the module's."""
    network = made(kind)
    features, gradient = gaps(network, export(network, tmp_path / "vit.onnx", exporter, opset))
    assert features < 1e-4
    assert gradient < 1e-4


@pytest.mark.parametrize(
    ("operator", "wrong"),
    [
        ("Gelu", lambda _node, value: nn.functional.gelu(value, approximate="tanh")),
        ("Softmax", lambda _node, value: value.softmax(-2)),
        ("LayerNormalization", lambda node, value, *others: value * others[0] + others[1]),
    ],
)
def test_planted_wrong_operators_are_rejected(
    operator: str, wrong: Callable[..., Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An approximate GELU, a softmax along the wrong axis and a norm that does nothing are caught, each alone."""
    network = made(OurOwn)
    path = export(network, tmp_path / "vit.onnx", "torchscript", 20)
    monkeypatch.setitem(OPERATORS, operator, wrong)
    features, gradient = gaps(network, path)
    assert features > 1e-4
    assert gradient > 1e-4


def test_operator_set_20_has_its_own_gelu(tmp_path: Path) -> None:
    """The precondition of the planted bug: the export says GELU and norm in one operator each."""
    path = export(made(OurOwn), tmp_path / "vit.onnx", "torchscript", 20)
    assert {"Gelu", "LayerNormalization"} <= {node.op_type for node in load(path).graph.node}


def test_a_transformer_with_a_fixed_batch_says_how_to_export_it(tmp_path: Path) -> None:
    """Its class token was expanded for the declared batch; the sentence names the batch axis."""
    path = export(made(OurOwn), tmp_path / "vit.onnx", "torchscript", 17, free=False)
    with pytest.raises(InvalidFileError, match="export it with a dynamic batch axis"):
        OnnxNetwork(read_program(path))


@pytest.mark.parametrize(
    ("operator", "constants", "message"),
    [
        ("Range", {"a": np.array(0), "b": np.array(10**12), "c": np.array(1)}, "more than 268435456 entries"),
        ("Range", {"a": np.array(0), "b": np.array(5), "c": np.array(0)}, "steps of 0"),
        ("Tile", {"a": np.ones(1, dtype=np.float32), "b": np.array([2**40])}, "more than 268435456 entries"),
        ("Mod", {"a": np.ones(1, dtype=np.float32), "b": np.ones(1, dtype=np.float32)}, "expected fmod=1"),
    ],
)
def test_what_an_operator_does_not_do_is_said(
    operator: str, constants: dict[str, np.ndarray], message: str, write_program: Callable[..., Path]
) -> None:
    """A small file cannot ask for a large memory, and what ONNX leaves undefined is refused."""
    hidden = [helper.make_node("Identity", [name], [f"{name}2"]) for name in constants]  # from onnx's own checker
    nodes = [*hidden, helper.make_node(operator, [node.output[0] for node in hidden], ["r"])]
    nodes += [helper.make_node("Cast", ["r"], ["f"], to=1), helper.make_node("ReduceMean", ["f"], ["m"], keepdims=0)]
    nodes += [helper.make_node("Add", ["x", "m"], ["y"])]
    with pytest.raises(InvalidFileError, match=message):
        OnnxNetwork(read_program(write_program(nodes, constants)))
