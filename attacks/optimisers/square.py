"""Square attack: random search by squares of the image, on values alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor

from ... import UserError
from ..counts import from_counts, to_counts
from ..draw import Draw
from ..loss import Loss
from ..oracle import Oracle
from ..threat import Goal, Threat
from .base import CLEAN, MAX_STEPS, Optimiser, Trace

#: After which of 10,000 queries the share of pixels in a square is halved.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclass(frozen=True, kw_only=True)
class Square(Optimiser):
    """Square attack in the L-inf ball: stripes first, then squares of one colour, each kept where the value rises.

    Andriushchenko et al. 2020 (ECCV, arXiv 1912.00049): the start is +-epsilon by columns and channels; in every query
    a square of round(sqrt(p H W)) pixels at a random place gets a new sign a channel; p is halved as queries go by, in
    shares of the budget. Of an image nothing but its value is known.
    """

    is_random: ClassVar[bool] = True
    uses_gradients: ClassVar[bool] = False

    #: How often an image may be asked for.
    queries: int = 1000
    #: The share of pixels in the first squares.
    first_share: float = 0.8

    def __post_init__(self) -> None:
        if not 2 <= self.queries <= MAX_STEPS:
            raise ValueError(f"queries: expected 2 to {MAX_STEPS}, got {self.queries}")
        if not 0 < self.first_share <= 1:
            raise ValueError(f"first_share: expected more than 0 and at most 1, got {self.first_share}")

    def refuse(self, attack: str, threat: Threat, goal: Goal) -> None:  # noqa: ARG002
        if threat.norm != "linf":
            raise UserError(f"{attack} searches squares of an L-inf ball, not of {threat.norm}; use pgd for it.")

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:
        return [self._search(Oracle(loss, self.queries), images, threat, draw) for threat in threats]

    def _search(self, oracle: Oracle, images: Tensor, threat: Threat, draw: Draw) -> Tensor:
        clean, radius = to_counts(images), threat.radius
        _, channels, height, width = clean.shape
        value = oracle(images)
        stripes = draw.rows(0, 0, (channels, 1, width)).to(clean)
        now = (clean + radius * _signs(stripes)).clamp(0, 255)
        found = oracle(from_counts(now))
        # Stripes are where the search starts, unless the clean image is worth more.
        best, value = torch.where(_wide(found > value), now, clean), torch.maximum(found, value)
        for query in range(2, self.queries):
            side = max(1, min(round(sqrt(self.share(query) * height * width)), height - 1, width - 1))
            lots = draw.rows(0, query, (2 + channels,)).to(clean)
            top = (lots[:, 0] * (height - side + 1)).floor()
            left = (lots[:, 1] * (width - side + 1)).floor()
            inside = _within(top, side, height)[:, None, :, None] & _within(left, side, width)[:, None, None, :]
            colour = (clean + radius * _signs(lots[:, 2:, None, None])).clamp(0, 255)
            trial = torch.where(inside, colour, best)
            found = oracle(from_counts(trial))
            better = found > value
            best, value = torch.where(_wide(better), trial, best), torch.where(better, found, value)
        return from_counts(best)

    def share(self, query: int) -> float:
        """The share of pixels in the square of a query."""
        at = query * 10_000 / self.queries
        return float(self.first_share / 2 ** sum(at > halving for halving in _HALVINGS))

    def trace(self, threat: Threat) -> Trace:
        if threat.epsilon == 0:
            return Trace(gradients=(), values=(CLEAN,) * self.queries, final=CLEAN)
        asked = tuple(("square", self, threat, query) for query in range(1, self.queries))
        return Trace(gradients=(), values=(CLEAN, *asked), final=("square-end", self, threat))


def _signs(uniform: Tensor) -> Tensor:
    return torch.where(uniform < 0.5, -1.0, 1.0).to(uniform)


def _within(start: Tensor, length: int, size: int) -> Tensor:
    """(B, size) bool: the places of a stretch that begins at `start` (B,)."""
    at = torch.arange(size, device=start.device)
    return (at >= start[:, None]) & (at < start[:, None] + length)


def _wide(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)
