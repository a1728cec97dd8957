"""Pixels as 8-bit counts: x = c / 255.

Steps and clips done on counts are exact for whole epsilons, where accumulated float steps would pass the ball by a
last bit; and the 8-bit image that is scored falls out of the same arithmetic.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: How far (in counts) a value may lie from a whole number and still be that number: well above float32's error at
#: 255 (3e-5), and below the budget's tolerance (1e-6 in pixel units is 2.5e-4 counts).
SNAP = 1e-4


def to_counts(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] in units of 1/255; what is whole up to rounding is made whole."""
    return snap(images * 255)


def from_counts(counts: Tensor) -> Tensor:
    """The images behind counts; the inverse of `to_counts` bit for bit on 8-bit images."""
    return counts / 255


def snap(counts: Tensor) -> Tensor:
    """Counts with everything within `SNAP` of a whole number put onto it."""
    whole = counts.round()
    return torch.where((counts - whole).abs() < SNAP, whole, counts)


def quantise(images: Tensor, clean: Tensor) -> Tensor:
    """The 8-bit image that is scored: the perturbation rounded toward the clean pixel, so every norm can only shrink.

    Args:
        images: (B, 3, H, W) in [0, 1], the attacked images.
        clean: (B, 3, H, W), the same images before, on the 8-bit grid.

    Returns:
        The very same tensor where it is an 8-bit image already.
    """
    if torch.equal(from_counts((images * 255).round()), images):
        return images
    delta = snap((images.double() - clean.double()) * 255).trunc()
    return from_counts(to_counts(clean) + delta.to(clean.dtype))
