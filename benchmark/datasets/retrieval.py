"""A retrieval set: who is on which image, under which protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...attacks.references import Person
from ..evaluation import Labels, Protocol

SideName = Literal["query", "gallery"]
SIDE_NAMES: tuple[SideName, ...] = get_args(SideName)


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """The labelled images of one side, in the order of their paths."""

    #: Paths relative to the data root, with forward slashes; an image's id.
    paths: tuple[str, ...]
    #: (N,) int64; -1 is junk, 0 a distractor.
    identities: NDArray[np.int64]
    #: (N,) int64, from 1.
    cameras: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not len(self.paths) == len(self.identities) == len(self.cameras):
            raise ValueError(
                f"expected one identity and one camera a path, got {len(self.paths)} paths, "
                f"{len(self.identities)} identities and {len(self.cameras)} cameras"
            )

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def labels(self) -> Labels:
        """What ranking needs to know."""
        return Labels(identities=self.identities, cameras=self.cameras)

    @property
    def people(self) -> Person:
        """What attacks need to know."""
        return Person(identities=self.identities, cameras=self.cameras, image_ids=self.paths)


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalSet:
    """Query and gallery images of one data set, and the rules they are scored by."""

    #: What the user calls it.
    label: str
    #: `market1501`, `folder` ...
    format: str
    root: Path
    query: Images
    gallery: Images
    protocol: Protocol

    def side(self, name: SideName) -> Images:
        """The images of one side."""
        return self.query if name == "query" else self.gallery

    @property
    def paths(self) -> tuple[str, ...]:
        """Every image, queries first: the order of manifests and of decoded pixels."""
        return self.query.paths + self.gallery.paths
