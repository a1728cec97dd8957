"""From single images with who is on them to the sides and trials of a retrieval set."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ... import UserError
from ...models.base import MODALITIES
from ..evaluation import PROTOCOLS, Trial, drawn_trials
from .listing import Tree
from .retrieval import SIDE_NAMES, Images, RetrievalSet

VISIBLE, INFRARED = MODALITIES.index("visible"), MODALITIES.index("infrared")

#: What person 0 is called in sets that count people from 0: here 0 says that nobody is meant (Market's distractors).
PERSON_ZERO = 1_000_000


class Row(NamedTuple):
    """One image."""

    path: str
    identity: int
    camera: int
    modality: int = VISIBLE


def person(number: int) -> int:
    """The identity of a person by the number that a set has for them."""
    return number or PERSON_ZERO


def collected(rows: Iterable[Row]) -> Images:
    """Rows as one side, in the order of their paths; a path that occurs again is there once."""
    found = sorted({row.path: row for row in rows}.values())
    labels = np.array([row[1:] for row in found], dtype=np.int64).reshape(-1, 3)
    identities, cameras, modalities = (np.ascontiguousarray(column) for column in labels.T)
    return Images(paths=tuple(row.path for row in found), identities=identities, cameras=cameras, modalities=modalities)


def present(tree: Tree, rows: Sequence[Row], named_by: Path) -> list[Row]:
    """The rows of a list, with paths as they are on disk. InvalidFileError where some are absent."""
    found = tree.present([row.path for row in rows], named_by)
    return [row._replace(path=path) for row, path in zip(rows, found, strict=True) if path is not None]


def below(folder: str, images: Images) -> Images:
    """The same images, as seen from the folder around theirs."""
    if folder in {"", "."}:
        return images
    return Images(
        paths=tuple(f"{folder}/{path}" for path in images.paths),
        identities=images.identities,
        cameras=images.cameras,
        modalities=images.modalities,
    )


def assembled(
    label: str,
    layout: str,
    root: Path,
    query: Images,
    gallery: Images,
    *,
    protocol: str,
    trials: tuple[Trial, ...] | None = None,
) -> RetrievalSet:
    """A retrieval set, with the trials that its protocol draws.

    Args:
        label: what the user calls it.
        layout: the name of its format.
        root: what paths are relative to.
        query: one side.
        gallery: the other.
        protocol: its name.
        trials: those of a protocol with splits.

    Raises:
        UserError: a side without images.
    """
    for side, images in zip(SIDE_NAMES, (query, gallery), strict=True):
        if not len(images):
            raise UserError(f"Data set {label!r}: {str(root)!r} holds no {side} images; restore them.")
    rules = PROTOCOLS[protocol]
    if trials is None:
        drawn = drawn_trials(rules, (query.labels, query.paths), (gallery.labels, gallery.paths))
        trials = drawn if rules.drawn else ()
    return RetrievalSet(
        label=label, format=layout, root=root, query=query, gallery=gallery, protocol=rules, trials=trials
    )


def halves(people: Iterable[int], trial: int) -> tuple[list[int], list[int]]:
    """Who is learnt from and who is tested on in a random split, both ascending; of an odd number more are tested on.

    Args:
        people: everybody.
        trial: from 0; the seed.
    """
    order = sorted(set(people))
    random.Random(trial).shuffle(order)  # noqa: S311 (a split is no secret)
    middle = len(order) // 2
    return sorted(order[:middle]), sorted(order[middle:])


def trials_of_halves(query: Images, gallery: Images, count: int) -> tuple[Trial, ...]:
    """One trial a random split: the images of those who are tested on."""
    people = everybody(query, gallery)
    tested = [halves(people, trial)[1] for trial in range(count)]
    return tuple(Trial(query=places(query, who), gallery=places(gallery, who)) for who in tested)


def everybody(*parts: Images) -> list[int]:
    """The people on some images, ascending."""
    return sorted({who for images in parts for who in images.identities.tolist()})


def places(images: Images, people: Collection[int]) -> NDArray[np.int64]:
    """Where some people are, ascending."""
    return np.flatnonzero(np.isin(images.identities, np.array(sorted(people), dtype=np.int64)))


def joined(*parts: Images) -> Images:
    """Several parts as one, in the order of their paths."""
    return collected(
        Row(*row)
        for images in parts
        for row in zip(
            images.paths,
            images.identities.tolist(),
            images.cameras.tolist(),
            images.modalities.tolist(),
            strict=True,
        )
    )
