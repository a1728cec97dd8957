"""What is kept of the images of a cell: the first attacked ones, and ranking lists with every image they show.

Attacked pixels are gone when their batch is done, and which of them end in a list is known only when all batches are.
So lists grow while batches end: an attacked image that is in one then is written, and those that have left again are
removed at the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...attacks.references import Selection
from ..datasets.retrieval import RetrievalSet, SideName
from ..records import Cell
from ..store.directory import RunDirectory
from .batches import Batch, SideImages
from .features import CleanFeatures
from .images import image_file, remove_others, write_image, write_manifest
from .lists import Lists
from .rankings import Nearest, nobody_near, shown_queries


@dataclass(kw_only=True)
class Keeper:
    """Decides batch by batch which attacked images of one side of a cell are kept."""

    run: RunDirectory
    cell_id: str
    #: Image ids of the side.
    paths: tuple[str, ...]
    #: Places of the images that are kept whatever comes of them.
    wanted: frozenset[int]
    #: The lists so far, of all images that stay clean and of the batches that are done; None where no attacked image
    #: can be in one.
    nearest: Nearest | None = None

    def has(self, batch: Batch, features: NDArray[np.float32]) -> bool:
        """Whether all that has to be kept of a batch that was done before lies there; if so, it counts."""
        nearest = self._after(batch, features)
        if not all(self._file(batch.indices[row]).exists() for row in self._rows(batch, nearest)):
            return False
        self.nearest = nearest
        return True

    def keep(self, batch: Batch, features: NDArray[np.float32], scored: Tensor) -> None:
        """Write what has to be kept of a batch, `scored` (B, 3, H, W) on the 8-bit grid with `features` (n, D)."""
        self.nearest = self._after(batch, features)
        for row in self._rows(batch, self.nearest):
            write_image(self.run, self._file(batch.indices[row]), scored[row])

    def _after(self, batch: Batch, features: NDArray[np.float32]) -> Nearest | None:
        return None if self.nearest is None else self.nearest.among(batch.indices, features)

    def _rows(self, batch: Batch, nearest: Nearest | None) -> list[int]:
        needed = self.wanted if nearest is None else self.wanted | nearest.members()
        return [row for row, place in enumerate(batch.indices.tolist()) if place in needed]

    def _file(self, place: int) -> Path:
        return image_file(self.run.images(self.cell_id), self.paths[place])


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What the cells of a group keep."""

    run: RunDirectory
    data: RetrievalSet
    #: By label of the model that is scored.
    clean: Mapping[str, CleanFeatures]
    images: Callable[[SideName], SideImages]
    #: Attacked images a side, and queries whose lists are shown.
    count: int
    #: Ids of the cells that keep anything.
    cells: frozenset[str]

    def keeper(self, cell: Cell, side: SideName, selection: Selection) -> Keeper:
        """Who decides for a cell while a side is attacked."""
        wanted = _first(selection, self.count)
        nearest = None
        if _has_lists(cell):
            shown = shown_queries(self.data, side, selection, self.count)
            if side == "query":
                wanted |= frozenset(shown.tolist())
            else:
                stays_clean = np.setdiff1d(np.arange(len(self.data.gallery)), selection.attacked)
                clean = self.clean[cell.model.label]
                nearest = nobody_near(self.data, shown, clean.query[shown], cell.model.metric)
                nearest = nearest.among(stays_clean, clean.gallery[stays_clean])
        paths = self.data.side(side).paths
        return Keeper(run=self.run, cell_id=cell.cell_id, paths=paths, wanted=wanted, nearest=nearest)

    def finish(self, cell: Cell, sides: Mapping[SideName, tuple[Selection, NDArray[np.float32]]]) -> None:
        """Write lists and manifest of a cell that was attacked on `sides`, and remove what they do not name.

        Args:
            cell: the cell.
            sides: by attacked side who was attacked, and all its features (N, D) afterwards.
        """
        files: list[Path] = []
        if _has_lists(cell):
            ((side, (selection, features)),) = sides.items()
            files += self._write_lists(cell, side, selection, features)
        wanted = {side: _first(selection, self.count) for side, (selection, _) in sides.items()}
        files += write_manifest(self.run, cell.cell_id, self.data, wanted)
        remove_others(self.run.images(cell.cell_id), frozenset(files))

    def _write_lists(
        self, cell: Cell, side: SideName, selection: Selection, attacked: NDArray[np.float32]
    ) -> list[Path]:
        """Write `rankings.json` and the clean images it names; gives these files and the attacked ones it names."""
        shown = shown_queries(self.data, side, selection, self.count)
        own = self.clean[cell.model.label]
        clean = {"query": own.query, "gallery": own.gallery}

        def nearest(features: Mapping[str, NDArray[np.float32]]) -> Nearest:
            nobody = nobody_near(self.data, shown, features["query"][shown], cell.model.metric)
            return nobody.among(np.arange(len(self.data.gallery)), features["gallery"])

        lists = Lists(
            data=self.data,
            cell_id=cell.cell_id,
            side=side,
            attacked=frozenset(selection.attacked.tolist()),
            before=nearest(clean),
            after=nearest({**clean, side: attacked}),
        )
        folder = self.run.images(cell.cell_id)
        for name, (where, place) in lists.clean_files().items():
            one = Batch(indices=np.array([place]), places=np.array([0]), size=1)
            write_image(self.run, folder / name, self.images(where).load(one)[0])
        self.run.write(folder / "rankings.json", json.dumps(lists.content(), indent=1).encode())
        return [folder / name for name in ("rankings.json", *lists.clean_files(), *lists.attacked_files())]


def _first(selection: Selection, count: int) -> frozenset[int]:
    """The places of the first `count` attacked images: junk and distractors stay clean and are left out."""
    return frozenset(selection.attacked[:count].tolist())


def _has_lists(cell: Cell) -> bool:
    """Targeted or on both sides, lists before and after would not be answers to one question."""
    return cell.goal == "untargeted" and cell.side != "both"
