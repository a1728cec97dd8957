"""What cells run on: a whole data set, or one split of it where each split has a model of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..datasets.decoded import DecodedImages
from ..datasets.opening import OpenSet
from ..datasets.retrieval import RetrievalSet, SideName
from ..records import Cell, DatasetRef, PerturbAt, digest
from .batches import SideImages


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Images with their labels and pixels."""

    data: RetrievalSet
    #: How cells and caches know them.
    ref: DatasetRef
    decoded: DecodedImages
    #: By side, (N,) where each image lies in `decoded`.
    places: Mapping[SideName, NDArray[np.int64]]

    def images(
        self, side: SideName, *, perturb_at: PerturbAt, input_size: tuple[int, int] | None, device: torch.device
    ) -> SideImages:
        """The images of one side, as tensors."""
        return SideImages(
            decoded=self.decoded,
            places=self.places[side],
            modalities=self.data.side(side).modalities,
            perturb_at=perturb_at,
            input_size=input_size,
            device=device,
        )

    def split(self, number: int) -> Scene:
        """One split, from 0, as a data set by itself."""
        trial = self.data.trials[number]
        return Scene(
            data=self.data.of_trial(number),
            ref=replace(self.ref, sha256=digest([self.ref.sha256, "split", number])),
            decoded=self.decoded,
            places={"query": self.places["query"][trial.query], "gallery": self.places["gallery"][trial.gallery]},
        )


def scene_of(opened: OpenSet, decoded: DecodedImages) -> Scene:
    """All of a data set; its decoded images are queries first."""
    n_query, n_gallery = len(opened.data.query), len(opened.data.gallery)
    places: dict[SideName, NDArray[np.int64]] = {
        "query": np.arange(n_query),
        "gallery": n_query + np.arange(n_gallery),
    }
    return Scene(data=opened.data, ref=opened.ref, decoded=decoded, places=places)


def cell_of_split(cell: Cell, scene: Scene, number: int) -> Cell:
    """What is run for a cell on one split: its own model, perturbation and images."""
    return replace(
        cell,
        model=cell.model.of_trial(number),
        surrogate=None if cell.surrogate is None else cell.surrogate.of_trial(number),
        attack=cell.attack.of_trial(number),
        dataset=scene.ref,
    )
