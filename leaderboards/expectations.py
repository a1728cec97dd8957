"""What a test asks of a model: one attack, and scores that have to be left. No torch, and no pytest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import UserError
from ..attacks.reliability.thresholds import FLAGS
from ..models.registry import nearest

#: What a mark may say of the cell: arguments of `robustreid.evaluate`.
OPTIONS = (
    *("attack", "epsilon", "side", "goal", "norm", "seeds", "perturb_at", "precision", "folding", "adaptive"),
    *("checks", "device", "batch_size", "workers", "fast_with", "compile", "trust_code"),
)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A score, and on which side of a number it has to lie."""

    #: The row's column.
    column: str
    #: Whether the number is the least that has to be left; else it is the most.
    is_least: bool
    #: The goal of the cells that have the column.
    goal: str = "untargeted"


#: By keyword.
BOUNDS: Mapping[str, Bound] = {
    "min_mAP": Bound(column="mAP_attacked", is_least=True),
    "min_rank1": Bound(column="rank1_attacked", is_least=True),
    "min_mINP": Bound(column="mINP_attacked", is_least=True),
    "min_clean_mAP": Bound(column="mAP_clean", is_least=True),
    "min_clean_rank1": Bound(column="rank1_clean", is_least=True),
    "max_target_mAP": Bound(column="target_mAP", is_least=False, goal="targeted"),
    "max_target_rank1": Bound(column="target_rank1", is_least=False, goal="targeted"),
}

#: Flags of rows whose attack may have found nothing because it could not look: a high score is then no robustness.
DOUBTS = ("zero-gradient", "unbounded-attack-fails")

_KNOWN = (*OPTIONS, *BOUNDS, "accept_flags")


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One mark: a cell, and what has to be left of the model's scores."""

    #: Arguments of `robustreid.evaluate`.
    options: Mapping[str, Any]
    #: By keyword of `BOUNDS`: a fraction in [0, 1].
    bounds: Mapping[str, float]
    #: Flags of `DOUBTS` under which bounds on attacked scores may be met nonetheless.
    accept_flags: tuple[str, ...] = field(default=())

    def failures(self, row: Mapping[str, Any]) -> list[str]:
        """Why a row does not meet it, a sentence a bound; empty where it does.

        Args:
            row: of a cell that is done, under the names of the stored columns.
        """
        found = []
        doubts = [name for name in DOUBTS if name in (row.get("flags") or ()) and name not in self.accept_flags]
        for keyword, limit in self.bounds.items():
            bound, score = BOUNDS[keyword], row[BOUNDS[keyword].column]
            is_met = score >= limit if bound.is_least else score <= limit
            if not is_met:
                relation = "below" if bound.is_least else "above"
                found.append(f"{bound.column} {100 * score:.2f} is {relation} {keyword} {100 * limit:.2f}")
            elif doubts and not bound.column.endswith("_clean"):
                found.append(
                    f"{keyword} {100 * limit:.2f} counts as missed: the row has the flag {doubts[0]} "
                    f"({FLAGS[doubts[0]].why}; docs/flags.md), which accept_flags={doubts!r} would pass over"
                )
        return found


def make_expectation(given: Mapping[str, Any]) -> Expectation:
    """The keywords of a mark as an expectation.

    Raises:
        UserError: a keyword is unknown, a bound is no fraction in [0, 1], or the cell's goal has no such score.
    """
    for keyword in given:
        if keyword not in _KNOWN:
            raise UserError(
                f"robust takes no keyword {keyword!r}.{nearest(keyword, _KNOWN)} It takes: {', '.join(_KNOWN)}."
            )
    goal = given.get("goal", "untargeted")
    bounds = {keyword: _fraction(keyword, given[keyword]) for keyword in BOUNDS if keyword in given}
    for keyword in bounds:
        if BOUNDS[keyword].goal != goal:
            fitting = [name for name, bound in BOUNDS.items() if bound.goal == goal]
            raise UserError(f"A cell with goal {goal!r} has no score for {keyword}; give {' or '.join(fitting)}.")
    return Expectation(
        options={keyword: given[keyword] for keyword in OPTIONS if keyword in given},
        bounds=bounds,
        accept_flags=_accepted(given.get("accept_flags", ())),
    )


def _fraction(keyword: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not 0 <= value <= 1:
        raise UserError(f"{keyword} is {value!r}; expected a fraction from 0 to 1, such as 0.30 for 30 points.")
    return float(value)


def _accepted(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    for name in names:
        if name not in DOUBTS:
            raise UserError(
                f"accept_flags holds {name!r}.{nearest(str(name), DOUBTS)} These spoil a bound: {', '.join(DOUBTS)}."
            )
    return names
