"""Changes that keep the person: mirroring, shifting, erasing a rectangle, bending tones; drawn anew for every image."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from .chance import stream

#: Random erasing as Zhong et al., AAAI 2020: share of the area, and height over width.
_AREA = (0.02, 0.4)
_ASPECT = (0.3, 1 / 0.3)
#: What is erased becomes ImageNet's mean colour, which normalises to about 0.
_FILL = np.array([124, 116, 104], dtype=np.uint8).reshape(3, 1, 1)

#: Levels whose new places are drawn; between two of them the curve is straight.
_KNOTS = (0, 64, 128, 192, 255)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How training images are changed."""

    #: Mirror left and right with probability one half.
    flip: bool = True
    #: Pad by so many black pixels on every side and cut a window of the old size out of that.
    crop: int = 4
    #: The probability that a rectangle is erased.
    erase: float = 0.0
    #: The probability that colours are mixed into one channel and its levels bent, so that shapes are left to go by.
    tone: float = 0.0

    def __post_init__(self) -> None:
        if self.crop < 0 or not (0 <= self.erase <= 1 and 0 <= self.tone <= 1):
            raise ValueError(
                f"expected a crop from 0, and erase and tone in [0, 1], got {self.crop}, {self.erase} and {self.tone}"
            )


def augment(images: NDArray[np.uint8], how: Augment, *, seed: int, step: int) -> NDArray[np.uint8]:
    """A changed copy of images (B, 3, H, W) uint8: a pure function of its arguments.

    Args:
        images: one batch.
        how: what is done to it.
        seed: the training's.
        step: the training's step, from 0 over all epochs.
    """
    images = _toned(images, how.tone, seed=seed, step=step) if how.tone else images
    random = stream(seed, "augment", step)
    n, _, height, width = images.shape
    # Everything is drawn whether it is used or not: switching one change off leaves the others as they were.
    drawn = random.random((n, 8))
    shifts = np.floor(drawn[:, 1:3] * (2 * how.crop + 1)).astype(int) - how.crop
    result = np.zeros_like(images)
    for i in range(n):
        source = images[i, :, :, ::-1] if how.flip and drawn[i, 0] < 1 / 2 else images[i]
        (top, bottom), (left, right) = _window(shifts[i, 0], height), _window(shifts[i, 1], width)
        down, across = shifts[i]
        result[i, :, top:bottom, left:right] = source[:, top + down : bottom + down, left + across : right + across]
        if drawn[i, 3] < how.erase:
            rows, columns = _rectangle(*drawn[i, 4:], height=height, width=width)
            result[i, :, rows, columns] = _FILL
    return result


def _toned(images: NDArray[np.uint8], share: float, *, seed: int, step: int) -> NDArray[np.uint8]:
    """A share of the images (B, 3, H, W) as one channel, three times: a random mix, bent by a random curve.

    Random channels in place of colours are Ye, Ruan, Du, Shou's (ICCV 2021) way to join visible and infrared images;
    the curve goes further, since cloth that is dark in the one may be bright in the other.
    """
    drawn = stream(seed, "tone", step).random((len(images), 1 + 3 + len(_KNOTS)))
    result = images.copy()
    for i in np.flatnonzero(drawn[:, 0] < share):
        red, green, blue = drawn[i, 1:4] / drawn[i, 1:4].sum()
        mixed = red * images[i, 0] + green * images[i, 1] + blue * images[i, 2]
        curve = np.interp(np.arange(256), _KNOTS, 255 * drawn[i, 4:]).astype(np.uint8)
        result[i] = curve[np.minimum(mixed, 255).astype(np.uint8)]
    return result


def _window(shift: int, size: int) -> tuple[int, int]:
    """Where in the result pixels of the source come to lie when it moves by `-shift`."""
    return max(0, -shift), min(size, size - shift)


def _rectangle(
    area: float, log_aspect: float, down: float, across: float, *, height: int, width: int
) -> tuple[slice, slice]:
    """Rows and columns of a rectangle, from uniform numbers in [0, 1); one that is too long is cut to the image."""
    pixels = (_AREA[0] + area * (_AREA[1] - _AREA[0])) * height * width
    aspect = _ASPECT[0] * (_ASPECT[1] / _ASPECT[0]) ** log_aspect
    rows = min(height, max(1, round(sqrt(pixels * aspect))))
    columns = min(width, max(1, round(sqrt(pixels / aspect))))
    top, left = int(down * (height - rows + 1)), int(across * (width - columns + 1))
    return slice(top, top + rows), slice(left, left + columns)
