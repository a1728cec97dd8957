"""How the perturbation is found: one gradient step, several, with momentum, from random starts; and plain noise.

Every optimiser is a frozen set of parameters. It works on 8-bit counts (see `counts`), one threat after the other:
what two threats share is shared by the loss, which knows a gradient it has seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from torch import Tensor

from .counts import from_counts, to_counts
from .draw import Draw
from .loss import Loss
from .norms import NORM
from .threat import Threat

_ONE = Fraction(1, 255)

#: More steps an image than anybody takes; a slip of the keyboard should not hang a plan.
MAX_STEPS = 100_000


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The images at which one walk needs passes, as names: equal names are equal images.

    The planner counts distinct names over the cells of a group, so `plan` knows the cost before anything runs.
    """

    #: Where gradients are taken, in order.
    gradients: tuple[Hashable, ...]
    #: Where the objective is read without a gradient, in order.
    values: tuple[Hashable, ...]
    #: The image that is handed back.
    final: Hashable


class Optimiser(ABC):
    """A way to climb a loss inside a ball. Authors write `run` and `trace`; nobody trusts `run` to keep the budget."""

    #: Whether random numbers are drawn; where not, the cell's seed decides nothing.
    is_random: ClassVar[bool] = False
    #: Whether the loss is looked at.
    uses_loss: ClassVar[bool] = True

    @abstractmethod
    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:
        """Attacked images (B, 3, H, W) in [0, 1], one entry a threat; `images` are never changed in place."""

    @abstractmethod
    def trace(self, threat: Threat) -> Trace:
        """What `run` needs for one threat."""

    def is_whole(self, threat: Threat) -> bool:
        """Whether 8-bit images stay 8-bit images by construction, so that rounding them changes nothing."""
        return threat.epsilon == 0


def _step(counts: Tensor, direction: Tensor, size: float, clean: Tensor, threat: Threat) -> Tensor:
    norm = NORM[threat.norm]
    return norm.project(counts + size * norm.direction(direction), clean, threat.radius)


@dataclass(frozen=True, kw_only=True)
class FGSM(Optimiser):
    """One step of the whole radius along the gradient at the clean image."""

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:  # noqa: ARG002
        clean = to_counts(images)
        return [
            from_counts(_step(clean, loss.gradient(from_counts(clean)), threat.radius, clean, threat))
            for threat in threats
        ]

    def trace(self, threat: Threat) -> Trace:
        return Trace(gradients=(_CLEAN,), values=(), final=_point(threat, threat.epsilon, 0.0, 1))

    def is_whole(self, threat: Threat) -> bool:
        return _whole(threat, threat.epsilon)


_CLEAN = ("clean",)


def _whole(threat: Threat, size: Fraction) -> bool:
    counts = (threat.epsilon * 255, size * 255)
    return threat.epsilon == 0 or (threat.norm == "linf" and all(c.denominator == 1 for c in counts))


def _point(threat: Threat, size: Fraction, momentum: float, step: int) -> Hashable:
    """The name of the images after `step` steps.

    It tells the ball apart only once the ball can bind, and momentum only from the second step on, since the first
    direction is the gradient's own. L2 lengths are rounded, so there a ball may bind where it is just reached, and
    the first direction depends on the scale that momentum gives it.
    """
    if step == 0 or threat.epsilon == 0 or size == 0:
        return _CLEAN
    rounded = threat.norm == "l2"
    binds = step * size > threat.epsilon or (rounded and step > 1 and step * size == threat.epsilon)
    own = threat.epsilon if binds else None
    return ("walk", threat.norm, size, momentum if step > 1 or rounded else 0.0, step, own)


@dataclass(frozen=True, kw_only=True)
class IFGSM(Optimiser):
    """Steps of fixed length along the gradient, kept in the ball; with momentum it is MI-FGSM.

    Source: Bai et al. 2020 and its public code: x <- clip(x + alpha sign(g)), g <- mu g + grad / mean|grad| per
    image, over its channels and pixels; alpha = 1/255, int(min(eps + 4, 1.25 eps)) steps with eps in 8-bit units, no
    random start. Without momentum the gradient's scale cancels, so it is used as it is.
    """

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

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:  # noqa: ARG002
        return [self._walk(loss, images, threat) for threat in threats]

    def _walk(self, loss: Loss, images: Tensor, threat: Threat) -> Tensor:
        clean = to_counts(images)
        alpha = float(self.step_size * 255)
        counts, direction = clean, torch.zeros_like(clean)
        for _ in range(self.n_steps(threat)):
            gradient = loss.gradient(from_counts(counts))
            if self.momentum:
                scale = gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
                direction = self.momentum * direction + gradient / scale
            else:
                direction = gradient
            counts = _step(counts, direction, alpha, clean, threat)
        return from_counts(counts)

    def trace(self, threat: Threat) -> Trace:
        points = [_point(threat, self.step_size, self.momentum, step) for step in range(self.n_steps(threat) + 1)]
        return Trace(gradients=tuple(points[:-1]), values=(), final=points[-1])

    def is_whole(self, threat: Threat) -> bool:
        return _whole(threat, self.step_size)


@dataclass(frozen=True, kw_only=True)
class MIFGSM(IFGSM):
    """I-FGSM with momentum 1."""

    momentum: float = 1.0


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
        if self.steps < 1 or self.restarts < 1 or self.steps * self.restarts > MAX_STEPS:
            raise ValueError(
                f"steps and restarts: expected at least 1 each and at most {MAX_STEPS} steps in all, "
                f"got {self.steps} and {self.restarts}"
            )
        if self.step_ratio <= 0:
            raise ValueError(f"step_ratio: expected more than 0, got {self.step_ratio}")

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:
        return [self._best(loss, images, threat, draw) for threat in threats]

    def _best(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw) -> Tensor:
        best = self._climb(loss, images, threat, draw, 0)
        if self.restarts == 1:
            return best
        with torch.no_grad():
            value = loss(best)
            for restart in range(1, self.restarts):
                end = self._climb(loss, images, threat, draw, restart)
                found = loss(end)
                better = found > value
                value = torch.where(better, found, value)
                best = torch.where(better.reshape(-1, 1, 1, 1), end, best)
        return best

    def _climb(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw, restart: int) -> Tensor:
        norm, clean = NORM[threat.norm], to_counts(images)
        alpha = self.step_ratio * threat.radius / self.steps
        counts = clean + threat.radius * norm.start(draw.batch(restart, 0, clean))
        counts = norm.project(counts, clean, threat.radius)
        for _ in range(self.steps):
            counts = _step(counts, loss.gradient(from_counts(counts)), alpha, clean, threat)
        return from_counts(counts)

    def trace(self, threat: Threat) -> Trace:
        zero = threat.epsilon == 0
        points = [
            [_CLEAN if zero else self._point(threat, restart, step) for step in range(self.steps + 1)]
            for restart in range(self.restarts)
        ]
        ends = tuple(walk[-1] for walk in points)
        return Trace(
            gradients=tuple(point for walk in points for point in walk[:-1]),
            values=ends if self.restarts > 1 else (),
            final=ends[0] if self.restarts == 1 or zero else ("pgd", self, threat),
        )

    def _point(self, threat: Threat, restart: int, step: int) -> Hashable:
        """Starts depend on the ball alone, walks on the step length, neither on how many restarts there are."""
        return ("pgd", threat, restart, step, (self.steps, self.step_ratio) if step else None)


@dataclass(frozen=True, kw_only=True)
class Noise(Optimiser):
    """Random signs (L-inf) or a random direction (L2) of the whole budget: the control that an attack has to beat."""

    is_random: ClassVar[bool] = True
    uses_loss: ClassVar[bool] = False

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:  # noqa: ARG002
        clean = to_counts(images)
        ends = []
        for threat in threats:
            norm = NORM[threat.norm]
            counts = clean + threat.radius * norm.surface(draw.batch(0, 0, clean))
            ends.append(from_counts(norm.project(counts, clean, threat.radius)))
        return ends

    def trace(self, threat: Threat) -> Trace:
        return Trace(gradients=(), values=(), final=_CLEAN if threat.epsilon == 0 else ("noise", threat))

    def is_whole(self, threat: Threat) -> bool:
        return _whole(threat, threat.epsilon)
