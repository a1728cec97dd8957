"""Scores of people who are kept out, as a training goes on: a small grid of the recipe's own, epoch by epoch.

validation/        a run directory with the rows of every scored epoch
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import UserError
from ...models.training.loop import Trainer
from ...models.training.parts import copied
from ...models.training.plan import EpochSummary
from ..datasets.held_out import read_held_out
from ..progress import Reporter, Silent
from ..runtime import Settings
from ..store.directory import RunDirectory
from .data import training_images, training_root
from .recipe import Recipe, Validation
from .scoring import grid_about

#: What the people who are kept out are called in rows.
LABEL = "held-out"


@dataclass(frozen=True, kw_only=True)
class Validator:
    """Scores a trainer's weights on the people who are kept out of it."""

    recipe: Recipe
    validation: Validation
    #: The folder that holds `bounding_box_train`.
    root: Path
    #: The run directory.
    out: Path
    settings: Settings
    reporter: Reporter

    def is_due(self, epoch: int) -> bool:
        """Whether an epoch, from 1, is scored."""
        return epoch % self.validation.every == 0 or epoch == self.recipe.plan.epochs

    def score(self, trainer: Trainer, summary: EpochSummary) -> EpochSummary:
        """The epoch with its scores, where it is due.

        Raises:
            UserError: a cell failed; its row says why.
        """
        if not self.is_due(summary.epoch):
            return summary
        from ..runner.run import run_grid

        name = f"{self.recipe.name[:52]}-epoch-{summary.epoch}"
        people = {"identities": self.validation.identities, "seed": self.validation.seed}
        data = {"name": LABEL, "format": "held-out", "root": str(self.root.resolve()), **people}
        asked = {"checks": "quick", **self.validation.grid, "datasets": [data]}
        model = {"name": name, "plugin": "in:memory"}
        grid = grid_about(model, self.validation.document, "validation", asked)
        network = copied(trainer.network, trainer.weights)
        spec = self.recipe.spec
        spec = replace(
            grid.models[0],
            sha256=_sha256(trainer.weights),
            input_size=spec.input_size,
            normalise=spec.normalise,
            metric=spec.metric,
        )
        settings = replace(self.settings, again="failed")
        run_grid(replace(grid, models=(spec,)), self.out, settings, Silent(), {name: network})
        frame = RunDirectory(self.out).load()
        failed = frame[frame["status"] != "done"]
        if len(failed):
            raise UserError(f"Epoch {summary.epoch} could not be scored: {failed['reason'].iloc[0]}; see {self.out}.")
        clean, attacked = float(frame["mAP_clean"].iloc[0]), float(frame["mAP_attacked"].min())
        self.reporter.note(
            f"epoch {summary.epoch}, {LABEL} people: mAP {100 * clean:.2f}, attacked {100 * attacked:.2f} "
            f"(chance {100 * float(frame['chance_mAP'].iloc[0]):.2f})"
        )
        return replace(summary, mAP_clean=clean, mAP_attacked=attacked)


def refuse_nobody(recipe: Recipe, validation: Validation, reporter: Reporter) -> None:
    """UserError where the people who are kept out cannot be looked for: it would show after the first epoch."""
    if training_images(recipe.data, reporter)[1].modalities.any():
        raise UserError(
            f"The people who are kept out are looked for among images of one modality, and {recipe.data.label!r} has "
            f"two; take `validation` out of the recipe."
        )
    root = training_root(recipe.data, reporter)
    found = read_held_out(LABEL, root, identities=validation.identities, seed=validation.seed)
    if not len(found.gallery):
        raise UserError(
            f"The {validation.identities} people who are kept out have one image a camera each, so none is left to "
            f"find them in; keep out more, or take `validation` out of the recipe."
        )


def chosen_epoch(log: list[EpochSummary], validation: Validation | None) -> int:
    """The epoch, from 1, whose weights are handed out: of equal scores the earlier one."""
    if validation is None or validation.choose == "last":
        return log[-1].epoch
    scored = [(getattr(line, validation.choose), -line.epoch) for line in log]
    return -max((score, epoch) for score, epoch in scored if score is not None)[1]


def validation_card(log: list[EpochSummary], validation: Validation | None) -> dict[str, Any] | None:
    """What a card says of it."""
    if validation is None:
        return None
    found = chosen_epoch(log, validation)
    line = next(line for line in log if line.epoch == found)
    return {
        "identities": validation.identities,
        "seed": validation.seed,
        "choose": validation.choose,
        "grid": validation.grid,
        "epoch": found,
        "mAP_clean": line.mAP_clean,
        "mAP_attacked": line.mAP_attacked,
    }


def _sha256(state: Mapping[str, Tensor]) -> str:
    """Digest of a network's weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
