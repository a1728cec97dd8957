"""An attack that may change every pixel: it has to win, or it does not see the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor

from ..counts import from_counts, quantise, to_counts
from ..loss import Loss
from ..norms import NORM
from ..threat import Threat
from .thresholds import UNBOUNDED_EVERY, UNBOUNDED_STEP_RATIO, UNBOUNDED_STEPS

#: Every image within the pixel range.
WHOLE_RANGE = Threat(norm="linf", epsilon=Fraction(1))


@dataclass(frozen=True, kw_only=True)
class Walk:
    """One batch that is attacked without a budget."""

    loss: Loss
    #: (B, 3, H, W) in [0, 1], clean.
    images: Tensor


@dataclass(frozen=True, kw_only=True)
class Unbounded:
    """How it went."""

    reached: bool
    #: Steps that it took.
    steps: int


def attack_unbounded(walks: Sequence[Walk], is_reached: Callable[[list[Tensor]], bool]) -> Unbounded:
    """PGD over the whole pixel range on all batches side by side, until the goal is reached or steps are used up.

    It starts at the clean images: from a random point of this ball nothing of an image would be left, and noise alone
    would reach the goal.

    Args:
        walks: the batches.
        is_reached: told the 8-bit images (B, 3, H, W) of each batch.

    Raises:
        NonFiniteGradientError: a NaN or an infinity.
    """
    norm = NORM["linf"]
    size = UNBOUNDED_STEP_RATIO * WHOLE_RANGE.radius / UNBOUNDED_STEPS
    clean = [to_counts(walk.images) for walk in walks]
    counts = list(clean)
    for step in range(UNBOUNDED_STEPS):
        for index, walk in enumerate(walks):
            direction = norm.direction(walk.loss.gradient(from_counts(counts[index]), (0, step)))
            counts[index] = norm.project(counts[index] + size * direction, clean[index], WHOLE_RANGE.radius)
        if (step + 1) % UNBOUNDED_EVERY == 0:
            attacked = [quantise(from_counts(each), walk.images) for each, walk in zip(counts, walks, strict=True)]
            if is_reached(attacked):
                return Unbounded(reached=True, steps=step + 1)
    return Unbounded(reached=False, steps=UNBOUNDED_STEPS)
