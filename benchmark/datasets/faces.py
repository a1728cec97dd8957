"""Heads of people made unrecognisable, for every page and sheet that shows crops of real persons."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: The part of a person crop, from its top, that holds the head: detectors cut close, and heads are an eighth of a body.
HEAD = 0.22
#: All that is left of it: at most so many colours, in rows and columns ...
GRID = (2, 4)
#: ... each of a block of at least so many rows and columns, however small the crop is.
BLOCK = 12


def blurred(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of a person crop whose head is blurred past recovery.

    The region of the head is reduced to at most eight mean colours and painted from these alone, so what tells one
    face from another is not hidden but gone: two heads with the same means give the same pixels.

    Args:
        pixels: (H, W, 3) uint8 RGB of one person, upright.

    Returns:
        (H, W, 3) uint8; below the head it is unchanged.
    """
    from PIL import Image

    found = pixels.copy()
    height, width = head_size(pixels)
    rows, columns = grid_of(height, width)
    means = _block_means(pixels[:height], rows, columns)
    painted = Image.fromarray(means).resize((width, height), Image.Resampling.BICUBIC)
    found[:height] = np.asarray(painted, dtype=np.uint8)
    return found


def head_size(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """Rows and columns of the region, at the top, that `blurred` replaces; pixels (H, W, 3)."""
    height, width, _ = pixels.shape
    return min(max(math.ceil(HEAD * height), 1), height), width


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the colours that are left of a region of so many pixels."""
    return min(max(height // BLOCK, 1), GRID[0]), min(max(width // BLOCK, 1), GRID[1])


def _block_means(region: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """(rows, columns, 3) rounded means of the blocks of (H, W, 3)."""
    across = [
        [block.mean((0, 1)) for block in np.array_split(band, columns, axis=1)]
        for band in np.array_split(region, rows, axis=0)
    ]
    return np.round(np.array(across)).astype(np.uint8)
