"""What is maximised, apart from how: one number an image, from its feature and its references.

Equations: Bai et al. 2020 (arXiv 1901.10650) and the paper's public code. MSE's 1/D is left out: it cancels in a
sign step and in MI-FGSM's normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from ..models.registry import unknown
from .references import References
from .threat import Goal


class Objective(Protocol):
    """Anything that maps features (B, D) and references to (B,), larger being better for the adversary.

    The value of an image must depend on that image alone.
    """

    def __call__(self, features: Tensor, references: References) -> Tensor:
        """(B,), maximised."""
        ...


def push(features: Tensor, references: References) -> Tensor:
    """AMA: away from every reference, sum over r of ||f - r||^2 up to a constant."""
    return references.count * (features - references.mean).square().sum(1)


def pull(features: Tensor, references: References) -> Tensor:
    """AMA, targeted: toward every reference."""
    return -push(features, references)


OBJECTIVES: Mapping[str, Objective] = {"push": push, "pull": pull}

#: The objective that stands in for another one when the goal is targeted.
TARGETED: Mapping[str, str] = {"push": "pull", "pull": "pull"}


def objective_for(name: str, goal: Goal) -> Objective:
    """The objective called `name` under a goal. UserError for an unknown name."""
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    return OBJECTIVES[TARGETED[name] if goal == "targeted" else name]
