"""A real JPEG, scored through Pillow, and how an adversary goes through it.

Straight through (BPDA with the identity) is no strong attack: coefficients that the tables round to zero take most of a
perturbation away, and the identity does not know it. What a step of the adversary can do to a rounded coefficient is
the slope of rounding on average over what the step may be. With a Gaussian of `SPREAD` grey levels around the
coefficient that mean has a closed form: the density of the Gaussian at the borders between two roundings. It is small
for a coefficient that stays zero whatever is tried, large for one beside a border, and one where the table is fine.
docs/defences.md has what this is worth.
"""

from __future__ import annotations

import io
import math
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, JpegImagePlugin
from torch import Tensor
from torch.nn import functional as F

from .parameters import Jpeg
from .stage import Stage

#: Standard deviation, in grey levels, of what an adversary may do to a coefficient.
SPREAD = 4.0
#: The least spread in steps of a table, so that no slope is without end.
_LEAST_SPREAD = 0.1
#: From this spread on, in steps, rounding has on average the slope of a line.
_FLAT = 0.6
#: 4:2:0 in Pillow's words: colours at half the height and width.
_SUBSAMPLING = 2
#: Sides of what is encoded on its own: of brightness, and with colours at half size.
_BLOCK, _UNIT = 8, 16

#: RGB to brightness and two colours (ITU-R BT.601, as JFIF 1.02 has it), without the offset.
_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))


class JpegStage(Stage):
    """Encoded and decoded by Pillow, 4:2:0, standard tables."""

    defence: Jpeg

    def forward(self, images: Tensor) -> Tensor:
        """What is decoded (B, 3, H, W), multiples of 1/255; images between grey levels are rounded first. No graph."""
        counts = (images.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        decoded = np.stack([_decoded(image, self.defence.quality) for image in counts])
        return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(images.device).to(images.dtype) / 255

    def pull_back(self, images: Tensor, gradient: Tensor) -> Tensor:
        """The gradient (B, 3, H, W) at the input: colours, halving and cosines as they are, rounding on average."""
        height, width = images.shape[-2:]
        below, right = -height % _UNIT, -width % _UNIT
        levels = F.pad(255 * images, (0, right, 0, below), mode="replicate")
        slope = F.pad(gradient, (0, right, 0, below))
        to_ycc = images.new_tensor(_YCC)
        levels = torch.einsum("ij,bjhw->bihw", to_ycc, levels)
        slope = torch.einsum("ji,bjhw->bihw", torch.linalg.inv(to_ycc), slope)
        tables = [images.new_tensor(table) for table in _tables(self.defence.quality)]
        bright = _through(levels[:, :1] - 128, slope[:, :1], tables[0])
        # Halving takes means of four; a mean's gradient is spread over the four.
        colours = _through(F.avg_pool2d(levels[:, 1:], 2), F.avg_pool2d(slope[:, 1:], 2), tables[1])
        found = torch.cat([bright, F.interpolate(colours, scale_factor=2.0, mode="nearest")], dim=1)
        return torch.einsum("ji,bjhw->bihw", to_ycc, found)[..., :height, :width].contiguous()


def _decoded(
    image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], quality: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(H, W, 3) as it comes out of a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=_SUBSAMPLING)
    return np.asarray(Image.open(buffer))


@lru_cache(maxsize=100)
def _tables(quality: int) -> tuple[list[list[float]], list[list[float]]]:
    """The steps (8, 8) of brightness and of colours, as a file of that quality has them."""
    buffer = io.BytesIO()
    Image.new("RGB", (_UNIT, _UNIT)).save(buffer, "JPEG", quality=quality, subsampling=_SUBSAMPLING)
    file = Image.open(buffer)
    if not isinstance(file, JpegImagePlugin.JpegImageFile):
        raise TypeError(f"expected a JPEG, got {file.format}")
    bright, colours = (np.reshape(file.quantization[index], (_BLOCK, _BLOCK)).tolist() for index in (0, 1))
    return bright, colours


def _through(levels: Tensor, slope: Tensor, table: Tensor) -> Tensor:
    """The gradient (B, C, h, w) before the rounding of cosine coefficients in steps (8, 8), of that after it."""
    cosines = _cosines(levels)
    found = _blocks(slope)
    at = (cosines @ _blocks(levels) @ cosines.T) / table
    pulled = (cosines @ found @ cosines.T) * _mean_slope(at, (SPREAD / table).clamp_min(_LEAST_SPREAD))
    whole = cosines.T @ pulled @ cosines
    batch, channels, rows, columns = whole.shape[:4]
    return whole.transpose(3, 4).reshape(batch, channels, rows * _BLOCK, columns * _BLOCK)


def _mean_slope(at: Tensor, spread: Tensor) -> Tensor:
    """The slope of rounding, on average over a Gaussian around `at` with standard deviation `spread`."""
    offset = at - at.floor() - 0.5  # from the border between two roundings
    found = torch.zeros_like(at)
    for border in range(-2, 3):
        found += torch.exp(-(((offset - border) / spread) ** 2) / 2)
    # Beyond, the mean is one up to 2 parts in 1000, and further borders would be needed to sum it.
    return torch.where(spread < _FLAT, found / (spread * math.sqrt(2 * math.pi)), 1)


def _blocks(images: Tensor) -> Tensor:
    """(B, C, h / 8, w / 8, 8, 8) of images (B, C, h, w)."""
    batch, channels, height, width = images.shape
    return images.view(batch, channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).transpose(3, 4)


def _cosines(like: Tensor) -> Tensor:
    """The orthonormal cosine transform (8, 8) of a block's side."""
    at = torch.arange(_BLOCK, dtype=torch.float64)
    found = torch.cos((2 * at[None] + 1) * at[:, None] * math.pi / (2 * _BLOCK)) / 2
    found[0] /= math.sqrt(2)
    return found.to(like)
