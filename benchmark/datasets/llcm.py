"""LLCM (Zhang and Wang, CVPR 2023): nine cameras in low light, each person in visible and near-infrared light."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from ... import InvalidFileError
from .assembly import INFRARED, VISIBLE, Row, assembled, collected, person, present
from .counts import official, verify_sides
from .listing import Layout, Tree, image_names
from .lists import read_list, read_people
from .retrieval import SIDE_NAMES, Images, RetrievalSet

#: Folder and cameras of the test images by modality; no infrared images of camera 3 were published.
_TEST = {VISIBLE: ("test_vis", tuple(range(1, 10))), INFRARED: ("test_nir", (1, 2, 4, 5, 6, 7, 8, 9))}
_TRAINING = {VISIBLE: "idx/train_vis.txt", INFRARED: "idx/train_nir.txt"}
#: (query, gallery) of each protocol.
_SIDES = {
    "llcm-v2i": (VISIBLE, INFRARED),
    "llcm-i2v": (INFRARED, VISIBLE),
    "llcm-v2i-published": (INFRARED, VISIBLE),
}
#: `nir/0001/0001_c01_s185535_f7010_nir.jpg`: person and camera.
_NAME = re.compile(r"([0-9]{1,9})_c([0-9]{1,2})(?![0-9])")

LLCM = Layout(
    title="LLCM",
    folder_names=("LLCM",),
    signs=(("idx/test_id.txt",), ("test_vis", "test_nir")),
    expected="idx/test_id.txt, test_vis/ and test_nir/ with folders such as test_vis/cam1/0003/",
)


def read_llcm(label: str, root: Path, *, protocol: str = "llcm-v2i", verify: bool = True) -> RetrievalSet:
    """The people of `idx/test_id.txt`: all images of both modalities; each trial draws from one of them.

    Args:
        label: what the user calls it.
        root: the folder that holds `idx`, `test_vis` and `test_nir`.
        protocol: `llcm-v2i`, `llcm-i2v`, or `llcm-v2i-published`, which is what the public code scores as the first.
        verify: whether other counts than the published ones are refused.

    Raises:
        UserError: no such folder or list.
        InvalidFileError: other counts than the official set has.
    """
    place = LLCM.find(label, root)
    people = read_people(place / "idx/test_id.txt")
    sides = dict(zip(SIDE_NAMES, _SIDES[protocol], strict=True))
    query, gallery = (_images(place, people, modality) for modality in sides.values())
    data = assembled(label, "llcm", place, query, gallery, protocol=protocol)
    published = official("llcm", protocol)
    if verify and published:
        verify_sides(published, data, {side: _TEST[modality][0] for side, modality in sides.items()})
    return data


def training_llcm(root: Path) -> Images:
    """Both modalities of the training lists; identity and camera are in the names, and labels agree with them."""
    place = LLCM.find("llcm", root)
    tree = Tree(place)
    rows = []
    for modality, name in _TRAINING.items():
        rows += present(tree, _listed(place / name, modality), place / name)
    return collected(rows)


def _images(root: Path, people: Collection[int], modality: int) -> Images:
    folder, cameras = _TEST[modality]
    rows = []
    for camera in cameras:
        for who in sorted(people):
            place = f"{folder}/cam{camera}/{who:04d}"
            try:
                names = image_names(root / place)
            except FileNotFoundError:  # not everybody was seen by every camera
                continue
            rows += [Row(f"{place}/{name}", person(who), camera, modality) for name in names]
    return collected(rows)


def _listed(file: Path, modality: int) -> list[Row]:
    people: dict[int, int] = {}
    rows = []
    for line in read_list(file):
        match = _NAME.match(line.path.rpartition("/")[2])
        if match is None:
            raise InvalidFileError(
                f"{str(file)!r}, line {line.number}: {line.path!r} does not say who is on it; expected a name such as "
                f"0001_c01_s185535_f7010_nir.jpg (person, camera)."
            )
        who, camera = map(int, match.groups())
        if people.setdefault(line.label, who) != who:
            raise InvalidFileError(
                f"{str(file)!r}, line {line.number}: label {line.label} stands for person {who} here and for "
                f"{people[line.label]} above; restore the list."
            )
        rows.append(Row(line.path, person(who), camera, modality))
    return rows
