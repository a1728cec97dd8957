"""An attack as a grid asks for it, resolved: what it is called, what it needs, and where it has a meaning."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .. import UserError
from .base import Attack
from .bridge import is_foreign
from .ensemble import Ensemble
from .objectives import Objective
from .optimisers import Optimiser
from .presets import PRESETS, SIDE_OF
from .references import ReferencePolicy
from .threat import Goal, Side, Threat
from .transforms import Lens, Transform
from .universal import Perturbation, Universal, UniversalBySplit


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
    #: An attack for each split of a data set, the first one first, where each has a perturbation of its own: this
    #: stands for all of them, and never runs itself.
    by_trial: tuple[AttackSpec, ...] = ()

    def of_trial(self, number: int) -> AttackSpec:
        """The attack of one split, from 0: itself where it is the same for all."""
        return self.by_trial[number] if self.by_trial else self

    def parameters(self) -> dict[str, Any]:
        """The resolved parameters, as canonical JSON values; part of a cell's id and the column `attack_params`."""
        found: dict[str, Any] = {"objective": self.objective_name, "optimiser": self.optimiser_name}
        own = self.optimiser.parameters()
        for part in (self.objective, *self.transforms):
            own |= {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}  # type: ignore[arg-type]
        for key, value in own.items():
            found[key] = str(value) if isinstance(value, Fraction | Perturbation) else value
        if self.transforms:
            found["transforms"] = "+".join(self.transform_names)
        if self.eot > 1:
            found["eot"] = self.eot
        return found

    @property
    def label(self) -> str:
        """How people tell attacks of one name apart: `ama-ifgsm`, `ama-ifgsm(steps=3)`."""
        if self.perturbation:
            return f"{self.name}(perturbation={self.perturbation.sha256[:8]})"
        if isinstance(self.optimiser, UniversalBySplit):
            return f"{self.name}(perturbation={self.optimiser.sha256[:8]})"
        if self.name not in PRESETS and not is_foreign(self.name):
            return self.name
        from .catalogue import resolve_attack

        usual = resolve_attack(self.name)
        found = {**self.parameters(), "references": self.references}
        known = {**usual.parameters(), "references": usual.references}
        changed = ",".join(f"{key}={value}" for key, value in found.items() if value != known.get(key))
        return f"{self.name}({changed})" if changed else self.name

    @property
    def perturbation(self) -> Perturbation | None:
        """What is added to every image, where that was fitted before; it knows on which model.

        None where each split has its own: ask those of `of_trial`.
        """
        return self.optimiser.perturbation if isinstance(self.optimiser, Universal) else None

    @property
    def is_ensemble(self) -> bool:
        """Whether it is several attacks, of which the worst counts."""
        return isinstance(self.optimiser, Ensemble)

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
    def asks_scores(self) -> bool:
        """Whether the adversary knows similarities and nothing of the model."""
        return self.optimiser.uses_loss and not self.optimiser.uses_gradients

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
        self.optimiser.refuse(self.name, threat, goal)
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
        if self.references == "self" and self.objective.needs_neighbours:
            raise UserError(
                f"{self.name}: objective {self.objective_name!r} looks at images of others, so references `self` would "
                f"hide what its adversary owns; use other-side."
            )
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
