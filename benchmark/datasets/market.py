"""Market-1501's layout: `query/`, `bounding_box_test/`, optional `bounding_box_train/`; `0002_c1s1_000451_03.jpg`.

Zheng et al., ICCV 2015. Identity -1 is junk (never scored), 0000 are distractors (ordinary negatives); both stay clean.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ... import InvalidFileError, UserError
from ..evaluation import PROTOCOLS
from .retrieval import SIDE_NAMES, Images, RetrievalSet

# ASCII digits, and no more of them than an identity can have: 64 bits hold every one.
_NAME = re.compile(r"(-?[0-9]{1,18})_c([0-9]{1,18})(?![0-9])")
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
_FOLDERS = {"query": "query", "gallery": "bounding_box_test"}
#: Where the layout keeps what models learn from.
TRAINING_FOLDER = "bounding_box_train"

#: What the whole Market-1501 has: images, and identities without -1 and 0000.
MARKET_1501_COUNTS: Mapping[str, tuple[int, int]] = {
    "query": (3368, 750),
    "bounding_box_test": (19732, 750),
    "bounding_box_train": (12936, 751),
}


def read_folder(label: str, root: Path) -> RetrievalSet:
    """Any folder in Market-1501's layout; `bounding_box_train` is optional.

    Raises:
        UserError: the folder, or one of its two sides, is missing, unreadable or empty.
        InvalidFileError: an image whose name does not say identity and camera.
    """
    return read_layout(label, root, "folder")


def read_market1501(label: str, root: Path) -> RetrievalSet:
    """The whole Market-1501, its counts verified.

    Raises:
        InvalidFileError: another number of images or identities than the official set has.
    """
    found = read_layout(label, root, "market1501")
    for folder, (n_images, n_identities) in MARKET_1501_COUNTS.items():
        if folder == "bounding_box_train":
            if not (root / folder).is_dir():
                continue
            images = _images(root, folder)
        else:
            images = found.query if folder == "query" else found.gallery
        people = len(set(images.identities.tolist()) - {-1, 0})
        if (len(images), people) != (n_images, n_identities):
            raise InvalidFileError(
                f"{root / folder} holds {len(images)} images of {people} identities, but Market-1501 has {n_images} of "
                f"{n_identities} there; restore the set, or use `format: folder` for a part of it."
            )
    return found


def read_training_images(root: Path) -> Images:
    """The labelled images of `bounding_box_train`, which a retrieval set leaves out.

    Raises:
        UserError: the folder is missing, unreadable or empty.
        InvalidFileError: an image whose name does not say identity and camera.
    """
    return _images(root, TRAINING_FOLDER)


def read_layout(label: str, root: Path, layout: str) -> RetrievalSet:
    """Query and gallery of a folder; `layout` is the name of the format that asked."""
    if not root.is_dir():
        raise UserError(
            f"Data set {label!r}: there is no folder {str(root)!r}; give the folder that holds query/ and "
            f"bounding_box_test/."
        )
    query, gallery = (_images(root, _FOLDERS[side]) for side in SIDE_NAMES)
    return RetrievalSet(
        label=label, format=layout, root=root, query=query, gallery=gallery, protocol=PROTOCOLS["market"]
    )


def _images(root: Path, folder: str) -> Images:
    place = root / folder
    try:
        names = sorted(entry.name for entry in os.scandir(place) if Path(entry.name).suffix.lower() in _SUFFIXES)
    except FileNotFoundError:
        raise UserError(
            f"{str(root)!r} has no folder {folder!r}; expected Market-1501's layout: query/ and bounding_box_test/."
        ) from None
    except OSError as error:
        raise UserError(f"{str(place)!r} cannot be read: {error.strerror}; check its permissions.") from error
    if not names:
        raise UserError(f"{str(place)!r} holds no images; expected files such as 0002_c1s1_000451_03.jpg.")
    labels = []
    for name in names:
        match = _NAME.match(name)
        if not match:
            raise InvalidFileError(
                f"{str(place / name)!r} does not say who is on it; expected a name such as 0002_c1s1_000451_03.jpg "
                f"(identity, camera); rename or remove it."
            )
        labels.append((int(match.group(1)), int(match.group(2))))
    identities, cameras = np.array(labels, dtype=np.int64).T
    return Images(paths=tuple(f"{folder}/{name}" for name in names), identities=identities, cameras=cameras)
