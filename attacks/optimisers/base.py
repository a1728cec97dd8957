"""What an optimiser is: a frozen set of parameters that climbs a loss inside a ball.

It works on 8-bit counts (see `counts`), one threat after the other: what two threats share is shared by the loss,
which knows a gradient it has seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..draw import Draw
from ..loss import Loss, Moment
from ..norms import NORM
from ..threat import Goal, Threat

#: More steps an image than anybody takes; a slip of the keyboard should not hang a plan.
MAX_STEPS = 100_000

#: The name of the clean image in a trace.
CLEAN = ("clean",)


def start_point(threat: Threat, restart: int) -> Hashable:
    """The name of the random point of the ball that a restart begins at: one for all optimisers and objectives."""
    return CLEAN if threat.epsilon == 0 else ("start", threat, restart)


def is_given(point: Hashable) -> bool:
    """Whether a point of a trace is the same whatever is climbed."""
    return isinstance(point, tuple) and point[0] in {"clean", "start", "noise"}


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
    #: For which restart and step each gradient is taken; None is one walk from its first step on.
    moments: tuple[Moment, ...] | None = None

    @property
    def known_moments(self) -> tuple[Moment, ...]:
        """Restart and step of each gradient."""
        return self.moments or tuple((0, step) for step in range(len(self.gradients)))

    @property
    def drawn_gradients(self) -> tuple[Hashable, ...]:
        """Where and when gradients are taken, for a loss that draws anew in every step."""
        return tuple(zip(self.gradients, self.known_moments, strict=True))


class Optimiser(ABC):
    """A way to climb a loss inside a ball. Authors write `run` and `trace`; nobody trusts `run` to keep the budget."""

    #: Whether random numbers are drawn; where not, the cell's seed decides nothing.
    is_random: ClassVar[bool] = False
    #: Whether the loss is looked at.
    uses_loss: ClassVar[bool] = True
    #: Whether gradients are taken; where not, the adversary asks for values alone.
    uses_gradients: ClassVar[bool] = True
    #: Whether the first gradient is taken at the clean image.
    starts_clean: ClassVar[bool] = False

    @abstractmethod
    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:
        """Attacked images (B, 3, H, W) in [0, 1], one entry a threat; `images` are never changed in place."""

    @abstractmethod
    def trace(self, threat: Threat) -> Trace:
        """What `run` needs for one threat."""

    def parameters(self) -> dict[str, Any]:
        """What decides its numbers, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def refuse(self, attack: str, threat: Threat, goal: Goal) -> None:  # noqa: B027 (most have nothing to refuse)
        """UserError where it has no meaning; `attack` is what the user calls it."""

    def flags(self, threat: Threat) -> frozenset[str]:  # noqa: ARG002
        """What a reader of its numbers must know."""
        return frozenset()

    def is_whole(self, threat: Threat) -> bool:
        """Whether 8-bit images stay 8-bit images by construction, so that rounding them changes nothing."""
        return threat.epsilon == 0


def move(counts: Tensor, direction: Tensor, size: float, clean: Tensor, threat: Threat) -> Tensor:
    """`counts` moved by `size` counts along a direction (B, 3, H, W), inside the ball and [0, 255]."""
    norm = NORM[threat.norm]
    return norm.project(counts + size * norm.direction(direction), clean, threat.radius)


def random_start(clean: Tensor, threat: Threat, draw: Draw, restart: int) -> Tensor:
    """Counts (B, 3, H, W) of a uniformly random point of the ball, inside [0, 255]."""
    norm = NORM[threat.norm]
    counts = clean + threat.radius * norm.start(draw.batch(restart, 0, clean))
    return norm.project(counts, clean, threat.radius)


def stays_whole(threat: Threat, size: Fraction) -> bool:
    """Whether steps of `size` (in [0, 1] pixel units) keep whole counts whole."""
    counts = (threat.epsilon * 255, size * 255)
    return threat.epsilon == 0 or (threat.norm == "linf" and all(c.denominator == 1 for c in counts))


def best_of(loss: Loss, restarts: int, climb: Callable[[int], Tensor]) -> Tensor:
    """Of what `climb` gives for each restart the best, image by image; the first of equals."""
    best = climb(0)
    if restarts == 1:
        return best
    with torch.no_grad():
        value = loss(best)
        for restart in range(1, restarts):
            end = climb(restart)
            found = loss(end)
            better = found > value
            value = torch.where(better, found, value)
            best = torch.where(better.reshape(-1, 1, 1, 1), end, best)
    return best


def check_steps(steps: int, restarts: int = 1) -> None:
    """ValueError where there is nothing to do, or more than anybody does."""
    if steps < 1 or restarts < 1 or steps * restarts > MAX_STEPS:
        raise ValueError(
            f"steps and restarts: expected at least 1 each and at most {MAX_STEPS} steps in all, "
            f"got {steps} and {restarts}"
        )
