"""People of a training split who are kept out of training: a retrieval set to choose recipes and epochs by.

Who is kept out is a function of the identities and a seed, and is the same wherever the images are: whoever opens the
training split without them and whoever opens them agree.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ... import UserError
from ...attacks.neighbours import NOBODY
from ..evaluation import PROTOCOLS
from .market import TRAINING_FOLDER, read_training_images
from .retrieval import Images, RetrievalSet


def held_out(images: Images, count: int, seed: int) -> NDArray[np.int64]:
    """The identities (count,), ascending, that are kept out: those whose seeded hash is lowest.

    Args:
        images: the whole training split.
        count: how many; only people whom two cameras saw can be looked for, so only those count.
        seed: another number, other people.

    Raises:
        UserError: there are not that many, and two more to learn from.
    """
    people = np.unique(images.identities[~np.isin(images.identities, NOBODY)])
    seen = [p for p in people.tolist() if len(set(images.cameras[images.identities == p].tolist())) > 1]
    if count > len(seen) or count > len(people) - 2:
        raise UserError(
            f"{count} identities cannot be kept out: the training images show {len(people)}, {len(seen)} of them by "
            f"more than one camera, and at least two are needed to learn from; lower the number."
        )
    order = sorted(seen, key=lambda person: hashlib.blake2b(f"{seed}\n{person}".encode()).digest())
    return np.array(sorted(order[:count]), dtype=np.int64)


def read_held_out(label: str, root: Path, *, identities: int = 50, seed: int = 0) -> RetrievalSet:
    """Those people as a retrieval set: queries are their first image by each camera, the gallery is all the rest.

    Args:
        label: what the user calls it.
        root: a folder with `bounding_box_train`, in Market-1501's layout.
        identities: how many people.
        seed: which.

    Raises:
        UserError: no such folder, or too few people.
        InvalidFileError: an image whose name does not say identity and camera.
    """
    if not (root / TRAINING_FOLDER).is_dir():
        raise UserError(
            f"Data set {label!r}: there is no folder {str(root / TRAINING_FOLDER)!r}; give the `root` of a set in "
            f"Market-1501's layout that has training images."
        )
    images = read_training_images(root)
    chosen = np.flatnonzero(np.isin(images.identities, held_out(images, identities, seed)))
    pairs = np.stack([images.identities[chosen], images.cameras[chosen]])
    first = np.unique(pairs, axis=1, return_index=True)[1]
    is_query = np.zeros(len(chosen), dtype=bool)
    is_query[first] = True
    return RetrievalSet(
        label=label,
        format="held-out",
        root=root,
        query=images.part(chosen[is_query]),
        gallery=images.part(chosen[~is_query]),
        protocol=PROTOCOLS["market"],
    )
