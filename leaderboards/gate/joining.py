"""Cells of two sides joined on what they mean, never on their place or their name. No torch.

Two cells mean the same where these agree: data digest, protocol, attack with its parameters, references, norm, epsilon,
side, goal, seed, where it is perturbed, what the adversary knows, and the model: by label, or as the only one of each
side. Versions and precision decide no meaning but whether scores compare: where they differ, the pair says so.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ... import UserError
from ..measurements import Measurement

#: Where these differ, it is another problem.
_PROBLEM = ("dataset_sha256", "protocol", "attack_params", "references", "perturb_at")
#: Where these differ, it is the same problem, measured otherwise.
_MEASURE = ("attack_version", "metric_version", "engine_version", "precision")
#: Where these differ, nobody would look for the other cell here; with the data set's label in place of its digest.
_PLACE = ("attack", "norm", "epsilon", "side", "goal", "seed", "knowledge", "surrogate")

_TITLES: Mapping[str, str] = {
    "dataset_sha256": "data digest",
    "protocol": "protocol",
    "references": "references",
    "perturb_at": "perturb_at",
    "attack_version": "attack version",
    "metric_version": "metric version",
    "engine_version": "engine version",
    "precision": "precision",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """A cell of one side and the cell of the other that means the same; None where there is none."""

    base: Measurement | None
    new: Measurement | None
    #: Why their scores do not compare, a few words each; empty where they do.
    differences: tuple[str, ...] = ()

    @property
    def known(self) -> Measurement:
        """The one of BASE, or the only one there is."""
        found = self.base or self.new
        if found is None:
            raise ValueError("expected a pair of at least one cell")
        return found


def tail(cell: Measurement) -> str:
    """A cell's label without its model: `mini ama-ifgsm linf 4/255 gallery`."""
    made = f"{cell.dataset} {cell.row.get('attack')} {cell.row.get('norm')} {cell.row.get('epsilon_label')}"
    return cell.label.removeprefix(f"{cell.model} ") or f"{made} {cell.row.get('side')}"


def join(base: Sequence[Measurement], new: Sequence[Measurement], *, by_label: bool = False) -> tuple[Pair, ...]:
    """Every cell of either side once: those of BASE in their order, then those that only NEW has.

    A cell of BASE that has no equal in NEW is joined with one in the same place that differs in what is measured there
    (another data digest, other parameters), so that the difference can be named.

    Args:
        base: what was measured before.
        new: what is measured now.
        by_label: whether models are told apart by label even where each side has one.

    Raises:
        UserError: one side holds two results for one cell.
    """
    models = _paired_models(base, new, by_label=by_label)
    left, right = _distinct(base), _distinct(new)
    partners: dict[int, int] = {}
    for key in (_meaning, _place):
        free: dict[Hashable, list[int]] = defaultdict(list)
        taken = set(partners.values())
        for place, cell in enumerate(right):
            if cell.status != "missing" and place not in taken:
                free[cell.model, key(cell)].append(place)
        for place, cell in enumerate(left):
            candidates = free.get((models.get(cell.model), key(cell)), [])
            if cell.status == "missing" or place in partners or not candidates:
                continue
            partners[place] = min(candidates, key=lambda other: (len(differences(cell, right[other])), other))
            candidates.remove(partners[place])
    planned = {(cell.model, tail(cell)): place for place, cell in enumerate(right) if cell.status == "missing"}
    pairs, used = [], set(partners.values())
    for place, cell in enumerate(left):
        if place in partners:
            other = right[partners[place]]
            pairs.append(Pair(base=cell, new=other, differences=differences(cell, other)))
        elif cell.status != "missing":
            waiting = planned.get((models.get(cell.model, ""), tail(cell)))
            used |= set() if waiting is None else {waiting}
            pairs.append(Pair(base=cell, new=None if waiting is None else right[waiting]))
    return (*pairs, *(Pair(base=None, new=cell) for place, cell in enumerate(right) if place not in used))


def _paired_models(base: Sequence[Measurement], new: Sequence[Measurement], *, by_label: bool) -> dict[str, str]:
    """Which model of NEW stands for one of BASE: that of its label, or the only one of each side."""
    left, right = ({cell.model: None for cell in side} for side in (base, new))
    if len(left) == len(right) == 1 and not by_label:
        return dict(zip(left, right, strict=True))
    return {model: model for model in left if model in right}


def _distinct(side: Sequence[Measurement]) -> list[Measurement]:
    """Each cell once: a data set that is listed under two labels is one."""
    found: dict[Hashable, Measurement] = {}
    kept = []
    for cell in side:
        if cell.status == "missing":
            kept.append(cell)
            continue
        key = (cell.model, _meaning(cell), tuple(cell.row.get(column) for column in _MEASURE))
        if key not in found:
            found[key] = cell
            kept.append(cell)
        elif found[key].cell_id != cell.cell_id:
            raise UserError(
                f"{str(cell.source)!r} holds two results for {cell.label!r}; give a side with one result a cell."
            )
    return kept


def _meaning(cell: Measurement) -> Hashable:
    protocol, _ = _protocol(cell)
    problem = tuple(cell.row.get(column) for column in ("dataset_sha256", "references", "perturb_at"))
    return (protocol, problem, _parameters(cell), tuple(cell.row.get(column) for column in _PLACE))


def _place(cell: Measurement) -> Hashable:
    return (cell.dataset, tuple(cell.row.get(column) for column in _PLACE))


def _protocol(cell: Measurement) -> tuple[str, str]:
    name, _, version = str(cell.row.get("protocol")).rpartition("-v")
    return name, version


def _parameters(cell: Measurement) -> str:
    """Canonical JSON of the attack's parameters."""
    return json.dumps(_decoded(cell), sort_keys=True)


def _decoded(cell: Measurement) -> Any:
    text = cell.row.get("attack_params")
    try:
        return json.loads(text or "{}")
    except (TypeError, ValueError, RecursionError):
        return text


def differences(base: Measurement, new: Measurement) -> tuple[str, ...]:
    """What keeps the scores of two cells from being compared, a few words each.

    The model's own metric (cosine or euclidean) is none of it: it belongs to what the model is, as its weights do.
    """
    found = []
    for column in (*_PROBLEM, *_MEASURE):
        if column == "attack_params":
            found += _changed_parameters(base, new)
            continue
        before, after = base.row.get(column), new.row.get(column)
        if before != after:
            found.append(f"{_TITLES[column]} {_short(before)} in BASE, {_short(after)} in NEW")
    return tuple(found)


def _changed_parameters(base: Measurement, new: Measurement) -> list[str]:
    before, after = _decoded(base), _decoded(new)
    if before == after:
        return []
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return ["attack parameters"]
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return [f"{name} {_short(before.get(name))} in BASE, {_short(after.get(name))} in NEW" for name in names]


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
