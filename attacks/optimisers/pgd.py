"""Projected gradient ascent from random starts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..counts import from_counts, to_counts
from ..draw import Draw
from ..loss import Loss
from ..threat import Threat
from .base import CLEAN, Optimiser, Trace, best_of, check_steps, move, random_start, start_point


@dataclass(frozen=True, kw_only=True)
class PGD(Optimiser):
    """Projected gradient ascent from random points of the ball; of several restarts the best end is kept, per image.

    Madry et al. 2018 (arXiv 1706.06083). The step is `step_ratio` times epsilon / steps.
    """

    is_random: ClassVar[bool] = True

    steps: int = 20
    restarts: int = 1
    #: Step length in units of epsilon / steps.
    step_ratio: float = 2.5

    def __post_init__(self) -> None:
        check_steps(self.steps, self.restarts)
        if self.step_ratio <= 0:
            raise ValueError(f"step_ratio: expected more than 0, got {self.step_ratio}")

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:
        return [
            best_of(loss, self.restarts, lambda restart: self._climb(loss, images, threat, draw, restart))  # noqa: B023
            for threat in threats
        ]

    def _climb(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw, restart: int) -> Tensor:
        clean = to_counts(images)
        alpha = self.step_ratio * threat.radius / self.steps
        counts = random_start(clean, threat, draw, restart)
        for step in range(self.steps):
            counts = move(counts, loss.gradient(from_counts(counts), (restart, step)), alpha, clean, threat)
        return from_counts(counts)

    def trace(self, threat: Threat) -> Trace:
        zero = threat.epsilon == 0
        points = [
            [CLEAN if zero else self._point(threat, restart, step) for step in range(self.steps + 1)]
            for restart in range(self.restarts)
        ]
        ends = tuple(walk[-1] for walk in points)
        return Trace(
            gradients=tuple(point for walk in points for point in walk[:-1]),
            values=ends if self.restarts > 1 else (),
            final=ends[0] if self.restarts == 1 or zero else ("pgd", self, threat),
            moments=tuple((restart, step) for restart in range(self.restarts) for step in range(self.steps)),
        )

    def _point(self, threat: Threat, restart: int, step: int) -> Hashable:
        """Starts depend on the ball alone, walks on the step length, neither on how many restarts there are."""
        return ("pgd", threat, restart, step, self.steps, self.step_ratio) if step else start_point(threat, restart)
