"""Toward the nearest wrong identities, one by one: the retrieval form of a targeted attack on the runner-up classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..references import References
from ..threat import Goal
from .base import Objective, neighbours_of

#: As many neighbours as anybody aims at.
_MOST = 100


@dataclass(frozen=True, kw_only=True)
class TowardNearest(Objective):
    """-||f - c||^2, c being the centroid of the wrong identity that is nearest, second nearest ... to the clean image.

    Chosen once. After the targeted members of Croce and Hein 2020 (arXiv 2003.01690), with identities for classes.
    """

    needs_neighbours: ClassVar[bool] = True
    goals: ClassVar[tuple[Goal, ...]] = ("untargeted",)

    #: 1 for the nearest; where there are fewer others, the last one.
    neighbour: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.neighbour <= _MOST:
            raise ValueError(f"neighbour: expected 1 to {_MOST}, got {self.neighbour}")

    def __call__(self, features: Tensor, references: References) -> Tensor:
        aim = neighbours_of(references).nearest_others(self.neighbour)[:, -1]
        return -(features - aim).square().sum(1)
