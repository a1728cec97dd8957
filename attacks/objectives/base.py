"""What an objective is: parameters, and a function of features and references."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..neighbours import Neighbours
from ..references import References
from ..threat import GOALS, SIDES, Goal, Side


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """Maps features (B, D) and references to (B,), larger being better for the adversary; its fields are parameters.

    The value of an image must depend on that image alone.
    """

    #: Whether it looks at `References.neighbours`.
    needs_neighbours: ClassVar[bool] = False
    #: Whether its gradient is zero at the clean image, so that an attack has to start elsewhere.
    vanishes: ClassVar[bool] = False
    #: Whether it looks at changed copies of the clean images, anew in every step (`view`).
    moves: ClassVar[bool] = False
    #: On which sides it looks at other images of the attacked side too.
    peers_on: ClassVar[tuple[Side, ...]] = ()
    #: Whether it looks at images of the other side at all, or only at the attacked one.
    uses_others: ClassVar[bool] = True
    #: Where it has a meaning.
    goals: ClassVar[tuple[Goal, ...]] = GOALS
    sides: ClassVar[tuple[Side, ...]] = SIDES

    @property
    def is_random(self) -> bool:
        """Whether another seed can give other values."""
        return False

    @abstractmethod
    def __call__(self, features: Tensor, references: References) -> Tensor:
        """(B,), maximised."""

    def toward(self) -> Objective:
        """The objective that stands in for this one where the goal is targeted."""
        return self

    def view(self, clean: Tensor, uniform: Callable[[Sequence[int]], Tensor]) -> Tensor:  # noqa: ARG002
        """Images whose features take the place of the clean ones in this step, where `moves`.

        Args:
            clean: (B, 3, H, W) in [0, 1], the images before the attack.
            uniform: gives uniform numbers (B, *shape) in [0, 1) of this step, for a shape.
        """
        return clean


@dataclass(frozen=True, kw_only=True)
class Given(Objective):
    """An objective that is a function of features (B, D) and references: for a trial in a notebook."""

    function: Callable[[Tensor, References], Tensor]

    def __call__(self, features: Tensor, references: References) -> Tensor:
        return self.function(features, references)


def neighbours_of(references: References) -> Neighbours:
    """The neighbours, which an objective that says it needs them has."""
    if references.neighbours is None:
        raise ValueError("expected references with neighbours: the objective says that it needs them")
    return references.neighbours


def clean_of(references: References) -> Tensor:
    """(B, D), the clean features of the attacked images themselves."""
    if references.clean is None:
        raise ValueError("expected references with the clean features of the attacked images")
    return references.clean
