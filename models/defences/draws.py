"""Random numbers that depend on an image's content, a seed and a sample, and on nothing else.

What a random defence draws for an image is the same in every batch, order and place, and so are its features: a score
can be computed again, an image that was not changed keeps its features bit for bit, and another image, by a single grey
level, draws anew. The generator is SplitMix64 (Steele, Lea, Flood 2014, OOPSLA) on 64-bit integers, on any device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..passing import current_sample

_GOLDEN = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST = 31
#: Bits of a float32 between 0 and 1.
_BITS = 24


def content(images: Tensor) -> Tensor:
    """One number (B,) an image (B, 3, H, W) in [0, 1]: images that round to the same grey levels have the same."""
    levels = (images.detach() * 255).round().to(torch.int64).flatten(1)
    weights = _mixed(_counter(levels.shape[1], levels.device))
    # Sums of whole numbers modulo 2^64 are the same in any order.
    return _mixed((levels * weights).sum(1))


def keys(of: Tensor, purpose: str, seed: int) -> Tensor:
    """Numbers (B,) for what is drawn: of those of the images, what it is for, a seed, and the current sample."""
    words = f"{purpose}\n{seed}\n{current_sample()}".encode()
    return _mixed(of + _signed(int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little")))


def split(found: Tensor, part: int) -> Tensor:
    """Other numbers (B,), those of a part of what the first ones are for."""
    return _mixed(found + _signed(_GOLDEN * (part + 1)))


def uniform(found: Tensor, count: int) -> Tensor:
    """Numbers (B, count) in [0, 1), float64, of keys (B,)."""
    words = _mixed(found[:, None] + _counter(count, found.device))
    return _shifted(words, 64 - 53).double() * 2.0**-53


def normal(found: Tensor, shape: Sequence[int]) -> Tensor:
    """Standard normal numbers (B, *shape), float32, of keys (B,); by Box and Muller, at most 5.8 from 0."""
    count = math.prod(shape)
    words = _mixed(found[:, None] + _counter(-(-count // 2), found.device))
    radius = (_shifted(words, 64 - _BITS) + 1).float() * 2.0**-_BITS
    angle = (words & ((1 << _BITS) - 1)).float() * (2.0**-_BITS * 2 * math.pi)
    radius = (-2 * radius.log()).sqrt()
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count].reshape(-1, *shape)


def _counter(count: int, device: torch.device) -> Tensor:
    return torch.arange(1, count + 1, dtype=torch.int64, device=device) * _signed(_GOLDEN)


def _mixed(words: Tensor) -> Tensor:
    for places, factor in _MIX:
        words = (words ^ _shifted(words, places)) * _signed(factor)
    return words ^ _shifted(words, _LAST)


def _shifted(words: Tensor, places: int) -> Tensor:
    """To the right, zeros coming in from the left."""
    return (words >> places) & ((1 << (64 - places)) - 1)


def _signed(word: int) -> int:
    """The same 64 bits as a signed number."""
    word %= 2**64
    return word - 2**64 if word >= 2**63 else word
