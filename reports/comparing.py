"""`robustreid.compare`: two sides in a notebook. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..leaderboards.gate.baseline import read_side
from ..leaderboards.gate.comparing import compare as compare_cells
from ..leaderboards.gate.policy import Policy, Rule, overridden, read_policy
from .verdicts import ShownComparison, shown


def compare(
    base: str | Path,
    new: str | Path,
    *,
    policy: str | Path | Policy | None = None,
    metrics: str | Sequence[str] | None = None,
    max_drop: float | None = None,
    strict: bool | None = None,
    rules: Sequence[Mapping[str, Any] | Rule] | None = None,
) -> ShownComparison:
    """What got worse from one side to the other; prints as a table, and shows as one in a notebook.

    Args:
        base: a run directory or a baseline.
        new: the same, measured later.
        policy: a policy file (docs/gate.md) or a `Policy`; what follows stands in place of what it says.
        metrics: which scores, such as "mAP_attacked,mAP_clean".
        max_drop: the largest drop that is allowed, points.
        strict: whether what is too coarse to tell fails the gate.
        rules: where something else holds, such as [{"select": "noise", "gate": False}].

    Returns:
        verdicts and `exit_code()`.

    Raises:
        UserError: the request is wrong; its sentence says what to do.
        InvalidFileError: a file does not read back.
    """
    asked = policy if isinstance(policy, Policy) else Policy() if policy is None else read_policy(policy)
    asked = overridden(
        asked,
        metrics=metric_names(metrics),
        max_drop=max_drop,
        strict=strict,
        rules=None if rules is None else [rule if isinstance(rule, Rule) else Rule(**rule) for rule in rules],
    )
    return shown(compare_cells(read_side(base), read_side(new), asked))


def metric_names(metrics: str | Sequence[str] | None) -> list[str] | None:
    """The names in a text that joins them with commas, or as they are."""
    if not isinstance(metrics, str):
        return None if metrics is None else list(metrics)
    return [name.strip() for name in metrics.split(",") if name.strip()]
