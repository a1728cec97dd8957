"""What `rankings.json` says: the lists of some queries before and after an attack, and a file for every image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.catalogue import DRAWN
from ..datasets.retrieval import RetrievalSet, SideName
from .images import image_file
from .rankings import Nearest, is_match

#: Raised when a reader of an older `rankings.json` would misread a new one.
VERSION = 1
#: The folder of the clean images; attacked ones lie beside it under their own ids.
_CLEAN = Path("clean")


@dataclass(frozen=True, kw_only=True, eq=False)
class Lists:
    """The lists of one cell; files are named relative to the folder of its images, with forward slashes."""

    data: RetrievalSet
    cell_id: str
    #: The attacked side, and the places of its attacked images.
    side: SideName
    attacked: frozenset[int]
    #: Of the same queries.
    before: Nearest
    after: Nearest

    def content(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        queries = [
            {
                **self._image("query", query, is_after=True),
                "before": [self._answer(query, place, is_after=False) for place in self.before.row(number)],
                "after": [self._answer(query, place, is_after=True) for place in self.after.row(number)],
            }
            for number, query in enumerate(self.before.queries.tolist())
        ]
        return {
            "version": VERSION,
            "cell_id": self.cell_id,
            "side": self.side,
            # Absent in older files, which are then taken for images of real people.
            "is_drawn": self.data.format in DRAWN,
            "queries": queries,
        }

    def clean_files(self) -> dict[str, tuple[SideName, int]]:
        """By file name, of which side and place on it every clean image that is shown is."""
        places = {"query": self.before.queries.tolist(), "gallery": self.before.members() | self.after.members()}
        sides: tuple[SideName, ...] = ("query", "gallery")
        return {self._name(side, place, _CLEAN): (side, place) for side in sides for place in sorted(places[side])}

    def attacked_files(self) -> list[str]:
        """The file names of the attacked images that are shown."""
        shown = frozenset(self.after.queries.tolist()) if self.side == "query" else self.after.members()
        return [self._name(self.side, place) for place in sorted(shown & self.attacked)]

    def _answer(self, query: int, place: int, *, is_after: bool) -> dict[str, Any]:
        matches = is_match(self.data, np.array([query]), np.array([place]))
        return {**self._image("gallery", place, is_after=is_after), "is_match": bool(matches[0, 0])}

    def _image(self, side: SideName, place: int, *, is_after: bool) -> dict[str, Any]:
        images = self.data.side(side)
        is_attacked = is_after and side == self.side and place in self.attacked
        return {
            "image_id": images.paths[place],
            "identity": int(images.identities[place]),
            "camera": int(images.cameras[place]),
            "clean_file": self._name(side, place, _CLEAN),
            "attacked_file": self._name(side, place) if is_attacked else None,
        }

    def _name(self, side: SideName, place: int, folder: Path = Path()) -> str:
        return image_file(folder, self.data.side(side).paths[place]).as_posix()
