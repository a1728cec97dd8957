"""The control that every attack has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..counts import from_counts, to_counts
from ..draw import Draw
from ..loss import Loss
from ..norms import NORM
from ..threat import Threat
from .base import CLEAN, Optimiser, Trace, stays_whole


@dataclass(frozen=True, kw_only=True)
class Noise(Optimiser):
    """Random signs (L-inf) or a random direction (L2) of the whole budget: the control that an attack has to beat."""

    is_random: ClassVar[bool] = True
    uses_loss: ClassVar[bool] = False
    uses_gradients: ClassVar[bool] = False

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:  # noqa: ARG002
        clean = to_counts(images)
        ends = []
        for threat in threats:
            norm = NORM[threat.norm]
            counts = clean + threat.radius * norm.surface(draw.batch(0, 0, clean))
            ends.append(from_counts(norm.project(counts, clean, threat.radius)))
        return ends

    def trace(self, threat: Threat) -> Trace:
        return Trace(gradients=(), values=(), final=CLEAN if threat.epsilon == 0 else ("noise", threat))

    def is_whole(self, threat: Threat) -> bool:
        return stays_whole(threat, threat.epsilon)
