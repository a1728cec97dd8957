"""Attacks by name: presets that carry the paper's name, and any objective joined with any optimiser."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .. import UserError
from ..models.registry import Registry, nearest, unknown
from .base import Attack
from .objectives import OBJECTIVES, Objective
from .optimisers import Optimiser
from .parameters import parse
from .presets import PRESETS, SIDE_OF
from .references import REFERENCE_POLICIES, ReferencePolicy
from .threat import Goal, Side, Threat
from .transforms import TRANSFORMS, Lens, Transform

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
        "noise": ".optimisers.noise:Noise",
    },
    package=__package__,
    group="robustreid.optimisers",
)

#: Parameters of an attack that belong to no part of it.
_OWN = ("objective", "optimiser", "references", "transforms", "eot")
#: More samples a gradient than anybody takes.
_MOST_SAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class AttackSpec:
    """An attack as a grid asks for it: everything that can change its images, resolved."""

    name: str
    version: int
    objective_name: str
    #: Under an untargeted goal.
    objective: Objective
    optimiser_name: str
    optimiser: Optimiser
    references: ReferencePolicy
    linf_only: bool
    transform_names: tuple[str, ...] = ()
    transforms: tuple[Transform, ...] = ()
    #: Expectation over transformation: samples a gradient.
    eot: int = 1

    def parameters(self) -> dict[str, Any]:
        """The resolved parameters, as canonical JSON values; part of a cell's id and the column `attack_params`."""
        found: dict[str, Any] = {"objective": self.objective_name, "optimiser": self.optimiser_name}
        for part in (self.optimiser, self.objective, *self.transforms):
            for field in dataclasses.fields(part):  # type: ignore[arg-type]
                value = getattr(part, field.name)
                found[field.name] = str(value) if isinstance(value, Fraction) else value
        if self.transforms:
            found["transforms"] = "+".join(self.transform_names)
        if self.eot > 1:
            found["eot"] = self.eot
        return found

    @property
    def label(self) -> str:
        """How people tell attacks of one name apart: `ama-ifgsm`, `ama-ifgsm(steps=3)`."""
        if self.name not in PRESETS:
            return self.name
        usual = resolve_attack(self.name)
        found = {**self.parameters(), "references": self.references}
        known = {**usual.parameters(), "references": usual.references}
        changed = ",".join(f"{key}={value}" for key, value in found.items() if value != known.get(key))
        return f"{self.name}({changed})" if changed else self.name

    @property
    def lens(self) -> Lens:
        """What stands between images and model while gradients are taken."""
        return Lens(transforms=self.transforms, samples=self.eot)

    @property
    def sides(self) -> tuple[Side, ...]:
        """Whose images it changes."""
        return SIDE_OF.get(self.name, self.objective.sides)

    @property
    def uses_references(self) -> bool:
        """Whether the adversary has to own images beside the attacked one."""
        return self.optimiser.uses_loss and self.references != "self" and self.objective.uses_others

    @property
    def is_random(self) -> bool:
        """Whether anything is drawn beside references and targets."""
        return self.optimiser.is_random or self.draws_in_loss

    @property
    def draws_in_loss(self) -> bool:
        """Whether two seeds give two losses."""
        return self.optimiser.uses_loss and (self.objective.is_random or self.lens.is_random)

    def depends_on_seed(self, goal: Goal) -> bool:
        """Whether another seed can give other images."""
        return self.is_random or self.references == "single" or goal == "targeted"

    def objective_for(self, goal: Goal) -> Objective:
        """What is maximised under a goal."""
        return self.objective.toward() if goal == "targeted" else self.objective

    def build(self) -> Attack:
        """The attack itself."""
        return Attack(optimiser=self.optimiser)

    def refuse(self, threat: Threat, side: Side, goal: Goal) -> None:
        """UserError where the combination has no meaning: the grid should not ask for it."""
        if self.linf_only and threat.norm != "linf":
            raise UserError(f"{self.name} is defined for L-inf only, not {threat.norm}; use pgd for {threat.norm}.")
        scheduled = getattr(self.optimiser, "steps", 1) is None
        if scheduled and 0 < threat.epsilon < Fraction(1, 255):
            raise UserError(
                f"{self.name} has no step below 1/255 (epsilon {threat.label}): its schedule steps by whole grey "
                f"levels; use pgd there, or exclude the pair."
            )
        if self.references == "self" and side == "both":
            raise UserError(
                f"{self.name} with references `self` cannot attack both sides: both would move alike; "
                f"choose query or gallery."
            )
        if self.references == "self" and goal == "targeted":
            raise UserError(f"{self.name} with references `self` has no target; use other-side for goal targeted.")
        if side == "both" and goal == "targeted":
            raise UserError("Goal targeted is defined for one side, query or gallery, not for both.")
        if goal not in self.objective.goals:
            known = " and ".join(self.objective.goals)
            raise UserError(
                f"{self.name}: objective {self.objective_name!r} has no {goal} form, only {known}; "
                f"set `goal: {self.objective.goals[0]}` or exclude the pair."
            )
        if side not in self.sides:
            raise UserError(
                f"{self.name} changes images of the {' or '.join(self.sides)} side, not `side: {side}`; "
                f"choose that side or exclude the pair."
            )
        if self.objective.vanishes and self.optimiser.starts_clean and threat.epsilon:
            raise UserError(
                f"{self.name}: the gradient of objective {self.objective_name!r} is zero at the clean image, where "
                f"{self.optimiser_name} starts; use ifgsm-random, pgd, apgd or adam."
            )


def resolve_attack(name: str, options: Mapping[str, Any] | None = None) -> AttackSpec:
    """The attack a grid entry means: a preset with changes, or any objective joined with an optimiser.

    Raises:
        UserError: an unknown name or parameter (with the nearest one), or a value out of range.
    """
    given = dict(options or {})
    preset = PRESETS.get(name)
    if preset is None and not {"objective", "optimiser"} <= given.keys():
        raise UserError(
            f"{unknown('attack', name, PRESETS)} A new name needs both `objective` and `optimiser`; "
            f"docs/attacks.md lists them."
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
    if references not in REFERENCE_POLICIES:
        raise unknown("reference policy", str(references), REFERENCE_POLICIES)
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
