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
#: Down to here a head may be where a crop is loose: a mosaic of square blocks, so many across, is left of it.
LOOSE, ACROSS = 0.5, 7


def blurred(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of a person crop whose head is blurred past recovery.

    The region of the head is reduced to at most eight mean colours and painted from these alone, so what tells one
    face from another is not hidden but gone: two heads with the same means give the same pixels. In a loose crop the
    head is lower: from there to the middle a coarse mosaic is left, of which a small face is a block or two.

    Args:
        pixels: (H, W, 3) uint8 RGB of one person, upright.

    Returns:
        (H, W, 3) uint8; the lower half is unchanged.
    """
    found = pixels.copy()
    height, width = head_size(pixels)
    found[:height] = _painted(pixels[:height], *grid_of(height, width))
    middle = loose_height(pixels)
    if middle > height:
        block = math.ceil(width / ACROSS)
        rows, columns = max((middle - height) // block, 1), max(width // block, 1)
        found[height:middle] = _painted(pixels[height:middle], rows, columns)
    return found


def loose_height(pixels: NDArray[np.uint8]) -> int:
    """Rows, from the top of (H, W, 3), in which `blurred` leaves a mosaic at most."""
    return max(math.ceil(LOOSE * len(pixels)), head_size(pixels)[0])


def head_size(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """Rows and columns of the region, at the top, that `blurred` replaces; pixels (H, W, 3)."""
    height, width, _ = pixels.shape
    return min(max(math.ceil(HEAD * height), 1), height), width


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the colours that are left of a region of so many pixels."""
    return min(max(height // BLOCK, 1), GRID[0]), min(max(width // BLOCK, 1), GRID[1])


def _painted(region: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """(H, W, 3) of the means of so many blocks of (H, W, 3), shaded into one another."""
    from PIL import Image

    height, width, _ = region.shape
    small = Image.fromarray(_block_means(region, rows, columns))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), dtype=np.uint8)


def _block_means(region: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """(rows, columns, 3) rounded means of the blocks of (H, W, 3)."""
    across = [
        [block.mean((0, 1)) for block in np.array_split(band, columns, axis=1)]
        for band in np.array_split(region, rows, axis=0)
    ]
    return np.round(np.array(across)).astype(np.uint8)
