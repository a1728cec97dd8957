"""Walks of fixed steps along the gradient: FGSM, I-FGSM, MI-FGSM, NI-FGSM, and I-FGSM from a random start."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from torch import Tensor

from ..counts import from_counts, to_counts
from ..draw import Draw
from ..loss import Loss
from ..norms import NORM
from ..threat import Threat
from .base import CLEAN, MAX_STEPS, Optimiser, Trace, move, random_start, start_point, stays_whole

_ONE = Fraction(1, 255)


@dataclass(frozen=True, kw_only=True)
class FGSM(Optimiser):
    """One step of the whole radius along the gradient at the clean image."""

    starts_clean: ClassVar[bool] = True

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:  # noqa: ARG002
        clean = to_counts(images)
        return [
            from_counts(move(clean, loss.gradient(from_counts(clean)), threat.radius, clean, threat))
            for threat in threats
        ]

    def trace(self, threat: Threat) -> Trace:
        return Trace(gradients=(CLEAN,), values=(), final=_point(threat, threat.epsilon, 0.0, 1))

    def is_whole(self, threat: Threat) -> bool:
        return stays_whole(threat, threat.epsilon)


def _point(threat: Threat, size: Fraction, momentum: float, step: int) -> Hashable:
    """The name of the images after `step` steps.

    It tells the ball apart only once the ball can bind, and momentum only from the second step on, since the first
    direction is the gradient's own. L2 lengths are rounded, so there a ball may bind where it is just reached, be it
    by the first step, and the first direction depends on the scale that momentum gives it.
    """
    if step == 0 or threat.epsilon == 0 or size == 0:
        return CLEAN
    rounded = threat.norm == "l2"
    binds = step * size > threat.epsilon or (rounded and step * size == threat.epsilon)
    own = threat.epsilon if binds else None
    return ("walk", threat.norm, size, momentum if step > 1 or rounded else 0.0, step, own)


@dataclass(frozen=True, kw_only=True)
class IFGSM(Optimiser):
    """Steps of fixed length along the gradient, kept in the ball; with momentum it is MI-FGSM.

    Source: Bai et al. 2020 and its public code: x <- clip(x + alpha sign(g)), g <- mu g + grad / mean|grad| per
    image, over its channels and pixels; alpha = 1/255, int(min(eps + 4, 1.25 eps)) steps with eps in 8-bit units, no
    random start. Without momentum the gradient's scale cancels, so it is used as it is.
    """

    starts_clean: ClassVar[bool] = True

    #: mu, the share of the old direction that is kept.
    momentum: float = 0.0
    #: How many steps; None is the paper's schedule.
    steps: int | None = None
    #: alpha, in [0, 1] pixel units.
    step_size: Fraction = _ONE

    def __post_init__(self) -> None:
        if self.momentum < 0:
            raise ValueError(f"momentum: expected at least 0, got {self.momentum}")
        if self.steps is not None and not 1 <= self.steps <= MAX_STEPS:
            raise ValueError(f"steps: expected 1 to {MAX_STEPS}, got {self.steps}")
        if self.step_size <= 0:
            raise ValueError(f"step_size: expected more than 0, got {self.step_size}")

    def n_steps(self, threat: Threat) -> int:
        """How many steps are walked. At epsilon 0 the schedule has none; one is taken, so that nothing is skipped."""
        if self.steps is not None:
            return self.steps
        counts = threat.epsilon * 255
        return max(1, int(min(counts + 4, Fraction(5, 4) * counts)))

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:
        return [self._walk(loss, images, threat, draw) for threat in threats]

    def _walk(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw) -> Tensor:
        clean = to_counts(images)
        alpha = float(self.step_size * 255)
        counts, direction = self._start(clean, threat, draw), torch.zeros_like(clean)
        for step in range(self.n_steps(threat)):
            gradient = loss.gradient(from_counts(self._look(counts, direction, alpha, threat)), (0, step))
            if self.momentum:
                scale = gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
                direction = self.momentum * direction + gradient / scale
            else:
                direction = gradient
            counts = move(counts, direction, alpha, clean, threat)
        return from_counts(counts)

    def _start(self, clean: Tensor, threat: Threat, draw: Draw) -> Tensor:  # noqa: ARG002
        return clean

    def _look(self, counts: Tensor, direction: Tensor, alpha: float, threat: Threat) -> Tensor:  # noqa: ARG002
        """Where the next gradient is taken."""
        return counts

    def trace(self, threat: Threat) -> Trace:
        points = [_point(threat, self.step_size, self.momentum, step) for step in range(self.n_steps(threat) + 1)]
        return Trace(gradients=tuple(points[:-1]), values=(), final=points[-1])

    def is_whole(self, threat: Threat) -> bool:
        return stays_whole(threat, self.step_size)


@dataclass(frozen=True, kw_only=True)
class MIFGSM(IFGSM):
    """I-FGSM with momentum 1."""

    momentum: float = 1.0


@dataclass(frozen=True, kw_only=True)
class NIFGSM(MIFGSM):
    """MI-FGSM with Nesterov's look ahead: gradients are taken where the momentum would lead, x + alpha mu g.

    Lin et al. 2020 (ICLR, arXiv 1908.06281), with the gradient's mean absolute value as its unit, as everywhere here.
    For L2, where steps are as long as alpha, g is made one long first. The place looked at is kept in [0, 1].
    """

    def _look(self, counts: Tensor, direction: Tensor, alpha: float, threat: Threat) -> Tensor:
        if threat.norm == "l2":
            direction = NORM[threat.norm].direction(direction)
        return (counts + alpha * self.momentum * direction).clamp(0, 255)

    def trace(self, threat: Threat) -> Trace:
        points = [_point(threat, self.step_size, self.momentum, step) for step in range(self.n_steps(threat) + 1)]
        ahead = [CLEAN if point is CLEAN else ("ahead", self.momentum, point) for point in points]
        # The first step is that of MI-FGSM; later ones have looked elsewhere.
        final = points[-1] if len(points) == 2 else ahead[-1]
        return Trace(gradients=tuple(ahead[:-1]), values=(), final=final)


@dataclass(frozen=True, kw_only=True)
class RandomIFGSM(IFGSM):
    """I-FGSM from a random point of the ball, as attacks need whose gradient is zero at the clean image.

    Without a number of steps there are round(min(eps + 4, 1.25 eps)), the schedule of ODFA's public code.
    """

    is_random: ClassVar[bool] = True
    starts_clean: ClassVar[bool] = False

    def n_steps(self, threat: Threat) -> int:
        if self.steps is not None:
            return self.steps
        counts = threat.epsilon * 255
        return max(1, round(min(counts + 4, Fraction(5, 4) * counts)))

    def _start(self, clean: Tensor, threat: Threat, draw: Draw) -> Tensor:
        return random_start(clean, threat, draw, 0)

    def trace(self, threat: Threat) -> Trace:
        def point(step: int) -> Hashable:
            if step == 0 or threat.epsilon == 0:
                return start_point(threat, 0)
            momentum = self.momentum if step > 1 or threat.norm == "l2" else 0.0
            return ("from-random", threat, self.step_size, momentum, step)

        points = [point(step) for step in range(self.n_steps(threat) + 1)]
        return Trace(gradients=tuple(points[:-1]), values=(), final=points[-1])

    def is_whole(self, threat: Threat) -> bool:
        return threat.epsilon == 0
