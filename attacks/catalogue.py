"""Attacks by name: presets that carry the paper's name, and any objective joined with any optimiser."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .. import UserError
from ..models.registry import Registry, nearest, unknown
from .bridge import is_foreign
from .ensemble import AUTO_VERSION, Ensemble, Whatever
from .objectives import OBJECTIVES
from .parameters import parse
from .presets import FITTED, PRESETS
from .references import REFERENCE_POLICIES
from .spec import AttackSpec
from .transforms import TRANSFORMS

__all__ = ["OPTIMISERS", "PRESETS", "AttackSpec", "resolve_attack"]

OPTIMISERS = Registry(
    kind="optimiser",
    table={
        "fgsm": ".optimisers.walks:FGSM",
        "ifgsm": ".optimisers.walks:IFGSM",
        "mifgsm": ".optimisers.walks:MIFGSM",
        "nifgsm": ".optimisers.walks:NIFGSM",
        "ifgsm-random": ".optimisers.walks:RandomIFGSM",
        "pgd": ".optimisers.pgd:PGD",
        "apgd": ".optimisers.apgd:APGD",
        "adam": ".optimisers.adam:Adam",
        "square": ".optimisers.square:Square",
        "noise": ".optimisers.noise:Noise",
    },
    package=__package__,
    group="robustreid.optimisers",
)

#: Parameters of an attack that belong to no part of it.
_OWN = ("objective", "optimiser", "references", "transforms", "eot")
#: What `references` may be in a grid; `train` is that of fitted perturbations alone.
_ASKED_FOR = tuple(policy for policy in REFERENCE_POLICIES if policy != "train")
#: More samples a gradient than anybody takes.
_MOST_SAMPLES = 1000


def resolve_attack(name: str, options: Mapping[str, Any] | None = None) -> AttackSpec:
    """The attack a grid entry means: a preset with changes, or any objective joined with an optimiser.

    Raises:
        UserError: an unknown name or parameter (with the nearest one), or a value out of range.
    """
    given = dict(options or {})
    if is_foreign(name):
        from .bridge.foreign import resolve

        return resolve(name, given)
    if name in FITTED:
        from .universal.resolving import resolve as resolve_fitted

        return resolve_fitted(name, given)
    if name == "auto":
        return _auto(given)
    preset = PRESETS.get(name)
    if preset is None and not {"objective", "optimiser"} <= given.keys():
        raise UserError(
            f"{unknown('attack', name, [*PRESETS, *FITTED, 'auto'])} A new name needs both `objective` and "
            f"`optimiser`; docs/attacks.md lists them."
        )
    objective = str(given.pop("objective", preset.objective if preset else ""))
    optimiser = str(given.pop("optimiser", preset.optimiser if preset else ""))
    references = given.pop("references", preset.references if preset else None)
    transforms = given.pop("transforms", preset.transforms if preset else ())
    eot = given.pop("eot", 1)
    if preset and (objective, optimiser) != (preset.objective, preset.optimiser):
        raise UserError(
            f"{name} is {preset.objective} by {preset.optimiser}; give {objective} by {optimiser} another name."
        )
    if objective not in OBJECTIVES:
        raise unknown("objective", objective, OBJECTIVES)
    if references is None:
        references = "other-side" if OBJECTIVES[objective].uses_others else "self"
    if references not in _ASKED_FOR:
        raise unknown("reference policy", str(references), _ASKED_FOR)
    if isinstance(eot, bool) or not isinstance(eot, int) or not 1 <= eot <= _MOST_SAMPLES:
        raise UserError(f"Attack {name!r}: eot: expected 1 to {_MOST_SAMPLES} samples a gradient, got {eot!r}.")
    names = _transform_names(name, transforms)
    kinds = {
        f"objective {objective}": OBJECTIVES[objective],
        f"optimiser {optimiser}": OPTIMISERS.load(optimiser),
        **{f"transform {each}": TRANSFORMS[each] for each in names},
    }
    parts = _build(name, kinds, {**(preset.parameters if preset else {}), **given})
    return AttackSpec(
        name=name,
        version=preset.version if preset else 1,
        objective_name=objective,
        objective=parts[0],
        optimiser_name=optimiser,
        optimiser=parts[1],
        references=references,
        linf_only=preset.linf_only if preset else False,
        transform_names=names,
        transforms=tuple(parts[2:]),
        eot=eot,
    )


def _auto(given: Mapping[str, Any]) -> AttackSpec:
    if given:
        raise UserError(
            f"Attack 'auto' takes no parameter {next(iter(given))!r}: it is the standard ensemble, the same for "
            f"everybody; give an attack of your own another name."
        )
    return AttackSpec(
        name="auto",
        version=AUTO_VERSION,
        objective_name="ensemble",
        objective=Whatever(),
        optimiser_name="auto",
        optimiser=Ensemble(),
        references="other-side",
        linf_only=True,
    )


def _transform_names(attack: str, given: Any) -> tuple[str, ...]:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list | tuple):
        raise UserError(f"Attack {attack!r}: transforms: expected names such as [di, ti], got {given!r}.")
    for index, name in enumerate(names):
        if name not in TRANSFORMS:
            raise unknown("transform", str(name), TRANSFORMS)
        if name in names[:index]:
            raise UserError(f"Attack {attack!r}: transforms: {name!r} stands there twice; remove one.")
    return tuple(names)


def _build(attack: str, kinds: Mapping[str, type], given: Mapping[str, Any]) -> list[Any]:
    """The parts of an attack, each with those of the given parameters that are its own."""
    known = {field.name for kind in kinds.values() for field in dataclasses.fields(kind)}
    for key in given:
        if key not in known:
            takes = ", ".join(f.name for kind in kinds.values() for f in dataclasses.fields(kind)) or "none"
            raise UserError(
                f"Attack {attack!r} takes no parameter {key!r}.{nearest(key, known)} It takes: {takes}; "
                f"and: {', '.join(_OWN)}."
            )
    try:
        return [
            kind(**{f.name: parse(f, given[f.name]) for f in dataclasses.fields(kind) if f.name in given})
            for kind in kinds.values()
        ]
    except ValueError as error:
        raise UserError(f"Attack {attack!r}: {error}.") from error
