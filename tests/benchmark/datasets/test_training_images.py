"""Training images by format: who they show, in which light, and that nobody of them is tested on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from robustreid import InvalidFileError, UserError
from robustreid.benchmark.datasets.catalogue import open_dataset
from robustreid.benchmark.datasets.market import read_training_images
from robustreid.benchmark.datasets.training import SPLIT, read_training

Drawn = Callable[[str], Path]
FORMATS = ("market1501", "dukemtmc", "occluded-duke", "cuhk03", "sysu", "llcm", "table")


@pytest.mark.parametrize("layout", FORMATS)
def test_nobody_is_tested_on(layout: str, drawn: Drawn, layouts: Any) -> None:
    """One training part, apart from the test part in people and files."""
    train, data = read_training(layout, drawn(layout)), layouts.opened(drawn(layout), layout)
    assert len(train)
    assert not set(train.paths) & set(data.paths)
    tested = np.concatenate([data.query.identities, data.gallery.identities])
    assert not set(train.identities.tolist()) & set(tested.tolist())


@pytest.mark.parametrize("layout", sorted(SPLIT))
def test_every_trial_has_its_own(layout: str, drawn: Drawn, layouts: Any) -> None:
    """Ten of them, each the people whom that trial does not test on."""
    root = drawn(layout)
    data, known = layouts.opened(root, layout), set()
    everybody = set(data.query.identities.tolist())
    for number in range(1, 11):
        train = read_training(layout, root, {"trial": number})
        learnt = set(train.identities.tolist())
        tested = set(data.of_trial(number - 1).query.identities.tolist())
        assert learnt | tested == everybody
        assert not learnt & tested
        known.add(frozenset(learnt))
    assert len(known) == 10


def test_market_is_read_as_ever(drawn: Drawn, real_data: Path) -> None:
    """The same as the reader that training uses."""
    for root in (drawn("market1501"), real_data / "market1501-mini"):
        found, same = read_training("folder", root), read_training_images(root)
        assert (found.paths, found.identities.tolist()) == (same.paths, same.identities.tolist())


def test_the_lists_of_msmt17(drawn: Drawn, layouts: Any) -> None:
    """`list_train.txt` alone; people are numbered apart from those tested on."""
    train = read_training("msmt17", drawn("msmt17"))
    lines = (drawn("msmt17") / "list_train.txt").read_text().splitlines()
    assert sorted(train.paths) == sorted(f"mask_train_v2/{line.split()[0]}" for line in lines)
    assert set(train.cameras.tolist()) == {int(line.split("/")[1].split("_")[2]) for line in lines}


def test_sysu_learns_from_the_validation_part_too(drawn: Drawn, layouts: Any) -> None:
    """All six cameras of the people of both lists."""
    train = read_training("sysu", drawn("sysu"))
    assert set(train.identities.tolist()) == {*layouts.SYSU_TRAIN, *layouts.SYSU_VAL}
    for camera in range(1, 7):
        light = set(train.modalities[train.cameras == camera].tolist())
        assert light == ({1} if camera in {3, 6} else {0})


def test_the_lists_of_llcm(drawn: Drawn, copied: Callable[..., Path], layouts: Any) -> None:
    """Person and camera from the names, both kinds of light; labels that disagree are told by line."""
    train = read_training("llcm", drawn("llcm"))
    for path, (who, camera, modality) in layouts.labels(train).items():
        folder, person, name = path.split("/")
        assert (who, camera) == (int(person), int(name.split("_")[1][1:]))
        assert modality == ("visible" if folder == "vis" else "infrared")
    root = copied("llcm")
    file = root / "idx/train_nir.txt"
    file.write_text(file.read_text().replace(" 1\n", " 0\n", 1))
    with pytest.raises(InvalidFileError, match=r"train_nir.txt', line 3: label 0 stands for person 2 here and for 1"):
        read_training("llcm", root)
    file.write_text("nir/0001/who.jpg 0\n")
    with pytest.raises(InvalidFileError, match=r"line 1: 'nir/0001/who.jpg' does not say who is on it"):
        read_training("llcm", root)


def test_regdb_in_both_lights(drawn: Drawn) -> None:
    """Visible and thermal images of the same people."""
    train = read_training("regdb", drawn("regdb"), {"trial": 4})
    for modality, word in ((0, "Visible"), (1, "Thermal")):
        assert {path.split("/")[0] for path in train.part(np.flatnonzero(train.modalities == modality)).paths} == {word}


def test_boxes_of_cuhk03(drawn: Drawn) -> None:
    """By both routes."""
    for boxes in ("labeled", "detected"):
        assert all(path.startswith(boxes) for path in read_training("cuhk03", drawn("cuhk03"), {"boxes": boxes}).paths)
        found = read_training("cuhk03", drawn("cuhk03_mat"), {"boxes": boxes})
        assert len(found) == 18
        assert all(path.startswith(f"images_{boxes}/") for path in found.paths)


def test_paths_start_at_the_root_that_was_given(copied: Callable[..., Path]) -> None:
    """Also where the data set lies in a folder below."""
    root = copied("llcm", "outer/LLCM")
    assert all(path.startswith("LLCM/") for path in read_training("llcm", root.parent).paths)
    assert all((root.parent / path).is_file() for path in read_training("llcm", root.parent).paths)


def test_refusals(drawn: Drawn, tmp_path: Path) -> None:
    """No trial, a wrong one, one that has no use; formats and folders without training images."""
    for options in ({}, {"trial": 0}, {"trial": 11}, {"trial": True}, {"trial": "1"}):
        with pytest.raises(UserError, match=r"RegDB has 10 splits, .* give `trial` as a whole number from 1 to 10"):
            read_training("regdb", drawn("regdb"), options)
    with pytest.raises(UserError, match="takes no `trial`; that is for cuhk01, viper, regdb"):
        read_training("sysu", drawn("sysu"), {"trial": 1})
    with pytest.raises(UserError, match="`trial` is for training; all trials are scored, so remove it"):
        open_dataset("x", "regdb", drawn("regdb"), {"trial": 1})
    with pytest.raises(UserError, match="Format 'held-out' has no training images"):
        read_training("held-out", drawn("market1501"))
    with pytest.raises(
        UserError, match=r"There are no training images of Market-1501: no folder '.*bounding_box_train"
    ):
        read_training("market1501", tmp_path)
    with pytest.raises(UserError, match="takes no `boxes`; that is for cuhk03"):
        read_training("sysu", drawn("sysu"), {"boxes": "labeled"})
