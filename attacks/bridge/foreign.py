"""An attack of torchattacks as an optimiser."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor

from ... import UserError
from ..catalogue import AttackSpec
from ..counts import from_counts, to_counts
from ..draw import Draw
from ..loss import Loss
from ..objectives.base import neighbours_of
from ..optimisers.base import CLEAN, MAX_STEPS, Optimiser, Trace
from ..threat import Goal, Threat
from .classifier import Classifier, OwnIdentity, TargetIdentity, labels_of
from .keywords import RADIUS, Value, read, step_share
from .names import Facts, bare_name, facts, release
from .overrides import OVERRIDES
from .randomness import borrowed

#: What was drawn belongs to the batch and not to the image: another batch size gives another result.
FLAG_RANDOMNESS = "foreign-randomness"
#: It decides for the batch as a whole, so an image's result depends on its company.
FLAG_BATCH = "foreign-batch"
#: An attack of the package that no test of ours has run to the end.
FLAG_UNTESTED = "foreign-untested"

_NORMS = {"linf": "Linf", "l2": "L2"}


@cache
def constructor(name: str) -> Any:
    """The class of an attack, by its name in the package, with our corrections."""
    try:
        package = import_module("torchattacks")
    except ImportError as error:
        raise UserError(f"The package torchattacks does not load: {error}; install torchattacks 3.3.0.") from error
    usual = getattr(package, name)
    return OVERRIDES[name](usual) if name in OVERRIDES else usual


@dataclass(frozen=True, kw_only=True)
class Foreign(Optimiser):
    """An attack of the package, one that draws nothing. It shares no pass with others: what it asks for is spent."""

    #: Its name in the package.
    name: str
    #: Of the package.
    release: str
    #: Every keyword that a grid may set; alpha is None where it follows epsilon.
    keywords: tuple[tuple[str, Value], ...]

    def parameters(self) -> dict[str, Any]:
        """As canonical JSON values; an alpha that follows epsilon as words."""
        share = step_share(constructor(self.name))
        shown = {key: f"{share} epsilon" if value is None else value for key, value in self.keywords}
        return {"torchattacks": self.release, **shown}

    @property
    def facts(self) -> Facts:
        """What is known of it."""
        return facts(self.name)

    def flags(self, threat: Threat) -> frozenset[str]:
        raised = {
            FLAG_RANDOMNESS: self.is_random and threat.epsilon != 0,
            FLAG_BATCH: self.facts.joins_images and threat.epsilon != 0,
            FLAG_UNTESTED: self.facts.status != "supported",
        }
        return frozenset(flag for flag, holds in raised.items() if holds)

    def refuse(self, attack: str, threat: Threat, goal: Goal) -> None:
        if threat.norm not in self.facts.norms:
            (norm,) = self.facts.norms
            raise UserError(f"{attack} is an attack in {norm}, not {threat.norm}; set `norm: {norm}` or exclude it.")
        if goal not in self.facts.goals:
            raise UserError(
                f"{attack} cannot be targeted: {self.facts.no_target}; set `goal: untargeted` or exclude the pair."
            )

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:
        return [self._attack(loss, images, threat, draw) for threat in threats]

    def _attack(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw) -> Tensor:
        # Padding stays outside: the package averages over the images of a batch.
        real = images[: loss.n_real]
        labels = labels_of(neighbours_of(loss.references))[: loss.n_real]
        seed = self._seed(draw)
        with borrowed(seed), torch.enable_grad():
            attack = self.build(Classifier(loss, len(images)), threat, seed)
            if isinstance(loss.objective, TargetIdentity):
                with redirect_stdout(io.StringIO()):  # it says so aloud
                    attack.set_mode_targeted_by_function(lambda _images, wanted: wanted)
            found = attack(real.clone(), labels)
        if not isinstance(found, Tensor) or found.shape != real.shape:
            raise ValueError(f"torchattacks.{self.name} handed back no images of shape {tuple(real.shape)}")
        whole = images.clone()
        whole[: loss.n_real] = from_counts(to_counts(found.detach().to(images)))
        return whole

    def _seed(self, draw: Draw) -> int:
        number = draw.meant_for(f"torchattacks.{self.name}")("\n".join(draw.image_ids), 0, 0, (1,))
        return int(float(number) * 2**31)

    def build(self, classifier: Classifier, threat: Threat, seed: int) -> Any:
        """The package's own object, around a classifier.

        Raises:
            ValueError: a classifier in train mode: the package would put it back into that after every batch.
        """
        if any(module.training for module in classifier.modules()):
            raise ValueError("expected a classifier in eval mode, got one in train mode")
        made = constructor(self.name)
        takes = _keywords(made)
        share = step_share(made)
        given: dict[str, Any] = dict(self.keywords)
        if share is not None and given["alpha"] is None:
            given["alpha"] = share * threat.epsilon
        given |= {key: threat.epsilon for key in RADIUS if key in takes}
        given |= {"norm": _NORMS[threat.norm]} if "norm" in takes else {}
        given |= {"n_classes": classifier.n_classes} if "n_classes" in takes else {}
        given |= {"seed": seed} if "seed" in takes else {}
        plain = {key: float(value) if isinstance(value, Fraction) else value for key, value in given.items()}
        return made(classifier, **plain)

    def trace(self, threat: Threat) -> Trace:
        """Passes as the package's loops have them; see `planned_passes`."""
        gradients, forwards = planned_passes(self.name, dict(self.keywords))
        points: list[Hashable] = [("foreign", self, threat, index) for index in range(gradients + forwards)]
        end = CLEAN if threat.epsilon == 0 else ("foreign", self, threat)
        return Trace(gradients=tuple(points[:gradients]), values=tuple(points[gradients:]), final=end)


@cache
def _keywords(made: Any) -> frozenset[str]:
    return frozenset(inspect.signature(made).parameters)


@dataclass(frozen=True, kw_only=True)
class DrawnForeign(Foreign):
    """An attack of the package that draws: from global generators, seeded from the cell's draw for each batch."""

    is_random: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class ScoredForeign(DrawnForeign):
    """An attack of the package that draws and asks for logits alone."""

    uses_gradients: ClassVar[bool] = False


def planned_passes(name: str, keywords: Mapping[str, Any]) -> tuple[int, int]:
    """Gradients and further forwards an image: their number where it is fixed, else what it cannot exceed.

    CW may stop early, and Square does image by image. The number of identities decides what APGDT, AutoAttack, DeepFool
    and FAB cost; they are given a gradient a step and restart, which is too few.
    """
    steps = keywords.get("steps", keywords.get("num_iter_set", 1))
    restarts = keywords.get("n_restarts", 1)
    counts: Mapping[str, Callable[[], tuple[int, int]]] = {
        "VANILA": lambda: (0, 0),
        "GN": lambda: (0, 0),
        "TPGD": lambda: (steps, 1),
        "APGD": lambda: (restarts * (steps + 1) * keywords["eot_iter"], 1),
        "Square": lambda: (0, restarts * (keywords["n_queries"] + 2)),
        "VMIFGSM": lambda: (steps * (1 + keywords["N"]), 0),
        "VNIFGSM": lambda: (steps * (1 + keywords["N"]), 0),
        "SINIFGSM": lambda: (steps * keywords["m"], 0),
        "PGDRS": lambda: (steps * keywords["noise_batch_size"], 0),
        "PGDRSL2": lambda: (steps * keywords["noise_batch_size"], 0),
        "SPSA": lambda: (0, 4 * keywords["nb_iter"] * keywords["nb_sample"]),
        "EADEN": lambda: (keywords["binary_search_steps"] * keywords["max_iterations"],) * 2,
    }
    return counts[name]() if name in counts else (steps * restarts * keywords.get("eot_iter", 1), 0)


def resolve(name: str, options: Mapping[str, Any]) -> AttackSpec:
    """What `torchattacks.X` means in a grid.

    Raises:
        UserError: a name that is not on the package's public list, one that cannot work here, an unknown parameter, or
            a value out of range.
    """
    bare = bare_name(name)
    known = facts(bare)
    if known.status == "impossible":
        raise UserError(f"{name} cannot run here: {known.note}. docs/torchattacks.md lists those that can.")
    given = dict(options)
    scale = given.pop("logit_scale", 10.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float):
        raise UserError(f"Attack {name!r}: logit_scale: expected a number, got {scale!r}.")
    try:
        objective = OwnIdentity(logit_scale=float(scale))
    except ValueError as error:
        raise UserError(f"Attack {name!r}: {error}.") from error
    keywords = read(bare, constructor(bare), given)
    passes = sum(planned_passes(bare, keywords))
    if passes > MAX_STEPS:
        raise UserError(f"Attack {name!r}: expected at most {MAX_STEPS} passes an image, got {passes}.")
    draws = keywords["random_start"] if known.draws == "random_start" else known.draws
    kind = ScoredForeign if not known.gradients else DrawnForeign if draws else Foreign
    return AttackSpec(
        name=name,
        version=1,
        objective_name="own-identity",
        objective=objective,
        optimiser_name=name,
        optimiser=kind(name=bare, release=release(), keywords=tuple(keywords.items())),
        references="other-side",
        linf_only=False,
    )
