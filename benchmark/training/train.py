"""A recipe run: weights, card and log in a folder, with a checkpoint after every epoch that the next call goes on from.

weights.safetensors  card.json  log.csv  checkpoint/state.safetensors  validation/  scores/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import InvalidFileError
from ...models.catalogue import ARCHITECTURES
from ...models.training.checkpoint import pack, pack_weights, unpack
from ...models.training.loop import Trainer
from ...models.training.loop import train as train_epochs
from ...models.training.plan import EpochSummary
from ...models.weights.files import file_sha256, load_safetensors
from ..config.grid import Grid
from ..progress import Reporter, staged
from ..runtime import Settings, exact, kept_memory, pick_device
from ..store.files import write_bytes
from .card import line, log_csv, make_card
from .data import FolderTrainingSet, open_training_set, training_root
from .directory import TrainingDirectory, changes, circumstances, refuse_other
from .recipe import Recipe
from .scoring import grid_about, score_weights
from .validating import Validator, chosen_epoch, refuse_nobody

Draw = Callable[[Path], object]

#: Raised by hand when the same recipe and data can give other weights.
TRAINING_VERSION = 1

#: Training images that a folded program's batch norms take their statistics from.
N_STATISTICS = 2048


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a call of `train_recipe` left."""

    directory: TrainingDirectory
    #: Whether nothing was left to do.
    stood: bool
    card: dict[str, Any]


def train_recipe(
    recipe: Recipe,
    out: Path,
    settings: Settings,
    reporter: Reporter,
    *,
    again: bool = False,
    draw: Draw | None = None,
) -> Trained:
    """Train by a recipe into a folder; what an earlier call finished stands.

    Args:
        recipe: from `load_recipe`.
        out: the folder.
        settings: `device`, `workers` and `compile` count.
        reporter: told about progress.
        again: forget what the folder holds and start from the beginning.
        draw: given the folder after every scored epoch and at the end, to draw its log.

    Raises:
        UserError: the folder holds another training, or this one diverged.
        InvalidFileError: images or starting weights that are not what they should be.
        StorageError: the folder cannot be written.
    """
    device = pick_device(settings.device)
    directory = TrainingDirectory(out)
    keep_out = recipe.validation
    data = open_training_set(
        recipe.data,
        reporter=reporter,
        input_size=recipe.spec.input_size,
        workers=settings.workers,
        n_held_out=keep_out.identities if keep_out else 0,
        held_out_seed=keep_out.seed if keep_out else 0,
    )
    asked = {"recipe_sha256": recipe.sha256, "data_sha256": data.sha256, "training_version": TRAINING_VERSION}
    # Whatever is wrong with the request shows before the folder is made.
    trainer = Trainer(
        _network(recipe, data), recipe.spec, data, recipe.plan, device=device, is_compiled=settings.compile
    )
    trainer.try_size()
    if keep_out:
        refuse_nobody(recipe, keep_out, reporter)
    with directory.writing():
        if again:
            directory.clear()
        stands = card = _finished(directory, asked, recipe.store)
        if card is None:
            with exact(device), kept_memory():
                log = _resume(trainer, directory, asked, settings, reporter)
                if recipe.perturb and trainer.epoch < recipe.plan.epochs:
                    trainer.perturb = recipe.perturb.make(
                        data,
                        recipe.plan,
                        steps_per_epoch=trainer.steps_per_epoch,
                        folder=directory.checkpoint.parent,
                        device=device,
                        trust_code=settings.trust_code,
                        reporter=reporter,
                    )
                epochs = _Epochs(
                    directory=directory,
                    recipe=recipe,
                    asked=asked,
                    log=log,
                    validator=_validator(recipe, directory, settings, reporter),
                    reporter=reporter,
                    circumstances=_circumstances(trainer, settings),
                    draw=draw,
                )
                epochs.run(trainer)
            content = pack_weights(_handed_out(trainer, log, recipe, directory), half=recipe.store == "float16")
            card = make_card(recipe, data, log, asked, content, device)
            write_bytes(directory.weights, content)
        if recipe.scores is not None:
            # Always: cells that stand cost nothing, and a recipe may ask for others now.
            scores = score_weights(_scoring(recipe, directory), directory.scores, settings, reporter)
            card = {**card, "recipe": recipe.text, "scores": scores}
        if card != stands:
            write_bytes(directory.card, (json.dumps(card, indent=2) + "\n").encode())
        if draw and (card != stands or not directory.figure.exists()):  # a kill may come between the two
            draw(directory.path)
        directory.tidy()
    return Trained(directory=directory, stood=card == stands, card=card)


def _scoring(recipe: Recipe, directory: TrainingDirectory) -> Grid:
    assert recipe.scores is not None  # noqa: S101 (the caller asked)
    spec, weights = recipe.spec, str(directory.weights.resolve())
    model: dict[str, Any] = {
        "name": recipe.name,
        "architecture": spec.architecture,
        "weights": weights,
        "metric": spec.metric,
    }
    if spec.input_size:
        model["input_size"] = list(spec.input_size)
    return grid_about(model, recipe.scores, "scores", recipe.scores.data["scores"])


def _validator(
    recipe: Recipe, directory: TrainingDirectory, settings: Settings, reporter: Reporter
) -> Validator | None:
    if recipe.validation is None:
        return None
    return Validator(
        recipe=recipe,
        validation=recipe.validation,
        root=training_root(recipe.data, reporter),
        out=directory.validation,
        settings=settings,
        reporter=reporter,
    )


def _handed_out(
    trainer: Trainer, log: list[EpochSummary], recipe: Recipe, directory: TrainingDirectory
) -> Mapping[str, Tensor]:
    """The weights of the chosen epoch."""
    chosen = chosen_epoch(log, recipe.validation)
    return trainer.weights if chosen == trainer.epoch else unpack(directory.best(chosen))[0]


def _network(recipe: Recipe, data: FolderTrainingSet) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.plan.seed)
        network: torch.nn.Module = ARCHITECTURES.load(recipe.spec.architecture)()
    if recipe.weights is None:
        return network
    if recipe.weights.suffix.lower() == ".onnx":
        from ...models.pixels import PixelEmbedder
        from ...models.training.unfold import load_folded

        pixels = PixelEmbedder(torch.nn.Identity(), recipe.spec)
        load_folded(network, recipe.weights, pixels.inputs, _some_images(data))
    else:
        load_safetensors(network, recipe.weights)
    return network


def _some_images(data: FolderTrainingSet) -> Iterator[Tensor]:
    """Batches of training images in [0, 1], spread evenly over the set, the same every time."""
    chosen = np.unique(np.linspace(0, len(data) - 1, N_STATISTICS).round().astype(np.int64))
    for places in np.array_split(chosen, max(1, len(chosen) // 64)):
        yield torch.from_numpy(data.batch(places)).float() / 255


@dataclass(frozen=True, kw_only=True)
class _Epochs:
    """The epochs that are left, and what is kept of each."""

    directory: TrainingDirectory
    recipe: Recipe
    asked: dict[str, Any]
    log: list[EpochSummary]
    validator: Validator | None
    reporter: Reporter
    circumstances: dict[str, Any]
    draw: Draw | None

    def run(self, trainer: Trainer) -> None:
        """Train until the end."""
        if self.log:
            write_bytes(self.directory.log, log_csv(self.log))
        left = trainer.plan.epochs - trainer.epoch
        with staged(self.reporter, f"training {self.recipe.name}", left * trainer.steps_per_epoch) as stage:
            train_epochs(trainer, on_epoch=self._keep, on_step=lambda: stage.advance(1))

    def _keep(self, trainer: Trainer, summary: EpochSummary) -> None:
        self.reporter.note(line(summary, trainer.plan.epochs))
        if self.validator:
            summary = self.validator.score(trainer, summary)
        self.log.append(summary)
        validation = self.recipe.validation
        is_candidate = validation is not None and validation.choose != "last" and summary.mAP_clean is not None
        is_best = is_candidate and chosen_epoch(self.log, validation) == summary.epoch
        if is_best:
            # Before the checkpoint, and beside the last best one: whatever the checkpoint says, its weights are there.
            write_bytes(self.directory.best(summary.epoch), pack(trainer.weights, {"epoch": summary.epoch}))
        facts = {**self.asked, **self.circumstances, "log": [asdict(line) for line in self.log]}
        write_bytes(self.directory.checkpoint, pack(trainer.state(), facts))
        if is_best:
            self.directory.keep_best(summary.epoch)
        write_bytes(self.directory.log, log_csv(self.log))
        if self.draw and summary.mAP_clean is not None:
            self.draw(self.directory.path)


def _resume(
    trainer: Trainer, directory: TrainingDirectory, asked: dict[str, Any], settings: Settings, reporter: Reporter
) -> list[EpochSummary]:
    """The trainer where an earlier call left it, and the log until then."""
    if not directory.checkpoint.exists():
        return []
    tensors, facts = unpack(directory.checkpoint)
    try:
        refuse_other(directory, {key: facts[key] for key in asked}, asked)
        log = [EpochSummary(**line) for line in facts["log"]]
        trainer.resume(tensors, log[-1].epoch)
    except (KeyError, TypeError, IndexError, RuntimeError):
        raise InvalidFileError(
            f"{str(directory.checkpoint)!r} does not fit this training; start from the beginning with --again."
        ) from None
    reporter.note(f"going on after epoch {trainer.epoch} of {trainer.plan.epochs}")
    if changed := changes(facts, _circumstances(trainer, settings)):
        reporter.note(f"other circumstances ({changed}): the weights may differ")
    return log


def _circumstances(trainer: Trainer, settings: Settings) -> dict[str, Any]:
    has_library = trainer.plan.metric_loss is not None
    return circumstances(trainer.device, is_compiled=settings.compile, has_library=has_library)


def _finished(directory: TrainingDirectory, asked: dict[str, Any], store: str) -> dict[str, Any] | None:
    """The card of a finished training, or None."""
    if not (directory.card.exists() and directory.weights.exists()):
        return None
    try:
        card: dict[str, Any] = json.loads(directory.card.read_bytes())
        found = {key: card[key] for key in asked}
        is_whole = card["weights_sha256"] == file_sha256(directory.weights) and card["store"] == store
    except (OSError, ValueError, KeyError, TypeError):
        return None
    refuse_other(directory, found, asked)
    return card if is_whole else None
