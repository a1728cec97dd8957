"""A training set as the batches that the fit of a perturbation asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ... import UserError
from ...attacks.counts import from_counts
from ...attacks.universal import Batch
from ...models.base import MODALITIES, Modality
from ...models.training.sampling import batches, n_steps
from .data import FolderTrainingSet
from .universal_recipe import PerturbationRecipe


@dataclass(frozen=True, kw_only=True)
class FittingLoader:
    """A `Loader` of a training set: P x K batches of everybody, or of one modality by turns."""

    data: FolderTrainingSet
    recipe: PerturbationRecipe
    device: torch.device

    @property
    def size(self) -> tuple[int, int]:
        return self.data.size

    @property
    def n_images(self) -> int:
        return len(self.data)

    @property
    def n_epoch(self) -> int:
        return self._n_turns * len(self._parts) * self._width

    def n_of(self, modality: Modality) -> int:
        return len(_rows_of(self.data, modality))

    def everyone(self) -> Iterator[Batch]:
        for start in range(0, len(self.data), self._width):
            yield self._batch(np.arange(start, min(start + self._width, len(self.data))))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        # Under one seed the people of a turn are the same in all parts, where all parts have the same people.
        parts = [
            rows[
                batches(
                    self.data.identities[rows],
                    self.data.cameras[rows],
                    n_identities=self.recipe.identities,
                    n_images=self.recipe.images,
                    seed=self.recipe.seed,
                    epoch=epoch,
                )
            ]
            for rows in self._parts
        ]
        for turn in range(self._n_turns):
            for part in parts:
                yield self._batch(part[turn])

    @property
    def _width(self) -> int:
        return self.recipe.identities * self.recipe.images

    @property
    def _parts(self) -> list[NDArray[np.int64]]:
        """The images that one batch is drawn from, in the order in which they take turns."""
        return _parts(self.recipe, self.data)

    @property
    def _n_turns(self) -> int:
        """As many as the part with the fewest people has."""
        return min(n_steps(self.data.identities[rows], self.recipe.identities) for rows in self._parts)

    def _batch(self, indices: NDArray[np.int64]) -> Batch:
        pixels = torch.from_numpy(self.data.batch(indices)).to(self.device)
        return Batch(
            images=from_counts(pixels.float()),
            identities=torch.from_numpy(self.data.identities[indices]).to(self.device),
            modalities=torch.from_numpy(self.data.modalities[indices]).to(self.device),
        )


def refuse_to_fit(recipe: PerturbationRecipe, data: FolderTrainingSet) -> None:
    """UserError where a recipe's training images are too few, or have one modality and the procedure needs two."""
    if recipe.procedure.alternates_modalities:
        for modality in MODALITIES:
            if not len(_rows_of(data, modality)):
                raise UserError(
                    f"{recipe.attack} is fitted on visible and infrared training images by turns, and data set "
                    f"{data.label!r} has no {modality} ones; give `data` with both, or fit uap-retrieval."
                )
    for rows in _parts(recipe, data):
        n_steps(data.identities[rows], recipe.identities)


def _parts(recipe: PerturbationRecipe, data: FolderTrainingSet) -> list[NDArray[np.int64]]:
    if recipe.procedure.alternates_modalities:
        return [_rows_of(data, modality) for modality in MODALITIES]
    return [np.arange(len(data))]


def _rows_of(data: FolderTrainingSet, modality: Modality) -> NDArray[np.int64]:
    return np.flatnonzero(data.modalities == MODALITIES.index(modality))
