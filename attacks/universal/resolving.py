"""The attack behind a fitted perturbation's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ... import UserError
from ...models.registry import nearest
from ..presets import FITTED
from .cell import Fitted, Universal, UniversalBySplit
from .perturbation import Perturbation, fitted_by

if TYPE_CHECKING:
    from ..catalogue import AttackSpec


def resolve(name: str, given: Mapping[str, Any]) -> AttackSpec:
    """What a grid's entry means.

    Args:
        name: a key of `FITTED`.
        given: `perturbation`, a `Perturbation` or one for each split of a data set; nothing else.

    Raises:
        UserError: no perturbation, that of another procedure, or a parameter beside it; two splits with one
            perturbation, or with perturbations of several sizes.
    """
    for key in given:
        if key != "perturbation":
            raise UserError(
                f"Attack {name!r} takes no parameter {key!r}.{nearest(key, ['perturbation'])} It takes: perturbation; "
                f"what it was fitted with stands in that file."
            )
    found = given.get("perturbation")
    if isinstance(found, tuple):
        return _by_split([_one(name, each) for each in found])
    return _one(name, found)


def _one(name: str, perturbation: Any) -> AttackSpec:
    from ..catalogue import AttackSpec

    return AttackSpec(
        name=name,
        version=FITTED[name].version,
        objective_name=name,
        objective=Fitted(),
        optimiser_name="universal",
        optimiser=Universal(perturbation=fitted_by(name, perturbation)),
        references="train",
        linf_only=True,
    )


def _by_split(specs: Sequence[AttackSpec]) -> AttackSpec:
    """One attack that stands for those of all splits."""
    known: dict[Perturbation, int] = {}
    for number, spec in enumerate(specs, start=1):
        fitted = fitted_by(spec.name, spec.perturbation)
        if fitted in known:
            raise UserError(
                f"{spec.name}: the splits {known[fitted]} and {number} have the same perturbation; give each the one "
                f"that was fitted on its own training images."
            )
        known[fitted] = number
    if len(sizes := {fitted.epsilon for fitted in known}) > 1:
        raise UserError(
            f"{specs[0].name}: the perturbations of the splits were fitted for {len(sizes)} different epsilons "
            f"({', '.join(str(size) for size in sorted(sizes))}); fit all of them for one."
        )
    return replace(specs[0], optimiser=UniversalBySplit(perturbations=tuple(known)), by_trial=tuple(specs))
