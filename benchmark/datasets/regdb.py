"""RegDB (Nguyen et al., Sensors 2017): ten visible and ten thermal images of each of 412 people, ten splits in lists.

A list's labels count the people of one split; who it is, in every split, says the folder: `Visible/105/...`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from ... import InvalidFileError
from ..evaluation import PROTOCOLS, Trial
from .assembly import INFRARED, VISIBLE, Row, assembled, collected, person, present
from .counts import OFFICIAL, verify_part, verify_sides
from .listing import Layout, Tree
from .lists import Listed, number_in, read_list
from .retrieval import Images, RetrievalSet

#: What the lists call a modality.
_WORDS = {VISIBLE: "visible", INFRARED: "thermal"}
#: (query, gallery) of each protocol.
_SIDES = {"regdb-v2t": (VISIBLE, INFRARED), "regdb-t2v": (INFRARED, VISIBLE)}
#: Sides are told apart by numbers that stand for cameras; no rule looks at them.
_QUERY_CAMERA, _GALLERY_CAMERA = 1, 2
_TEST, _TRAINING = "test", "train"

REGDB = Layout(
    title="RegDB",
    folder_names=("RegDB", "RegDB_01"),
    signs=(("idx/test_visible_1.txt",), ("idx", "Visible", "Thermal")),
    expected="idx/test_visible_1.txt to idx/train_thermal_10.txt, Visible/ and Thermal/",
)


def read_regdb(label: str, root: Path, *, protocol: str = "regdb-v2t", verify: bool = True) -> RetrievalSet:
    """Everybody of the ten test splits; each trial is one split, the first of number 1.

    Args:
        label: what the user calls it.
        root: the folder that holds `idx`, `Visible` and `Thermal`.
        protocol: `regdb-v2t` (visible queries, thermal gallery) or `regdb-t2v`.
        verify: whether other counts than the published ones are refused.

    Raises:
        UserError: no such folder or list.
        InvalidFileError: other counts than the official set has, images that are listed but absent, or labels that
            disagree with the folders.
    """
    place = REGDB.find(label, root)
    rows = partial(_rows, Tree(place), place)
    splits = [rows(_TEST, number, _SIDES[protocol]) for number in range(1, PROTOCOLS[protocol].n_trials + 1)]
    query, gallery = (collected(row for split in splits for row in split[side]) for side in (0, 1))
    trials = tuple(Trial(query=_places(query, asked), gallery=_places(gallery, held)) for asked, held in splits)
    data = assembled(label, "regdb", place, query, gallery, protocol=protocol, trials=trials)
    if verify:
        verify_sides(OFFICIAL["regdb"], data)
        for number in range(1, len(trials) + 1):
            file = _file(place, _TRAINING, number, VISIBLE)
            if file.is_file():
                sides = _rows(None, place, _TRAINING, number, (VISIBLE, INFRARED))
                verify_part(OFFICIAL["regdb"], "train of a trial", collected(sides[0] + sides[1]), file)
    return data


def training_regdb(root: Path, *, trial: int) -> Images:
    """Both modalities of one training split, from 1."""
    place = REGDB.find("regdb", root)
    visible, thermal = _rows(Tree(place), place, _TRAINING, trial, (VISIBLE, INFRARED))
    return collected(visible + thermal)


def _file(root: Path, part: str, number: int, modality: int) -> Path:
    return root / "idx" / f"{part}_{_WORDS[modality]}_{number}.txt"


def _rows(
    tree: Tree | None, root: Path, part: str, number: int, modalities: tuple[int, int]
) -> tuple[list[Row], list[Row]]:
    """The images of a split by modality; without a tree it does not matter whether they are there."""
    labels: dict[int, int] = {}
    people: dict[int, int] = {}
    sides: tuple[list[Row], list[Row]] = ([], [])
    for side, modality, camera in zip(sides, modalities, (_QUERY_CAMERA, _GALLERY_CAMERA), strict=True):
        file = _file(root, part, number, modality)
        for line in read_list(file):
            who = number_in(line.path.split("/")[-2]) if "/" in line.path else None
            if who is None:
                raise InvalidFileError(
                    f"{str(file)!r}, line {line.number}: expected a path such as "
                    f"Visible/105/male_front_v_01081_105.bmp, whose folder is the person's number, got {line.path!r}."
                )
            if (other := people.setdefault(line.label, who)) != who:
                _disagree(file, line, f"that is folder {other}", number)
            if (label := labels.setdefault(who, line.label)) != line.label:
                _disagree(file, line, f"its folder has the label {label}", number)
            side.append(Row(line.path, person(who), camera, modality))
        if tree is not None:
            side[:] = present(tree, side, file)
    return sides


def _disagree(file: Path, line: Listed, why: str, number: int) -> NoReturn:
    raise InvalidFileError(
        f"{str(file)!r}, line {line.number}: {line.path!r} has the label {line.label}, but {why} elsewhere in split "
        f"{number}; restore the lists."
    )


def _places(images: Images, rows: list[Row]) -> NDArray[np.int64]:
    chosen = {row.path for row in rows}
    return np.array([place for place, path in enumerate(images.paths) if path in chosen], dtype=np.int64)
