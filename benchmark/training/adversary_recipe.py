"""What a recipe's section `perturb` means: names, radii, and keys that would count for nothing."""

from __future__ import annotations

from ... import UserError
from ...attacks.threat import parse_epsilon
from ...models.base import ModelSpec
from ...models.registry import unknown
from ..config.reading import Document
from .adversaries.ball import Ball
from .adversaries.request import OFFLINE_OBJECTIVES, TRAINING_OBJECTIVES, Adversary
from .schema import PerturbSection, RecipeFile


def adversary_of(document: Document, file: RecipeFile, entry: PerturbSection, against: ModelSpec | None) -> Adversary:
    """The adversary of a recipe.

    Args:
        document: where it was read, for the places of what is wrong.
        file: the recipe.
        entry: its section `perturb`.
        against: the model that `entry.against` means.

    Raises:
        UserError: an objective or radius that is none, or a key that counts for nothing.
    """
    known = OFFLINE_OBJECTIVES if entry.against else TRAINING_OBJECTIVES
    if entry.objective not in known:
        raise document.refusal(("perturb", "objective"), unknown("objective", entry.objective, known))
    radii = {}
    for key in ("epsilon", "step_size"):
        try:
            radii[key] = parse_epsilon(getattr(entry, key))
        except UserError as error:
            raise document.refusal(("perturb", key), error) from None
    for key, reason in _without_effect(entry).items():
        if key in entry.model_fields_set:
            raise document.refusal(("perturb", key), UserError(f"it has no effect {reason}; leave it out."))
    n_others = (file.batch.identities - 1) * file.batch.images
    if entry.objective == "goat" and entry.pull > n_others:
        what = f"a batch of this recipe has {n_others} images of other people to pull to; lower it."
        raise document.refusal(("perturb", "pull"), UserError(what))
    if entry.references == "self" and entry.objective == "pull":
        raise document.refusal(("perturb", "objective"), UserError("an image cannot be pulled to itself; take push."))
    if entry.objective == "collapse" and entry.preserve:
        raise document.refusal(
            ("perturb", "preserve"), UserError("`collapse` has no clean copies to keep; leave it out.")
        )
    ball = Ball(
        epsilon=radii["epsilon"],
        steps=entry.steps,
        step_size=radii["step_size"],
        random_start=entry.random_start,
        precision=file.precision,
        seed=file.seed,
    )
    return Adversary(
        ball=ball,
        objective=entry.objective,
        references=entry.references,
        push=entry.push,
        pull=entry.pull,
        warmup_epochs=entry.warmup_epochs,
        against=against,
    )


def _without_effect(entry: PerturbSection) -> dict[str, str]:
    """The keys that count for nothing beside what an entry says, with the reason."""
    found: dict[str, str] = {}
    if entry.objective != "goat":
        found |= dict.fromkeys(("push", "pull"), "without `objective: goat`")
    if entry.objective in {"goat", "collapse"}:
        found["references"] = f"with `objective: {entry.objective}`"
    if entry.against:
        found |= dict.fromkeys(("references", "warmup_epochs"), "on images that are made beforehand (`against`)")
    return found
