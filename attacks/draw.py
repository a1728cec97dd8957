"""Random numbers that depend on what they are for, and on nothing else.

A stream is a counter-based generator keyed by (seed, image, restart, step) and made on the CPU: the same numbers on
every device, in every order, in every batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Draw:
    """The random numbers of one batch."""

    #: The cell's seed.
    seed: int
    #: The images of the batch in order: paths relative to the data root; padding is "".
    image_ids: tuple[str, ...]
    #: What the numbers are for, where not for the optimiser: streams of different purposes know nothing of each other.
    purpose: str = ""

    def meant_for(self, purpose: str) -> Draw:
        """The streams of the same images for something else."""
        return replace(self, purpose=purpose)

    def __call__(self, image_id: str, restart: int, step: int, shape: Sequence[int]) -> Tensor:
        """Uniform numbers in [0, 1), float64, on the CPU."""
        about = f"{self.purpose}\n" if self.purpose else ""
        words = f"{about}{self.seed}\n{restart}\n{step}\n{image_id}".encode()
        key = int.from_bytes(hashlib.blake2b(words, digest_size=16).digest(), "little")
        raw = np.random.Philox(key=key).random_raw(prod(shape))
        return torch.from_numpy((raw >> np.uint64(11)) * 2.0**-53).reshape(*shape)

    def rows(self, restart: int, step: int, shape: Sequence[int]) -> Tensor:
        """Uniform numbers (B, *shape) in [0, 1), float64, on the CPU."""
        return torch.stack([self(image_id, restart, step, shape) for image_id in self.image_ids])

    def batch(self, restart: int, step: int, like: Tensor) -> Tensor:
        """Uniform numbers for every image of the batch, in the shape, type and place of `like` (B, ...)."""
        if len(self.image_ids) != len(like):
            raise ValueError(f"expected {len(self.image_ids)} images, got {len(like)}")
        return self.rows(restart, step, like.shape[1:]).to(dtype=like.dtype, device=like.device)
