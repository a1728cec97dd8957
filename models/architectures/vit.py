"""ViT-S/16 with a re-identification head: the transformer that TransReID takes for its small model.

The trunk is Dosovitskiy et al. (ICLR 2021) in the size of Touvron et al. (DeiT, ICML 2021), with timm's parameter names
(`vit_small_patch16_224`). The head is that of He, Luo, Wang, Wang, Li, Jiang (TransReID, ICCV 2021) without its
part branch and camera embedding: the class token after the last norm, then a batch norm called `bottleneck`.
Normalisation stands before attention and before the perceptron, inside the shortcut. There is no dropout and no
stochastic depth: a feature depends on its image alone, in training too (but for the batch norm of the head).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ... import UserError

#: Pixels of a patch's side.
_PATCH = 16
#: Heads of an attention, and the perceptron's inner width over the outer one.
_HEADS, _EXPANSION = 6, 4
#: Added to variances by every layer norm.
_EPS = 1e-6


class Attention(nn.Module):
    """Every token looks at every token, in six subspaces: (B, N, C) to the same shape.

    The softmax is written out: on a GPU the fused kernels add up gradients in no fixed order.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(n_channels, 3 * n_channels)
        self.proj = nn.Linear(n_channels, n_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of the same batch."""
        batch, n_tokens, n_channels = x.shape
        size = n_channels // _HEADS
        queries, keys, values = self.qkv(x).reshape(batch, n_tokens, 3, _HEADS, size).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (queries * size**-0.5 @ keys.transpose(2, 3)).softmax(-1)
        result: Tensor = self.proj((weights @ values).transpose(1, 2).reshape(batch, n_tokens, n_channels))
        return result


class Perceptron(nn.Module):
    """Two linear layers around the exact GELU, token by token: (B, N, C) to the same shape."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(n_channels, n_channels * _EXPANSION)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(n_channels * _EXPANSION, n_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of the same batch."""
        result: Tensor = self.fc2(self.act(self.fc1(x)))
        return result


class Block(nn.Module):
    """Attention and perceptron, each normalised first and beside a shortcut: (B, N, C) to the same shape."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(n_channels, eps=_EPS)
        self.attn = Attention(n_channels)
        self.norm2 = nn.LayerNorm(n_channels, eps=_EPS)
        self.mlp = Perceptron(n_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of the same batch."""
        x = x + self.attn(self.norm1(x))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class PatchEmbedding(nn.Module):
    """One token a patch, row by row: images (B, 3, H, W) to (B, H / 16 * W / 16, C)."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, n_channels, _PATCH, _PATCH)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens of the same batch."""
        result: Tensor = self.proj(images).flatten(2).transpose(1, 2)
        return result


class ViT(nn.Module):
    """A vision transformer: images (B, 3, H, W), normalised, to features (B, 384), the output of the head's batch norm.

    Images of another size than the network's are taken too, where patches cover them: the position embedding is then
    resized as `resize_position_embedding` says, in every forward, and what is learnt stays that of the network's size.

    Args:
        depth: how many blocks.
        input_size: (height, width) in pixels, multiples of 16, that the position embedding is made for.

    """

    feature_dim = 384
    input_size = (256, 128)
    #: Fed in that memory layout: what the patches' convolution gives then lies token by token.
    channels_last = True
    #: State-dict keys that belong to a classifier.
    ignored_prefixes = ("head.", "classifier.", "fc.")

    def __init__(self, *, depth: int = 12, input_size: tuple[int, int] = input_size) -> None:
        super().__init__()
        self.input_size = input_size
        rows, columns = _grid(*input_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.feature_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + rows * columns, self.feature_dim))
        self.patch_embed = PatchEmbedding(self.feature_dim)
        self.blocks = nn.Sequential(*(Block(self.feature_dim) for _ in range(depth)))
        self.norm = nn.LayerNorm(self.feature_dim, eps=_EPS)
        self.bottleneck = nn.BatchNorm1d(self.feature_dim)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for parameter in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, 384).

        Raises:
            UserError: where height or width is no multiple of 16.

        """
        grid = _grid(images.shape[2], images.shape[3])
        places = resize_position_embedding(self.pos_embed, _grid(*self.input_size), grid)
        start = self.cls_token.expand(images.shape[0], -1, -1)
        x = self.blocks(torch.cat((start, self.patch_embed(images)), 1) + places)
        # The norm is token by token, so that of the class token is enough.
        result: Tensor = self.bottleneck(self.norm(x[:, 0]))
        return result


def resize_position_embedding(embedding: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    """A position embedding for another grid of patches, as timm resizes it: bicubic, antialiased where it shrinks.

    The class token's entry is kept. With a grid of the same size the very same tensor comes back. Between grids of
    another shape (224x224 pixels are 14x14 patches, 256x128 are 16x8) the network is no longer the one that was
    trained; it is where training starts, not something to report.

    Args:
        embedding: (1, 1 + rows * columns, C), the class token's entry first.
        before: (rows, columns) of the embedding.
        after: (rows, columns) wanted.

    Returns:
        (1, 1 + rows * columns, C) for the grid that is wanted.

    Raises:
        UserError: where the embedding is not of the grid that is named.

    """
    rows, columns = before
    if embedding.ndim != 3 or embedding.shape[:2] != (1, 1 + rows * columns):
        raise UserError(
            f"A position embedding of shape {tuple(embedding.shape)} is none of {rows}x{columns} patches; expected "
            f"(1, {1 + rows * columns}, channels): name the rows and columns that it was trained for."
        )
    if before == after:
        return embedding
    picture = embedding[:, 1:].reshape(1, rows, columns, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(picture, size=after, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat((embedding[:, :1], resized.flatten(2).transpose(1, 2)), 1)


def _grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of patches."""
    if height % _PATCH or width % _PATCH or not (height and width):
        raise UserError(
            f"Images of {height}x{width} pixels are not covered by patches of {_PATCH}x{_PATCH}; expected a height and "
            f"width that are multiples of {_PATCH}: set input_size, for example [256, 128]."
        )
    return height // _PATCH, width // _PATCH


def vit_s16() -> ViT:
    """ViT-S/16 with the head's batch norm, 384 numbers a feature."""
    return ViT()
