"""Market-1501's layout: `query/`, `bounding_box_test/`, optional `bounding_box_train/`; `0002_c1s1_000451_03.jpg`.

Zheng et al., ICCV 2015. Identity -1 is junk (never scored), 0000 are distractors (ordinary negatives); both stay clean.
DukeMTMC-reID and Occluded-Duke have it too.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ... import InvalidFileError, UserError
from .assembly import assembled
from .counts import LATER_FOLDER, OFFICIAL, verify_part, verify_sides
from .listing import Layout, image_names, is_folder
from .retrieval import Images, RetrievalSet

# ASCII digits, and no more of them than an identity can have: 64 bits hold every one.
NAME = re.compile(r"(-?[0-9]{1,18})_c([0-9]{1,18})(?![0-9])")
_QUERY, _GALLERY = "query", "bounding_box_test"
_FOLDERS = {"query": _QUERY, "gallery": _GALLERY}
#: Where the layout keeps what models learn from.
TRAINING_FOLDER = "bounding_box_train"

_EXPECTED = "query/ and bounding_box_test/"
_SIGNS = ((_QUERY,), (_GALLERY,), (TRAINING_FOLDER,))

LAYOUTS = {
    "folder": Layout(title="Market-1501", folder_names=(), signs=_SIGNS, expected=_EXPECTED),
    "market1501": Layout(
        title="Market-1501",
        folder_names=("Market-1501-v15.09.15", "Market-1501", "market1501"),
        signs=_SIGNS,
        expected=_EXPECTED,
    ),
    "dukemtmc": Layout(
        title="DukeMTMC-reID",
        folder_names=("DukeMTMC-reID", "dukemtmc-reid", "dukemtmcreid"),
        signs=_SIGNS,
        expected=_EXPECTED,
    ),
    "occluded-duke": Layout(
        title="Occluded-Duke", folder_names=("Occluded_Duke", "Occluded-Duke"), signs=_SIGNS, expected=_EXPECTED
    ),
}


def read_folder(label: str, root: Path) -> RetrievalSet:
    """Any folder in Market-1501's layout; `bounding_box_train` is optional.

    Raises:
        UserError: the folder, or one of its two sides, is missing, unreadable or empty.
        InvalidFileError: an image whose name does not say identity and camera.
    """
    return read_layout(label, root, "folder")


def read_market1501(label: str, root: Path, *, with_500k: bool = False, verify: bool = True) -> RetrievalSet:
    """The whole Market-1501.

    Args:
        label: what the user calls it.
        root: its folder.
        with_500k: adds the distractors of `images/` to the gallery, all as identity 0.
        verify: whether other counts than the published ones are refused.

    Raises:
        InvalidFileError: another number of images, identities or cameras than the official set has.
    """
    found = _verified(label, root, "market1501", verify=verify)
    if not with_500k:
        return found
    more = images_in(found.root, LATER_FOLDER)
    gallery = Images(
        paths=found.gallery.paths + more.paths,
        identities=np.concatenate([found.gallery.identities, np.zeros_like(more.identities)]),
        cameras=np.concatenate([found.gallery.cameras, more.cameras]),
    )
    return assembled(label, "market1501", found.root, found.query, gallery, protocol="market")


def read_dukemtmc(label: str, root: Path, *, verify: bool = True) -> RetrievalSet:
    """DukeMTMC-reID, which its authors withdrew; arguments and errors as for Market-1501."""
    return _verified(label, root, "dukemtmc", verify=verify)


def read_occluded_duke(label: str, root: Path, *, verify: bool = True) -> RetrievalSet:
    """Occluded-Duke in Market-1501's layout, withdrawn as well; arguments and errors as for Market-1501."""
    return _verified(label, root, "occluded-duke", verify=verify)


def _verified(label: str, root: Path, layout: str, *, verify: bool) -> RetrievalSet:
    found = read_layout(label, root, layout)
    if verify:
        published = OFFICIAL[layout]
        verify_sides(published, found, _FOLDERS)
        if is_folder(found.root / TRAINING_FOLDER):
            images = images_in(found.root, TRAINING_FOLDER)
            verify_part(published, "train", images, found.root / TRAINING_FOLDER)
    return found


def read_training_images(root: Path) -> Images:
    """The labelled images of `bounding_box_train`, which a retrieval set leaves out.

    Raises:
        UserError: the folder is missing, unreadable or empty.
        InvalidFileError: an image whose name does not say identity and camera.
    """
    return images_in(root, TRAINING_FOLDER)


def read_layout(label: str, root: Path, layout: str) -> RetrievalSet:
    """Query and gallery of a folder, or of the one in it; `layout` is the name of the format that asked."""
    if not is_folder(root):
        raise UserError(
            f"Data set {label!r}: there is no folder {str(root)!r}; give the folder that holds {_EXPECTED}."
        )
    place = LAYOUTS[layout].search(root) or root
    query, gallery = images_in(place, _QUERY), images_in(place, _GALLERY)
    return assembled(label, layout, place, query, gallery, protocol="market")


def images_in(root: Path, folder: str) -> Images:
    """The images of one folder below `root`, by name.

    Raises:
        UserError: the folder is missing, unreadable or empty.
        InvalidFileError: an image whose name does not say identity and camera.
    """
    place = root / folder
    try:
        names = image_names(place)
    except FileNotFoundError:
        raise UserError(
            f"{str(root)!r} has no folder {folder!r}; expected Market-1501's layout: {_EXPECTED}."
        ) from None
    if not names:
        raise UserError(f"{str(place)!r} holds no images; expected files such as 0002_c1s1_000451_03.jpg.")
    labels = []
    for name in names:
        match = NAME.match(name)
        if not match:
            raise InvalidFileError(
                f"{str(place / name)!r} does not say who is on it; expected a name such as 0002_c1s1_000451_03.jpg "
                f"(identity, camera); rename or remove it."
            )
        labels.append((int(match.group(1)), int(match.group(2))))
    identities, cameras = np.ascontiguousarray(np.array(labels, dtype=np.int64).T)
    return Images(paths=tuple(f"{folder}/{name}" for name in names), identities=identities, cameras=cameras)
