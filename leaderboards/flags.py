"""What rows say of each other: flags that no row can raise by itself."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from ..attacks.reliability.thresholds import BLACK_BOX_BETTER, MORE_STEPS, RISE

Row = Mapping[str, Any]

#: Two rows are about one problem where they agree in these, and under one threat model where they agree in `_THREAT`.
_PROBLEM = (
    *("model", "model_sha256", "architecture", "metric", "precision", "dataset_sha256", "protocol"),
    *("perturb_at", "metric_version", "engine_version", "norm", "side", "goal"),
)
_ATTACK = ("knowledge", "surrogate", "seed", "references", "attack_version")


def flags_across(rows: Sequence[Row]) -> dict[str, frozenset[str]]:
    """The flags of scope `rows`, by cell id; rows that raise none are left out.

    Args:
        rows: under the names of the stored columns; those that are not done are passed over.
    """
    done = [row for row in rows if row.get("status") == "done" and _strength(row) is not None]
    found: dict[str, set[str]] = defaultdict(set)
    for name, finder in (
        ("black-box-beats-white-box", _beaten_by_black_box),
        ("score-rises-with-epsilon", _rising),
        ("more-steps-help", _not_converged),
    ):
        for row in finder(done):
            found[str(row["cell_id"])].add(name)
    return {cell_id: frozenset(names) for cell_id, names in found.items()}


def _strength(row: Row) -> float | None:
    """How much the adversary left, a fraction in [0, 1], smaller being better for the adversary."""
    if row.get("goal") == "untargeted":
        value = row.get("mAP_attacked")
        return None if value is None else float(value)
    value = row.get("target_mAP")
    return None if value is None else 1 - float(value)


def _left(row: Row) -> float:
    value = _strength(row)
    if value is None:
        raise ValueError("expected a row with a score")
    return value


def _key(row: Row, columns: Sequence[str]) -> tuple[Hashable, ...]:
    return tuple(row.get(column) for column in columns)


def _parameters(row: Row) -> dict[str, Any]:
    try:
        found = json.loads(row.get("attack_params") or "{}")
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _groups(rows: Sequence[Row], columns: Sequence[str], *, steps: bool = False) -> Iterator[list[Row]]:
    """Rows that agree in columns and in the attack's parameters, those of `steps` apart where asked."""
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        parameters = {key: value for key, value in _parameters(row).items() if not (steps and key == "steps")}
        groups[_key(row, columns), json.dumps(parameters, sort_keys=True)].append(row)
    yield from groups.values()


def _has_gradient(row: Row) -> bool:
    """Whether the adversary follows the gradient of the model itself."""
    return row.get("knowledge") == "white-box" and _parameters(row).get("optimiser") != "noise"


def _beaten_by_black_box(rows: Sequence[Row]) -> Iterator[Row]:
    """White-box rows of problems and epsilons where somebody without gradients did better than all of them."""
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        if float(row["epsilon"]) > 0:
            groups[_key(row, (*_PROBLEM, "epsilon"))].append(row)
    for same in groups.values():
        white = [row for row in same if _has_gradient(row)]
        black = [row for row in same if not _has_gradient(row)]
        if white and black and min(map(_left, black)) < min(map(_left, white)) - BLACK_BOX_BETTER:
            yield from white


def _rising(rows: Sequence[Row]) -> Iterator[Row]:
    """Rows whose score is higher than at some smaller epsilon of the same attack."""
    for same in _groups(rows, (*_PROBLEM, *_ATTACK, "attack")):
        lowest: float | None = None
        for row in sorted(same, key=lambda row: float(row["epsilon"])):
            if lowest is not None and _left(row) > lowest + RISE:
                yield row
            lowest = _left(row) if lowest is None else min(lowest, _left(row))


def _not_converged(rows: Sequence[Row]) -> Iterator[Row]:
    """Rows that the same attack with twice the steps beats."""
    for same in _groups(rows, (*_PROBLEM, *_ATTACK, "epsilon"), steps=True):
        by_steps = {_parameters(row).get("steps"): row for row in same}
        for steps, row in by_steps.items():
            twice = by_steps.get(2 * steps) if isinstance(steps, int) else None
            if twice is not None and _left(twice) < _left(row) - MORE_STEPS:
                yield row
