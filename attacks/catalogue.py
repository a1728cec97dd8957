"""Attacks by name: presets that carry the paper's name, and any objective joined with any optimiser."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from .. import UserError
from ..models.registry import Registry, nearest, unknown
from .base import Attack
from .objectives import OBJECTIVES, TARGETED, Objective, objective_for
from .optimisers import Optimiser
from .references import REFERENCE_POLICIES, ReferencePolicy
from .threat import Goal, Side, Threat, parse_epsilon

OPTIMISERS = Registry(
    kind="optimiser",
    table={
        "fgsm": ".optimisers:FGSM",
        "ifgsm": ".optimisers:IFGSM",
        "mifgsm": ".optimisers:MIFGSM",
        "pgd": ".optimisers:PGD",
        "noise": ".optimisers:Noise",
    },
    package=__package__,
    group="robustreid.optimisers",
)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A published attack as a point in objective x optimiser."""

    objective: str
    optimiser: str
    #: One line for `robustreid ls attacks`.
    summary: str
    #: Where its equations stand.
    source: str
    #: Raised by hand when its numbers can change.
    version: int = 1
    references: ReferencePolicy = "other-side"
    #: Whether only L-inf is defined for it.
    linf_only: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)


_AMA = "Bai, Li, Zhou, Li, Torr 2020 (arXiv 1901.10650)"

PRESETS: Mapping[str, Preset] = {
    "ama-fgsm": Preset(
        objective="push", optimiser="fgsm", source=_AMA, linf_only=True, summary="one step of epsilon, metric attack"
    ),
    "ama-ifgsm": Preset(
        objective="push", optimiser="ifgsm", source=_AMA, linf_only=True, summary="steps of 1/255, the paper's schedule"
    ),
    "ama-mifgsm": Preset(
        objective="push", optimiser="mifgsm", source=_AMA, linf_only=True, summary="the same with momentum 1"
    ),
    "pgd": Preset(
        objective="push",
        optimiser="pgd",
        source="Madry et al. 2018 (arXiv 1706.06083)",
        summary="random starts, steps scaled by epsilon, restarts",
    ),
    "noise": Preset(
        objective="push", optimiser="noise", source="the control", summary="random signs of the same budget"
    ),
}


@dataclass(frozen=True, kw_only=True)
class AttackSpec:
    """An attack as a grid asks for it: everything that can change its images, resolved."""

    name: str
    version: int
    objective: str
    optimiser_name: str
    optimiser: Optimiser
    references: ReferencePolicy
    linf_only: bool

    def parameters(self) -> dict[str, Any]:
        """The resolved parameters, as canonical JSON values; part of a cell's id and the column `attack_params`."""
        fields = {f.name: getattr(self.optimiser, f.name) for f in dataclasses.fields(self.optimiser)}  # type: ignore[arg-type]
        own = {k: str(v) if isinstance(v, Fraction) else v for k, v in fields.items()}
        return {"objective": self.objective, "optimiser": self.optimiser_name, **own}

    @property
    def label(self) -> str:
        """How people tell attacks of one name apart: `ama-ifgsm`, `ama-ifgsm(steps=3)`."""
        if self.name not in PRESETS:
            return self.name
        usual = resolve_attack(self.name)
        found = {**self.parameters(), "references": self.references}
        known = {**usual.parameters(), "references": usual.references}
        changed = ",".join(f"{key}={value}" for key, value in found.items() if value != known[key])
        return f"{self.name}({changed})" if changed else self.name

    @property
    def uses_references(self) -> bool:
        """Whether the adversary has to own images beside the attacked one."""
        return self.optimiser.uses_loss and self.references != "self"

    def depends_on_seed(self, goal: Goal) -> bool:
        """Whether another seed can give other images."""
        return self.optimiser.is_random or self.references == "single" or goal == "targeted"

    def objective_for(self, goal: Goal) -> Objective:
        """What is maximised under a goal."""
        return objective_for(self.objective, goal)

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
        if goal == "targeted" and self.objective not in TARGETED:
            raise UserError(f"{self.name}: objective {self.objective!r} has no targeted form.")


def resolve_attack(name: str, options: Mapping[str, Any] | None = None) -> AttackSpec:
    """The attack a grid entry means: a preset with changes, or any objective joined with an optimiser.

    Raises:
        UserError: an unknown name or parameter (with the nearest one), or a value out of range.
    """
    given = dict(options or {})
    preset = PRESETS.get(name)
    if preset is None and not {"objective", "optimiser"} <= given.keys():
        raise UserError(
            f"{unknown('attack', name, PRESETS)} A new name needs both `objective` "
            f"({', '.join(OBJECTIVES)}) and `optimiser` ({', '.join(OPTIMISERS.names())})."
        )
    objective = str(given.pop("objective", preset.objective if preset else ""))
    optimiser_name = str(given.pop("optimiser", preset.optimiser if preset else ""))
    references = given.pop("references", preset.references if preset else "other-side")
    if preset and (objective, optimiser_name) != (preset.objective, preset.optimiser):
        raise UserError(
            f"{name} is {preset.objective} by {preset.optimiser}; give {objective} by {optimiser_name} another name."
        )
    if objective not in OBJECTIVES:
        raise unknown("objective", objective, OBJECTIVES)
    if references not in REFERENCE_POLICIES:
        raise unknown("reference policy", str(references), REFERENCE_POLICIES)
    parameters = {**(preset.parameters if preset else {}), **given}
    return AttackSpec(
        name=name,
        version=preset.version if preset else 1,
        objective=objective,
        optimiser_name=optimiser_name,
        optimiser=_build_optimiser(name, optimiser_name, parameters),
        references=references,
        linf_only=preset.linf_only if preset else False,
    )


def _build_optimiser(attack: str, name: str, parameters: Mapping[str, Any]) -> Optimiser:
    kind = OPTIMISERS.load(name)
    known = {f.name: f for f in dataclasses.fields(kind)}
    for key in parameters:
        if key not in known:
            takes = ", ".join(known) or "none"
            raise UserError(
                f"Attack {attack!r} takes no parameter {key!r}.{nearest(key, known)} It takes: {takes}; "
                f"and: objective, optimiser, references."
            )
    try:
        values = {key: _value(known[key], value) for key, value in parameters.items()}
        made: Optimiser = kind(**values)
    except ValueError as error:
        raise UserError(f"Attack {attack!r}: {error}.") from error
    return made


def _value(parameter: dataclasses.Field[Any], value: Any) -> Any:
    """`value` in the parameter's own type, so that `1` and `1.0` are one cell."""
    kind = str(parameter.type)
    if kind == "Fraction":
        try:
            # As with epsilon, a bare 1 may mean 1/255 or the whole range.
            return parse_epsilon(value, "linf" if re.fullmatch(r"[0-9]+", str(value).strip()) else "l2")
        except UserError as error:
            raise ValueError(f"{parameter.name}: expected a fraction such as 1/255, got {value!r}") from error
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise ValueError(f"{parameter.name}: expected a number, got {value!r}")  # noqa: TRY004
    if kind.startswith("int"):
        if value is None and "None" in kind:
            return None
        if not isinstance(value, int):
            raise ValueError(f"{parameter.name}: expected a whole number, got {value!r}")
        return value
    if value is None:
        raise ValueError(f"{parameter.name}: expected a number, got nothing")
    if not math.isfinite(value):
        raise ValueError(f"{parameter.name}: expected a finite number, got {value!r}")
    return float(value)
