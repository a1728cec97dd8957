"""A retrieval set: who is on which image, under which protocol."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ... import InvalidFileError
from ...attacks.references import Person
from ..evaluation import Labels, Protocol, Trial

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
    #: (N,) int64, places in `MODALITIES`; empty where all are visible.
    modalities: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if not len(self.modalities):
            object.__setattr__(self, "modalities", np.zeros(len(self.paths), dtype=np.int64))
        if not len(self.paths) == len(self.identities) == len(self.cameras) == len(self.modalities):
            raise ValueError(
                f"expected an identity, a camera and a modality for each path, got {len(self.paths)} paths, "
                f"{len(self.identities)} identities, {len(self.cameras)} cameras and {len(self.modalities)} modalities"
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

    def part(self, places: NDArray[np.int64]) -> Images:
        """Some of them."""
        paths = tuple(self.paths[place] for place in places.tolist())
        return Images(
            paths=paths,
            identities=self.identities[places],
            cameras=self.cameras[places],
            modalities=self.modalities[places],
        )


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
    #: Which images each trial is about; empty where there is one, about all.
    trials: tuple[Trial, ...] = ()

    def of_trial(self, number: int) -> RetrievalSet:
        """What one trial is about, from 0."""
        trial = self.trials[number]
        return replace(self, query=self.query.part(trial.query), gallery=self.gallery.part(trial.gallery), trials=())

    def side(self, name: SideName) -> Images:
        """The images of one side."""
        return self.query if name == "query" else self.gallery

    @property
    def label_digest(self) -> str:
        """Of who is on which image of which side by which camera, and of the trials: hexadecimal."""
        found = hashlib.sha256()
        for side in SIDE_NAMES:
            images = self.side(side)
            found.update("\n".join([side, *images.paths]).encode())
            for column in (images.identities, images.cameras, images.modalities):
                found.update(column.astype("<i8").tobytes())
        for trial in self.trials:
            for places in (trial.query, trial.gallery):
                found.update(len(places).to_bytes(8, "little") + places.astype("<i8").tobytes())
        return found.hexdigest()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every image, queries first: the order of manifests and of decoded pixels."""
        return self.query.paths + self.gallery.paths


def with_queries(data: RetrievalSet, count: int) -> RetrievalSet:
    """The same set with `count` of its queries, always the same ones: those whose names hash lowest.

    Each trial keeps those of its own that are among them.

    Raises:
        InvalidFileError: it has fewer, or a trial would have none.
    """
    if count > len(data.query):
        raise InvalidFileError(
            f"Data set {data.label!r} has {len(data.query)} queries, and {count} were asked for; lower `queries`."
        )
    digests = [hashlib.blake2b(path.encode()).digest() for path in data.query.paths]
    chosen = np.sort(np.array(sorted(range(len(digests)), key=digests.__getitem__)[:count], dtype=np.int64))
    trials = tuple(replace(trial, query=np.flatnonzero(np.isin(chosen, trial.query))) for trial in data.trials)
    if not all(len(trial.query) for trial in trials):
        raise InvalidFileError(
            f"Data set {data.label!r} has trials without any of the {count} queries that were asked for; raise "
            f"`queries`."
        )
    return replace(data, query=data.query.part(chosen), trials=trials)
