"""Adam on the perturbation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..counts import from_counts, to_counts
from ..draw import Draw
from ..loss import Loss
from ..norms import NORM
from ..threat import Threat
from .base import CLEAN, Optimiser, Trace, check_steps, random_start, start_point


@dataclass(frozen=True, kw_only=True)
class Adam(Optimiser):
    """Adam (Kingma and Ba 2015, arXiv 1412.6980) from a random point, projected onto the ball after each step.

    The public code of the re-ID attacks that use it has a learning rate of 0.1 in normalised pixels, whose unit is
    0.226; steps below about 20 leave it far from its end.
    """

    is_random: ClassVar[bool] = True

    steps: int = 100
    #: In [0, 1] pixel units.
    learning_rate: float = 0.0226
    beta1: float = 0.9
    beta2: float = 0.999

    def __post_init__(self) -> None:
        check_steps(self.steps)
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate: expected more than 0, got {self.learning_rate}")
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError(f"beta1, beta2: expected at least 0 and less than 1, got {self.beta1} and {self.beta2}")

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:
        return [self._climb(loss, images, threat, draw) for threat in threats]

    def _climb(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw) -> Tensor:
        norm, clean = NORM[threat.norm], to_counts(images)
        counts = random_start(clean, threat, draw, 0)
        mean, square = torch.zeros_like(clean), torch.zeros_like(clean)
        for step in range(self.steps):
            gradient = loss.gradient(from_counts(counts), (0, step))
            mean = self.beta1 * mean + (1 - self.beta1) * gradient
            square = self.beta2 * square + (1 - self.beta2) * gradient.square()
            unbiased = mean / (1 - self.beta1 ** (step + 1))
            spread = (square / (1 - self.beta2 ** (step + 1))).sqrt()
            counts = counts + 255 * self.learning_rate * unbiased / (spread + 1e-8)
            counts = norm.project(counts, clean, threat.radius)
        return from_counts(counts)

    def trace(self, threat: Threat) -> Trace:
        def point(step: int) -> object:
            if step == 0 or threat.epsilon == 0:
                return start_point(threat, 0)
            return ("adam", self.learning_rate, self.beta1, self.beta2, threat, step)

        return Trace(
            gradients=tuple(point(step) for step in range(self.steps)),
            values=(),
            final=CLEAN if threat.epsilon == 0 else point(self.steps),
        )
