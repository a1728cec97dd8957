"""A recipe run: weights, card and log in a folder, with a checkpoint after every epoch that the next call goes on from.

weights.safetensors  card.json  log.csv  checkpoint/state.safetensors  scores/
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

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
from .data import open_training_set
from .directory import TrainingDirectory, changes, circumstances, refuse_other
from .recipe import Recipe
from .scoring import grid_about, score_weights

#: Raised by hand when the same recipe and data can give other weights.
TRAINING_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a call of `train_recipe` left."""

    directory: TrainingDirectory
    #: Whether nothing was left to do.
    stood: bool
    card: dict[str, Any]


def train_recipe(recipe: Recipe, out: Path, settings: Settings, reporter: Reporter, *, again: bool = False) -> Trained:
    """Train by a recipe into a folder; what an earlier call finished stands.

    Args:
        recipe: from `load_recipe`.
        out: the folder.
        settings: `device` and `workers` count.
        reporter: told about progress.
        again: forget what the folder holds and start from the beginning.

    Raises:
        UserError: the folder holds another training, or this one diverged.
        InvalidFileError: images or starting weights that are not what they should be.
        StorageError: the folder cannot be written.
    """
    device = pick_device(settings.device)
    directory = TrainingDirectory(out)
    data = open_training_set(
        recipe.data, reporter=reporter, input_size=recipe.spec.input_size, workers=settings.workers
    )
    network = _network(recipe)
    asked = {"recipe_sha256": recipe.sha256, "data_sha256": data.sha256, "training_version": TRAINING_VERSION}
    # Whatever is wrong with the request shows before the folder is made.
    trainer = Trainer(network, recipe.spec, data, recipe.plan, perturb=recipe.perturb, device=device)
    with directory.writing():
        if again:
            directory.clear()
        stands = card = _finished(directory, asked, recipe.store)
        if card is None:
            with exact(device), kept_memory():
                log = _resume(trainer, directory, asked, reporter)
                _epochs(trainer, directory, log, asked, recipe.name, reporter)
            content = pack_weights(trainer.weights, half=recipe.store == "float16")
            card = make_card(recipe, data, log, asked, content, device)
            write_bytes(directory.weights, content)
        if recipe.scores is not None:
            # Always: cells that stand cost nothing, and a recipe may ask for others now.
            scores = score_weights(_scoring(recipe, directory), directory.scores, settings, reporter)
            card = {**card, "recipe": recipe.text, "scores": scores}
        if card != stands:
            write_bytes(directory.card, (json.dumps(card, indent=2) + "\n").encode())
    return Trained(directory=directory, stood=card == stands, card=card)


def _scoring(recipe: Recipe, directory: TrainingDirectory) -> Grid:
    assert recipe.scores is not None  # noqa: S101 (the caller asked)
    spec, weights = recipe.spec, str(directory.weights.resolve())
    model = {"name": recipe.name, "architecture": spec.architecture, "weights": weights, "metric": spec.metric}
    return grid_about(model, recipe.scores)


def _network(recipe: Recipe) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.plan.seed)
        network: torch.nn.Module = ARCHITECTURES.load(recipe.spec.architecture)()
    if recipe.weights is not None:
        load_safetensors(network, recipe.weights)
    return network


def _epochs(
    trainer: Trainer,
    directory: TrainingDirectory,
    log: list[EpochSummary],
    asked: dict[str, Any],
    name: str,
    reporter: Reporter,
) -> None:
    left = trainer.plan.epochs - trainer.epoch

    def keep(trainer: Trainer, summary: EpochSummary) -> None:
        log.append(summary)
        facts = {**asked, **circumstances(trainer.device), "log": [asdict(line) for line in log]}
        write_bytes(directory.checkpoint, pack(trainer.state(), facts))
        write_bytes(directory.log, log_csv(log))
        reporter.note(line(summary, trainer.plan.epochs))

    if log:
        write_bytes(directory.log, log_csv(log))
    with staged(reporter, f"training {name}", left * trainer.steps_per_epoch) as stage:
        train_epochs(trainer, on_epoch=keep, on_step=lambda: stage.advance(1))


def _resume(
    trainer: Trainer, directory: TrainingDirectory, asked: dict[str, Any], reporter: Reporter
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
    if changed := changes(facts, trainer.device):
        reporter.note(f"other circumstances ({changed}): the weights may differ in their last bits")
    return log


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
