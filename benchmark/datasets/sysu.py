"""SYSU-MM01 (Wu et al., ICCV 2017): four visible cameras, two near-infrared ones; an infrared query, a visible gallery.

Gallery images of a trial are drawn as in the public code of Ye et al. (AGW), TPAMI 2021; see `evaluation.trials`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from ... import UserError
from .assembly import INFRARED, VISIBLE, Row, assembled, collected
from .counts import official, verify_part, verify_sides
from .listing import Layout, image_names
from .lists import read_people
from .retrieval import Images, RetrievalSet

_VISIBLE, _INFRARED = (1, 2, 4, 5), (3, 6)
#: Of the visible cameras, those within buildings.
_INDOOR = (1, 2)
_TEST, _TRAINING = "exp/test_id.txt", ("exp/train_id.txt", "exp/val_id.txt")

SYSU = Layout(
    title="SYSU-MM01",
    folder_names=("SYSU-MM01", "SYSU_MM01", "sysu"),
    signs=(("exp", "cam1"), ("exp/test_id.txt",)),
    expected="cam1/ to cam6/ with a folder for each person, such as cam1/0001/, and exp/test_id.txt",
)


def read_sysu(label: str, root: Path, *, protocol: str = "sysu-all", verify: bool = True) -> RetrievalSet:
    """The people of `exp/test_id.txt`: all infrared images, and all visible ones of the cameras searched.

    Args:
        label: what the user calls it.
        root: the folder that holds `cam1` to `cam6` and `exp`.
        protocol: `sysu-all` or `sysu-indoor`, each also with `-multi-shot`.
        verify: whether other counts than the published ones are refused.

    Raises:
        UserError: no such folder or list.
        InvalidFileError: other counts than the official set has.
    """
    place = SYSU.find(label, root)
    people = read_people(place / _TEST)
    searched = _INDOOR if "indoor" in protocol else _VISIBLE
    query, gallery = _images(place, people, _INFRARED), _images(place, people, searched)
    data = assembled(label, "sysu", place, query, gallery, protocol=protocol)
    published = official("sysu", protocol)
    if verify and published:
        verify_sides(published, data)
        if all((place / file).is_file() for file in _TRAINING):
            images = _training(place)
            for name, modality in (("visible", VISIBLE), ("infrared", INFRARED)) if len(images) else ():
                part = images.part((images.modalities == modality).nonzero()[0])
                verify_part(published, f"train, {name}", part, place)
    return data


def training_sysu(root: Path) -> Images:
    """Everything of the people of `exp/train_id.txt` and `exp/val_id.txt`, as published models learn from it."""
    place = SYSU.find("sysu", root)
    images = _training(place)
    if not len(images):
        raise UserError(f"{str(place)!r} holds no images of the people to learn from; restore them.")
    return images


def _training(root: Path) -> Images:
    people = {who for file in _TRAINING for who in read_people(root / file)}
    return _images(root, people, (*_VISIBLE, *_INFRARED))


def _images(root: Path, people: Collection[int], cameras: Sequence[int]) -> Images:
    rows = []
    for camera in cameras:
        modality = INFRARED if camera in _INFRARED else VISIBLE
        for who in sorted(people):
            folder = f"cam{camera}/{who:04d}"
            try:
                names = image_names(root / folder)
            except FileNotFoundError:  # not everybody was seen by every camera
                continue
            rows += [Row(f"{folder}/{name}", who, camera, modality) for name in names]
    return collected(rows)
