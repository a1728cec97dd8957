"""The vision transformer: counts and names from the literature, and torch's own encoder layer as its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from robustreid import InvalidFileError, UserError
from robustreid.models.architectures.vit import Block, ViT, resize_position_embedding, vit_s16
from robustreid.models.load import build, resolve
from safetensors.torch import save_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from pathlib import Path

#: Parameters of timm's `vit_small_patch16_224`, and of its classifier of 1000 classes.
PUBLISHED, CLASSIFIER = 22_050_664, 385 * 1000


def randomised(network: nn.Module) -> nn.Module:
    """The network in evaluation mode with layer norms that do something and weights that are not small."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            middle = 1.0 if parameter.ndim == 1 and "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(middle + 0.1 * torch.randn(parameter.shape, generator=source))
    return network.eval()


def test_parameters_count_as_published() -> None:
    """Those of timm's model less its classifier and the tokens that 16x8 patches have fewer than 14x14, plus the head.

    224x224 pixels are 196 patches, 256x128 are 128; each has 384 numbers, as has the class token. The head's batch norm
    has 2 x 384.
    """
    expected = PUBLISHED - CLASSIFIER - (196 - 128) * 384 + 2 * 384
    assert sum(parameter.numel() for parameter in vit_s16().parameters()) == expected == 21_640_320


def test_names_are_timms() -> None:
    """Names and shapes as in timm's state dicts, and nothing else but the head."""
    found = {name: tuple(tensor.shape) for name, tensor in vit_s16().state_dict().items()}
    expected: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, 384),
        "pos_embed": (1, 129, 384),
        "patch_embed.proj.weight": (384, 3, 16, 16),
        "patch_embed.proj.bias": (384,),
    }
    for block in range(12):
        layers = {"norm1": (384,), "attn.qkv": (1152, 384), "attn.proj": (384, 384), "norm2": (384,)}
        for name, shape in {**layers, "mlp.fc1": (1536, 384), "mlp.fc2": (384, 1536)}.items():
            expected[f"blocks.{block}.{name}.weight"] = shape
            expected[f"blocks.{block}.{name}.bias"] = shape[:1]
    expected |= dict.fromkeys(("norm.weight", "norm.bias"), (384,))
    head = {name for name in found if name.startswith("bottleneck.")}
    assert len(head) == 5
    assert {name: shape for name, shape in found.items() if name not in head} == expected


def encoder_layer(block: Block, *, norm_first: bool = True, activation: str = "gelu", eps: float = 1e-6) -> nn.Module:
    """Torch's own layer with the weights of a block."""
    layer = nn.TransformerEncoderLayer(
        384, 6, 1536, dropout=0.0, activation=activation, layer_norm_eps=eps, batch_first=True, norm_first=norm_first
    )
    names = {"attn.qkv.": "self_attn.in_proj_", "attn.proj.": "self_attn.out_proj."}
    names |= {"mlp.fc1.": "linear1.", "mlp.fc2.": "linear2."}
    state = {}
    for name, tensor in block.state_dict().items():
        place = next((place for place in names if name.startswith(place)), None)
        state[name if place is None else names[place] + name.removeprefix(place)] = tensor
    layer.load_state_dict(state)
    return layer.eval()


def test_a_block_is_torchs_encoder_layer() -> None:
    """Pre-norm, six heads, exact GELU and an epsilon of 1e-6; each planted change is rejected."""
    block = Block(384)
    randomised(block)
    tokens = torch.randn(2, 9, 384, generator=torch.Generator().manual_seed(1)) * 0.01
    with torch.no_grad():
        found = block(tokens)

        def gap(reference: nn.Module) -> float:
            return float((reference(tokens) - found).abs().max() / found.abs().max())

        assert gap(encoder_layer(block)) < 1e-5
        assert gap(encoder_layer(block, norm_first=False)) > 1e-2
        assert gap(encoder_layer(block, activation="relu")) > 1e-2
        assert gap(encoder_layer(block, eps=1e-5)) > 1e-3


def test_the_feature_is_the_normalised_class_token() -> None:
    """Patches lie row by row behind the class token, places are added, and the head follows the last norm."""
    network = ViT(depth=2, input_size=(48, 32))
    randomised(network)
    images = torch.randn(2, 3, 48, 32, generator=torch.Generator().manual_seed(1))
    weight, bias = network.patch_embed.proj.weight.flatten(1), network.patch_embed.proj.bias
    assert bias is not None
    with torch.no_grad():
        corners = [(row, column) for row in range(0, 48, 16) for column in range(0, 32, 16)]
        patches = [images[:, :, row : row + 16, column : column + 16].flatten(1) @ weight.T for row, column in corners]
        tokens = torch.stack(patches, 1) + bias
        tokens = torch.cat((network.cls_token.expand(2, 1, 384), tokens), 1) + network.pos_embed
        for block in network.blocks.children():
            assert isinstance(block, Block)
            tokens = encoder_layer(block)(tokens)
        expected = network.bottleneck(network.norm(tokens)[:, 0])
        torch.testing.assert_close(network(images), expected, atol=1e-4, rtol=1e-4)


def test_another_size_resizes_the_position_embedding() -> None:
    """Images of another size see what a network of that size with the resized embedding would."""
    network, smaller = ViT(depth=1), ViT(depth=1, input_size=(128, 64))
    randomised(network)
    state = network.state_dict()
    state["pos_embed"] = resize_position_embedding(state["pos_embed"], (16, 8), (8, 4))
    smaller.load_state_dict(state)
    images = torch.randn(2, 3, 128, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(images), smaller.eval()(images))
        assert not torch.allclose(network(images), ViT(depth=1, input_size=(128, 64)).eval()(images))


@pytest.mark.parametrize("size", [(250, 128), (256, 120), (0, 16)])
def test_patches_must_cover_the_image(size: tuple[int, int]) -> None:
    """A height or width that is no multiple of 16 is refused in one sentence."""
    with pytest.raises(UserError, match=rf"{size[0]}x{size[1]} pixels .* multiples of 16: set input_size"):
        vit_s16()(torch.zeros(1, 3, *size))


def test_a_position_embedding_is_resized_as_a_picture() -> None:
    """The class token's entry stays, a constant and a ramp keep their shape, and the same grid is the same tensor."""
    rows = torch.linspace(0, 1, 14).view(14, 1).expand(14, 14)
    columns = torch.linspace(0, 1, 14).view(1, 14).expand(14, 14)
    picture = torch.stack((torch.ones(14, 14), rows, columns), -1).reshape(1, 196, 3)
    embedding = torch.cat((torch.full((1, 1, 3), 7.0), picture), 1)
    found = resize_position_embedding(embedding, (14, 14), (16, 8))
    assert found.shape == (1, 129, 3)
    assert torch.equal(found[:, 0], embedding[:, 0])
    constant, down, right = found[0, 1:].T.reshape(3, 16, 8)
    torch.testing.assert_close(constant, torch.ones(16, 8))
    assert bool((down.diff(dim=0) > 0).all())
    assert bool((right.diff(dim=1) > 0).all())
    torch.testing.assert_close(down, down[:, :1].expand(16, 8))
    assert resize_position_embedding(embedding, (14, 14), (14, 14)) is embedding


def test_a_position_embedding_of_another_grid_is_refused() -> None:
    """Rows and columns that do not give the number of tokens are a mistake of the caller's."""
    with pytest.raises(
        UserError, match=r"shape \(1, 197, 384\) is none of 16x8 patches; expected \(1, 129, channels\)"
    ):
        resize_position_embedding(torch.zeros(1, 197, 384), (16, 8), (14, 14))


def test_initial_weights_are_those_of_the_literature() -> None:
    """A normal distribution of deviation 0.02 for what multiplies, zero for what is added."""
    torch.manual_seed(0)
    state = vit_s16().state_dict()
    for name in ("blocks.3.attn.qkv.weight", "blocks.3.mlp.fc2.weight", "patch_embed.proj.weight", "pos_embed"):
        assert float(state[name].std()) == pytest.approx(0.02, rel=0.02)
    assert not state["blocks.3.attn.qkv.bias"].any()
    assert not state["patch_embed.proj.bias"].any()


def test_every_parameter_learns() -> None:
    """In training the feature, the batch norm's output, has a gradient to whatever was made."""
    torch.manual_seed(0)
    network = ViT(depth=2, input_size=(64, 32)).train()
    features = network(torch.randn(4, 3, 64, 32))
    torch.testing.assert_close(features.mean(0), torch.zeros(384), atol=1e-4, rtol=0)
    (features**3).sum().backward()
    assert [name for name, each in network.named_parameters() if each.grad is None or not each.grad.any()] == []


def saved(path: Path, changes: dict[str, Tensor]) -> Path:
    torch.manual_seed(0)
    save_file({**vit_s16().state_dict(), **changes}, path)
    return path


def test_weights_load_and_the_classifier_is_ignored(tmp_path: Path) -> None:
    """A file with timm's classifier gives features of 384 numbers, of unit length, with gradients to the pixels."""
    path = saved(tmp_path / "vit.safetensors", {"head.weight": torch.zeros(10, 384), "head.bias": torch.zeros(10)})
    embedder = build(resolve(label="v", architecture="vit_s16", weights=path))
    assert embedder.spec.input_size == (256, 128)
    images = torch.rand(1, 3, 128, 64, requires_grad=True)
    features = embedder(images)
    assert features.shape == (1, 384)
    features[:, 0].sum().backward()
    assert images.grad is not None
    assert bool(images.grad.ne(0).float().mean() > 0.99)


def test_a_file_for_square_images_is_refused_with_both_shapes(tmp_path: Path) -> None:
    """A position embedding of 14x14 patches is not resized behind the user's back."""
    path = saved(tmp_path / "vit.safetensors", {"pos_embed": torch.zeros(1, 197, 384)})
    with pytest.raises(InvalidFileError, match=r"pos_embed \(1, 197, 384\) where \(1, 129, 384\) is expected"):
        build(resolve(label="v", architecture="vit_s16", weights=path))
