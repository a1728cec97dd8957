"""A fitted perturbation as an ordinary attack: added to every image, no gradient taken."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..counts import from_counts, to_counts
from ..draw import Draw
from ..loss import Loss
from ..norms import NORM
from ..objectives.metric import Self
from ..optimisers.base import CLEAN, Optimiser, Trace
from ..threat import Goal, Side, Threat
from .perturbation import Perturbation

#: Raised where a cell's epsilon is larger than the one that the perturbation was fitted for.
FLAG_SMALLER = "fitted-for-less"


@dataclass(frozen=True, kw_only=True)
class Fitted(Self):
    """What stands in the place of an objective: how far a feature moved from its own clean one.

    Nothing of the images under attack is maximised; what was, when the perturbation was fitted, is its procedure's.
    """

    goals: ClassVar[tuple[Goal, ...]] = ("untargeted",)
    #: Not both: both sides would move alike.
    sides: ClassVar[tuple[Side, ...]] = ("query", "gallery")


@dataclass(frozen=True, kw_only=True)
class Universal(Optimiser):
    """Adds the perturbation, resized to the images (bilinear) and clamped to the ball of the cell, inside [0, 1].

    At a smaller epsilon than it was fitted for its entries are clipped; at a larger one it stays as it is, since
    nobody fitted more: the row then understates what a perturbation of that radius can do, and is flagged.
    """

    uses_loss: ClassVar[bool] = False
    uses_gradients: ClassVar[bool] = False

    perturbation: Perturbation

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:  # noqa: ARG002
        clean = to_counts(images)
        moved = clean + 255 * self.perturbation.at(images)
        return [from_counts(NORM[threat.norm].project(moved, clean, threat.radius)) for threat in threats]

    def flags(self, threat: Threat) -> frozenset[str]:
        return frozenset({FLAG_SMALLER}) if threat.epsilon > self.perturbation.epsilon else frozenset()

    def trace(self, threat: Threat) -> Trace:
        final = CLEAN if threat.epsilon == 0 else ("universal", self.perturbation, threat)
        return Trace(gradients=(), values=(), final=final)


@dataclass(frozen=True, kw_only=True)
class UniversalBySplit(Optimiser):
    """What a catalogue and a plan know of a perturbation for each split of a data set; `of_trial` gives what runs."""

    uses_loss: ClassVar[bool] = False
    uses_gradients: ClassVar[bool] = False

    #: The first split's first.
    perturbations: tuple[Perturbation, ...]

    @property
    def sha256(self) -> str:
        """Digest of all of them, hexadecimal."""
        return hashlib.sha256("\n".join(self.parameters()["perturbation"]).encode()).hexdigest()

    def parameters(self) -> dict[str, Any]:
        """The digests of all, under the name that one alone has."""
        return {"perturbation": [each.sha256 for each in self.perturbations]}

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:
        raise NotImplementedError("a perturbation for each split is run split by split; see `AttackSpec.of_trial`")

    def trace(self, threat: Threat) -> Trace:
        final = CLEAN if threat.epsilon == 0 else ("universal", self.perturbations, threat)
        return Trace(gradients=(), values=(), final=final)
