"""What a training leaves to read: its card, its log, and a line an epoch."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import asdict, fields
from typing import Any

import torch

from ...models.training.plan import EpochSummary
from ...models.weights.cards import trained_on
from ...models.weights.files import file_sha256
from ..runtime import environment
from .data import FolderTrainingSet
from .recipe import Recipe
from .validating import chosen_epoch, validation_card


def make_card(
    recipe: Recipe,
    data: FolderTrainingSet,
    log: list[EpochSummary],
    asked: dict[str, Any],
    content: bytes,
    device: torch.device,
) -> dict[str, Any]:
    """What the weights are: all that decided them, how the training ended, and where it ran.

    Args:
        recipe: what was asked for.
        data: what it was trained on.
        log: every epoch.
        asked: the digests that tell trainings apart.
        content: the weights file.
        device: where it was trained.
    """
    spec, place = recipe.spec, environment(device)
    last = asdict(log[-1])
    return {
        "name": recipe.name,
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "store": recipe.store,
        "architecture": spec.architecture,
        "metric": spec.metric,
        "input_size": list(spec.input_size) if spec.input_size else None,
        "normalise": {"mean": list(spec.normalise.mean), "std": list(spec.normalise.std)},
        **asked,
        "data": data.description,
        "trained_on": _trained_on(recipe),
        # The split, from 1, of a set that has splits.
        "trial": recipe.data.options.get("trial"),
        "started_from_sha256": file_sha256(recipe.weights) if recipe.weights else None,
        "epochs": recipe.plan.epochs,
        "epoch": chosen_epoch(log, recipe.validation),
        "validation": validation_card(log, recipe.validation),
        "seed": recipe.plan.seed,
        "final": {key: last[key] for key in last if key not in {"epoch", "seconds", "images_per_second"}},
        "seconds": sum(line.seconds for line in log),
        # Clean and attacked scores of these weights, where the recipe asks for them.
        "scores": [],
        **place.on_a_card,
        "recipe": recipe.text,
    }


def _trained_on(recipe: Recipe) -> list[str] | None:
    """The formats of all that the weights have seen, by way of those they started from too; None where nobody knows."""
    layout = recipe.data.format or recipe.data.label
    # Formats that may hold anything: what the user calls it says more.
    own = (layout, recipe.data.label) if layout in {"folder", "table"} else (layout,)
    before = () if recipe.weights is None else trained_on(recipe.weights)
    return None if before is None else list(dict.fromkeys((*before, *own)))


def log_csv(log: list[EpochSummary]) -> bytes:
    """The log as CSV, a line an epoch; what was not computed is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(EpochSummary))
    for line in log:
        values = asdict(line).values()
        writer.writerow("" if value is None else f"{value:.6g}" for value in values)
    return text.getvalue().encode()


def line(summary: EpochSummary, epochs: int) -> str:
    """An epoch for people who watch."""
    shares = [("clean", summary.accuracy_clean), ("perturbed", summary.accuracy_perturbed)]
    accuracy = ", ".join(f"{value:.1%} of {name} images right" for name, value in shares if value is not None)
    return (
        f"epoch {summary.epoch}/{epochs}: loss {summary.loss:.4f}, {accuracy}, {summary.images_per_second:.0f} images/s"
    )
