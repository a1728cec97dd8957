"""A perturbation's recipe run: the file, its card and its log in a folder, with a checkpoint after every epoch.

perturbation.safetensors  card.json  log.csv  checkpoint/state.safetensors
"""

from __future__ import annotations

import csv
import io
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ... import InvalidFileError, UserError
from ...attacks.loss import NonFiniteGradientError
from ...attacks.threat import Threat
from ...attacks.universal import State
from ...models.load import build
from ...models.pixels import PixelEmbedder
from ...models.stages import AUTO, followed
from ...models.training.checkpoint import pack, unpack
from ...models.weights.files import file_sha256
from ..perturbations import perturbation_bytes, read_perturbation
from ..progress import Reporter, staged
from ..runtime import Settings, environment, exact, kept_memory, pick_device
from ..store.files import write_bytes
from .data import FolderTrainingSet, open_training_set
from .directory import TrainingDirectory, changes, circumstances, refuse_other
from .universal_loader import FittingLoader, refuse_to_fit
from .universal_recipe import PerturbationRecipe

#: Raised by hand when the same recipe and data can give another perturbation.
FITTING_VERSION = 1

#: Of a line of the log.
_FIELDS = ("epoch", "loss", "saturation", "seconds")


@dataclass(frozen=True)
class PerturbationDirectory(TrainingDirectory):
    """Paths of one fit."""

    @property
    def weights(self) -> Path:
        """The perturbation, in place of a network's weights."""
        return self.path / "perturbation.safetensors"


@dataclass(frozen=True, kw_only=True)
class FittedPerturbation:
    """What a call of `fit_recipe` left."""

    directory: PerturbationDirectory
    #: Whether nothing was left to do.
    stood: bool
    card: dict[str, Any]


def fit_recipe(
    recipe: PerturbationRecipe, out: Path, settings: Settings, reporter: Reporter, *, again: bool = False
) -> FittedPerturbation:
    """Fit a perturbation by a recipe into a folder; what an earlier call finished stands.

    Args:
        recipe: from `resolve_perturbation`.
        out: the folder.
        settings: `device`, `workers` and `trust_code` count.
        reporter: told about progress.
        again: forget what the folder holds and start from the beginning.

    Raises:
        UserError: the folder holds another fit, the training images are not those that the procedure needs, or the
            model gives gradients that are not finite.
        InvalidFileError: images or weights that are not what they should be.
        StorageError: the folder cannot be written.
    """
    device = pick_device(settings.device)
    directory = PerturbationDirectory(out)
    data = open_training_set(
        recipe.data, reporter=reporter, input_size=recipe.model.input_size, workers=settings.workers
    )
    refuse_to_fit(recipe, data)  # whatever is wrong with the request shows before the folder is made
    embedder = followed(build(recipe.model, device=str(device), trust_code=settings.trust_code), AUTO)
    asked = {"recipe_sha256": recipe.sha256, "data_sha256": data.sha256, "training_version": FITTING_VERSION}
    with directory.writing():
        if again:
            directory.clear()
        card = _finished(directory, asked)
        stood = card is not None
        if card is None:
            with exact(device), kept_memory():
                fit = _Fit(recipe=recipe, data=data, directory=directory, asked=asked, device=device)
                state = fit.run(embedder, reporter)
            facts = {
                "procedure": recipe.attack,
                "epsilon": str(recipe.epsilon),
                "model": recipe.model.label,
                "model_sha256": recipe.model.sha256,
                "model_defence": recipe.model.defence_title,
                "data_sha256": data.sha256,
                "recipe_sha256": recipe.sha256,
            }
            write_bytes(directory.weights, perturbation_bytes(state.delta, facts))
            card = _card(recipe, data, fit.log, asked, directory, device)
            write_bytes(directory.card, (json.dumps(card, indent=2) + "\n").encode())
    return FittedPerturbation(directory=directory, stood=stood, card=card)


@dataclass(kw_only=True)
class _Fit:
    """One fit under way."""

    recipe: PerturbationRecipe
    data: FolderTrainingSet
    directory: PerturbationDirectory
    asked: dict[str, Any]
    device: torch.device
    log: list[dict[str, float]] = field(default_factory=list)

    def run(self, embedder: PixelEmbedder, reporter: Reporter) -> State:
        """The state after the last epoch."""
        recipe, loader = self.recipe, FittingLoader(data=self.data, recipe=self.recipe, device=self.device)
        state = self._resume(reporter)
        started = time.perf_counter()

        def keep(now: State) -> None:
            nonlocal started
            seconds, started = time.perf_counter() - started, time.perf_counter()
            self.log.append({"epoch": now.epoch, "loss": now.loss, "saturation": now.saturation, "seconds": seconds})
            self._checkpoint(now)
            reporter.note(
                f"epoch {now.epoch}/{recipe.epochs}: loss {now.loss:.4f}, {now.saturation:.0%} of the entries "
                f"at {recipe.epsilon}"
            )

        left = recipe.epochs - (state.epoch if state else 0)
        work = recipe.procedure.work(loader, left) if left else 0.0
        with staged(reporter, f"fitting {recipe.name}", work) as stage:
            try:
                return recipe.procedure.fit(
                    loader,
                    embedder,
                    epsilon=recipe.epsilon,
                    epochs=recipe.epochs,
                    seed=recipe.seed,
                    state=state,
                    advance=stage.advance,
                    on_epoch=keep,
                )
            except NonFiniteGradientError as error:
                raise UserError(
                    f"{recipe.name} ended: {error}; the model {recipe.model.label!r} cannot be attacked so."
                ) from None

    def _checkpoint(self, now: State) -> None:
        stands = {key: getattr(now, key) for key in ("epoch", "loss", "saturation", "saturation_before")}
        facts = {**self.asked, **circumstances(self.device), "state": stands, "log": self.log}
        write_bytes(self.directory.checkpoint, pack({"delta": now.delta, "velocity": now.velocity}, facts))
        write_bytes(self.directory.log, _log_csv(self.log))

    def _resume(self, reporter: Reporter) -> State | None:
        """Where an earlier call stopped; None at the beginning."""
        if not self.directory.checkpoint.exists():
            return None
        tensors, facts = unpack(self.directory.checkpoint)
        try:
            refuse_other(self.directory, {key: facts[key] for key in self.asked}, self.asked)
            state = State(delta=tensors["delta"], velocity=tensors["velocity"], **facts["state"])
            self.log = list(facts["log"])
        except (KeyError, TypeError):
            raise InvalidFileError(
                f"{str(self.directory.checkpoint)!r} does not fit this recipe; start from the beginning with --again."
            ) from None
        reporter.note(f"going on after epoch {state.epoch} of {self.recipe.epochs}")
        if changed := changes(facts, circumstances(self.device)):
            reporter.note(f"other circumstances ({changed}): the perturbation may differ in its last bits")
        return state


def _card(
    recipe: PerturbationRecipe,
    data: FolderTrainingSet,
    log: list[dict[str, float]],
    asked: dict[str, Any],
    directory: PerturbationDirectory,
    device: torch.device,
) -> dict[str, Any]:
    """What the perturbation is: all that decided it, how the fit ended, and where it ran."""
    found, place = read_perturbation(directory.weights), environment(device)
    return {
        "name": recipe.name,
        "kind": "perturbation",
        "perturbation_sha256": found.sha256,
        "attack": recipe.attack,
        "parameters": recipe.parameters,
        "norm": "linf",
        "epsilon": str(recipe.epsilon),
        "epsilon_label": Threat(norm="linf", epsilon=recipe.epsilon).label,
        "size": list(found.delta.shape[1:]),
        "model": recipe.model.label,
        "model_sha256": recipe.model.sha256,
        "model_defence": recipe.model.defence_title,
        "model_identity": recipe.model.identity(),
        **asked,
        "data": data.description,
        "epochs": recipe.epochs,
        "batch": {"identities": recipe.identities, "images": recipe.images},
        "seed": recipe.seed,
        "final": {key: log[-1][key] for key in ("loss", "saturation")},
        "seconds": sum(line["seconds"] for line in log),
        **place.on_a_card,
        "recipe": recipe.text,
    }


def _log_csv(log: list[dict[str, float]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_FIELDS)
    for line in log:
        writer.writerow(f"{line[key]:.6g}" for key in _FIELDS)
    return text.getvalue().encode()


def _finished(directory: PerturbationDirectory, asked: dict[str, Any]) -> dict[str, Any] | None:
    """The card of a finished fit, or None."""
    if not (directory.card.exists() and directory.weights.exists()):
        return None
    try:
        card: dict[str, Any] = json.loads(directory.card.read_bytes())
        found = {key: card[key] for key in asked}
        is_whole = card["perturbation_sha256"] == file_sha256(directory.weights)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    refuse_other(directory, found, asked)
    return card if is_whole else None
