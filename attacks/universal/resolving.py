"""The attack behind a fitted perturbation's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ... import UserError
from ...models.registry import nearest
from ..presets import FITTED
from .cell import Fitted, Universal
from .perturbation import fitted_by

if TYPE_CHECKING:
    from ..catalogue import AttackSpec


def resolve(name: str, given: Mapping[str, Any]) -> AttackSpec:
    """What a grid's entry means.

    Args:
        name: a key of `FITTED`.
        given: `perturbation`, a `Perturbation`; nothing else.

    Raises:
        UserError: no perturbation, that of another procedure, or a parameter beside it.
    """
    from ..catalogue import AttackSpec

    for key in given:
        if key != "perturbation":
            raise UserError(
                f"Attack {name!r} takes no parameter {key!r}.{nearest(key, ['perturbation'])} It takes: perturbation; "
                f"what it was fitted with stands in that file."
            )
    return AttackSpec(
        name=name,
        version=FITTED[name].version,
        objective_name=name,
        objective=Fitted(),
        optimiser_name="universal",
        optimiser=Universal(perturbation=fitted_by(name, given.get("perturbation"))),
        references="train",
        linf_only=True,
    )
