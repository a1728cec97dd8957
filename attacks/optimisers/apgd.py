"""Auto-PGD: projected gradient ascent that halves its step where it stalls, and keeps the best image it saw."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor

from ..counts import from_counts, to_counts
from ..draw import Draw
from ..loss import Loss
from ..norms import NORM
from ..threat import Threat
from .base import CLEAN, Optimiser, Trace, best_of, check_steps, random_start, start_point


def checkpoints(steps: int) -> Iterator[int]:
    """The steps after which the progress is looked at.

    w_j = ceil(p_j N) with p_0 = 0, p_1 = 0.22, p_(j+1) = p_j + max(p_j - p_(j-1) - 0.03, 0.06), up to N.

    >>> list(checkpoints(100))
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    # In percent, whole numbers: sums of 0.22 and 0.19 would be off by a last bit, and ceil by one.
    before, now = 0, 22
    while now <= 100:
        yield ceil(now * steps / 100)
        before, now = now, now + max(now - before - 3, 6)


@dataclass(frozen=True, kw_only=True)
class APGD(Optimiser):
    """Auto-PGD as published: the first step is 2 epsilon, halved at a checkpoint where the walk no longer pays.

    Croce and Hein 2020 (ICML, arXiv 2003.01690), algorithm 1: z = P(x_k + eta s(g)), x_(k+1) = P(x_k + a (z - x_k) +
    (1 - a) (x_k - x_(k-1))) with a = 0.75 (1 in the first step). At a checkpoint eta is halved, and the walk goes on
    from the best image, where fewer than rho of the steps since the last one gained, or where neither eta nor the best
    value has changed since then. As in the authors' code a checkpoint of w steps looks at x_w, not one step later,
    which would be thrown away. From random points of the ball; of several restarts the best is kept, per image.
    """

    is_random: ClassVar[bool] = True

    steps: int = 50
    restarts: int = 1
    #: The least share of steps that has to gain.
    rho: float = 0.75

    def __post_init__(self) -> None:
        check_steps(self.steps, self.restarts)
        if not 0 <= self.rho <= 1:
            raise ValueError(f"rho: expected a share from 0 to 1, got {self.rho}")

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:
        return [
            best_of(loss, self.restarts, lambda restart: self._climb(loss, images, threat, draw, restart))  # noqa: B023
            for threat in threats
        ]

    def _climb(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw, restart: int) -> Tensor:
        norm, clean = NORM[threat.norm], to_counts(images)
        now = before = random_start(clean, threat, draw, restart)
        value, gradient = loss.slope(from_counts(now), (restart, 0))
        best, best_value, best_gradient = now, value, gradient
        eta = torch.full_like(_wide(value), 2 * threat.radius)
        # Since the last checkpoint: how many steps gained, the best value then, and whether eta was halved there.
        gained, last_best, was_halved = torch.zeros_like(value), best_value, torch.zeros_like(value, dtype=torch.bool)
        at, last = set(checkpoints(self.steps)), 0
        for step in range(1, self.steps + 1):
            aim = norm.project(now + eta * norm.direction(gradient), clean, threat.radius)
            share = 0.75 if step > 1 else 1.0
            mixed = now + share * (aim - now) + (1 - share) * (now - before)
            before, now = now, norm.project(mixed, clean, threat.radius)
            previous = value
            if step < self.steps:
                value, gradient = loss.slope(from_counts(now), (restart, step))
            else:
                with torch.no_grad():
                    value = loss(from_counts(now))
            gained = gained + (value > previous)
            better = value > best_value
            best, best_gradient = (
                torch.where(_wide(better), new, old) for new, old in ((now, best), (gradient, best_gradient))
            )
            best_value = torch.where(better, value, best_value)
            if step in at and step < self.steps:
                stalls = (gained < self.rho * (step - last)) | (~was_halved & (best_value <= last_best))
                eta = torch.where(_wide(stalls), eta / 2, eta)
                now, gradient = (
                    torch.where(_wide(stalls), kept, new) for kept, new in ((best, now), (best_gradient, gradient))
                )
                value = torch.where(stalls, best_value, value)
                gained, last_best, was_halved, last = torch.zeros_like(gained), best_value, stalls, step
        return from_counts(best)

    def trace(self, threat: Threat) -> Trace:
        if threat.epsilon == 0:
            count = self.steps * self.restarts
            return Trace(gradients=(CLEAN,) * count, values=(CLEAN,), final=CLEAN, moments=self._moments)
        points = [
            [self._point(threat, restart, step) for step in range(self.steps + 1)] for restart in range(self.restarts)
        ]
        ends = tuple(walk[-1] for walk in points)
        bests = tuple(("apgd-best", self.steps, self.rho, threat, restart) for restart in range(self.restarts))
        return Trace(
            gradients=tuple(point for walk in points for point in walk[:-1]),
            values=ends + (bests if self.restarts > 1 else ()),
            final=bests[0] if self.restarts == 1 else ("apgd", self, threat),
            moments=self._moments,
        )

    @property
    def _moments(self) -> tuple[tuple[int, int], ...]:
        return tuple((restart, step) for restart in range(self.restarts) for step in range(self.steps))

    def _point(self, threat: Threat, restart: int, step: int) -> Hashable:
        return ("apgd", self.steps, self.rho, threat, restart, step) if step else start_point(threat, restart)


def _wide(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)
