"""Heads: what is left of them, whatever the shape of a crop; the rest of the picture untouched."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from robustreid.benchmark.datasets.faces import HEAD, blurred, grid_of, head_size, loose_height
from robustreid.benchmark.datasets.synthetic.scene import picture


def crops(height: int, width: int, count: int = 6) -> list[NDArray[np.uint8]]:
    """Random pixels, of which every detail would show."""
    rng = np.random.default_rng(height * 1000 + width)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def detail(region: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How colours bend from pixel to pixel, (H, W - 2, 3): large where there are edges, small in smooth shades."""
    return np.diff(region.astype(np.float64), 2, axis=1)


def has_face(shown: NDArray[np.uint8], original: NDArray[np.uint8]) -> bool:
    """Whether details of a head are left: those shown go with the original's, or are a tenth as strong."""
    height, _ = head_size(original)
    one, other = detail(shown[:height]), detail(original[:height])
    strength = float(one.std() / other.std())
    likeness = float(np.corrcoef(one.ravel(), other.ravel())[0, 1]) if one.std() else 0.0
    return strength > 0.1 or likeness > 0.5


def pixelated(pixels: NDArray[np.uint8], block: int) -> NDArray[np.uint8]:
    """Planted: a mosaic of small blocks, as on television, that leaves a face readable."""
    found = pixels.copy()
    height, width = head_size(pixels)
    small = pixels[:height:block, ::block]
    found[:height] = small.repeat(block, 0).repeat(block, 1)[:height, :width]
    return found


@pytest.mark.parametrize("size", [(128, 64), (160, 60), (384, 144), (31, 11), (1000, 333), (40, 200)])
def test_no_detail_of_a_head_is_left(size: tuple[int, int]) -> None:
    """Of crops of many shapes; planted: the crop as it is and a fine mosaic are both rejected by the same check."""
    for pixels in crops(*size):
        assert not has_face(blurred(pixels), pixels)
        assert has_face(pixels, pixels)
        assert has_face(pixelated(pixels, 2), pixels)


@pytest.mark.parametrize("size", [(128, 64), (97, 41), (5, 3), (2, 2), (1, 1), (3, 900)])
def test_the_lower_half_does_not_change(size: tuple[int, int]) -> None:
    """Type, shape and all rows below are kept, of the smallest crops too; the input is not written to."""
    (pixels,) = crops(*size, count=1)
    before = pixels.copy()
    found = blurred(pixels)
    height, _ = head_size(pixels)
    assert (found.shape, found.dtype) == (pixels.shape, np.dtype(np.uint8))
    assert np.array_equal(found[loose_height(pixels) :], pixels[loose_height(pixels) :])
    assert np.array_equal(pixels, before)
    assert loose_height(pixels) >= height >= HEAD * size[0]


@pytest.mark.parametrize("size", [(128, 64), (160, 60), (384, 144)])
def test_a_head_that_is_lower_is_no_face_either(size: tuple[int, int]) -> None:
    """A drawn head pasted at a third of the height: its details are gone; of a fine mosaic they are not."""
    height, width = size
    for person in range(1, 7):
        drawn = picture(0, person, 1, 0)
        top, _ = head_size(drawn)
        face = drawn[:top:2, 16:48:2]
        (pixels,) = crops(height, width, count=1)
        pixels[:] = 128
        place = np.s_[height // 4 : height // 4 + len(face), width // 4 : width // 4 + 16]
        pixels[place] = face
        assert not has_face(blurred(pixels)[place], face)
        assert has_face(pixels[place], face)


def test_two_heads_of_the_same_means_are_the_same() -> None:
    """A few colours decide every pixel of the region: what else a face has cannot be brought back."""
    rng = np.random.default_rng(3)
    (one,) = crops(128, 64, count=1)
    other = one.copy()
    height, width = head_size(one)
    n_rows, n_columns = grid_of(height, width)
    for rows in np.array_split(np.arange(height), n_rows):
        for columns in np.array_split(np.arange(width), n_columns):
            block = one[np.ix_(rows, columns)].reshape(-1, 3)
            other[np.ix_(rows, columns)] = rng.permutation(block).reshape(len(rows), len(columns), 3)
    assert has_face(other, other)
    assert (one[:height] != other[:height]).mean() > 0.9
    assert np.array_equal(blurred(one)[:height], blurred(other)[:height])


def test_a_drawn_head_is_gone() -> None:
    """Of people with faces, not noise: eyes and hair line are no longer there."""
    for person in range(1, 9):
        pixels = picture(0, person, 1, 0)
        assert not has_face(blurred(pixels), pixels)


def test_it_needs_no_torch() -> None:
    """Pages are made where torch is not loaded."""
    code = "import sys, robustreid.benchmark.datasets.faces; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
