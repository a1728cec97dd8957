"""What is maximised, apart from how: one number an image, from its feature and its references."""

from __future__ import annotations

from collections.abc import Mapping

from ...models.registry import unknown
from ..threat import Goal
from .base import Given, Objective
from .metric import Furthest, FurthestPull, FurthestSum, LocalGray, Opposite, Pull, Push, Self, TargetFeature
from .ranking import Evict, Lower, Misrank, NearestWrong, Raise, SoftAP
from .toward import TowardNearest

__all__ = ["OBJECTIVES", "Given", "Objective", "Pull", "Push", "objective_for"]

OBJECTIVES: Mapping[str, type[Objective]] = {
    "push": Push,
    "pull": Pull,
    "self": Self,
    "opposite": Opposite,
    "furthest": Furthest,
    "furthest-pull": FurthestPull,
    "furthest-sum": FurthestSum,
    "misrank": Misrank,
    "nearest-wrong": NearestWrong,
    "toward-nearest": TowardNearest,
    "evict": Evict,
    "raise": Raise,
    "lower": Lower,
    "target-feature": TargetFeature,
    "soft-ap": SoftAP,
    "local-gray": LocalGray,
}


def objective_for(name: str, goal: Goal) -> Objective:
    """The objective called `name`, with its usual parameters, under a goal. UserError for an unknown name."""
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    return OBJECTIVES[name]().toward() if goal == "targeted" else OBJECTIVES[name]()
