"""Whether a submission was attacked in the way that its own stages ask for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..entries import RESULTS
from ..measurements import Measurement, read_measurements
from .description import Description


def needs_adaptive_attack(description: Description) -> bool:
    """Whether it names stages that hide gradients or draw numbers, or stands behind a defence at test time."""
    return bool(
        description.random_stages or description.non_differentiable_stages or description.model_entry.get("defence")
    )


def has_its_own_attack(description: Description, measurements: Iterable[Measurement]) -> bool:
    """Whether the attack that it names as its own has a score among its rows."""
    if description.adaptive_attack is None:
        return False
    name = str(description.adaptive_attack["name"])
    return any(each.status == "done" and each.row.get("attack") == name for each in measurements)


def is_adaptively_evaluated(description: Description, folder: Path) -> bool:
    """Whether nothing asks for an adaptive attack, or the submission's own one has a score among its rows.

    A score that stands for nothing does not count: the attack must be named, and its cell must be done.
    """
    if not needs_adaptive_attack(description):
        return True
    if not (folder / RESULTS / "plan.json").is_file():
        return False
    return has_its_own_attack(description, read_measurements(folder / RESULTS))
