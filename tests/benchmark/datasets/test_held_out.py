"""People who are kept out of training: always the same ones, split into query and gallery, and in no training set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from robustreid import UserError
from robustreid.benchmark.datasets.catalogue import open_dataset
from robustreid.benchmark.datasets.held_out import held_out, read_held_out
from robustreid.benchmark.datasets.market import read_training_images
from robustreid.benchmark.datasets.opening import DatasetRequest
from robustreid.benchmark.progress import Silent
from robustreid.benchmark.training.data import FolderTrainingSet, open_training_set

Write = Callable[..., Path]


def write(root: Path, names: list[str]) -> Path:
    """A training folder of tiny images by name, each its own."""
    folder = root / "bounding_box_train"
    folder.mkdir(parents=True)
    for place, name in enumerate(names):
        Image.fromarray(np.full((8, 4, 3), place % 256, dtype=np.uint8)).save(folder / name)
    return root


@pytest.fixture
def people(tmp_path: Path, own_cache: Path) -> Path:
    """Twelve people whom two cameras saw twice each, one whom a single camera saw, junk and a distractor."""
    names = [f"{p:04d}_c{c}s1_{shot:06d}_00.png" for p in range(1, 13) for c in (1, 2) for shot in (1, 2)]
    names += ["0013_c1s1_000001_00.png", "-1_c1s1_000001_00.png", "0000_c1s1_000001_00.png"]
    return write(tmp_path / "people", names)


def training_set(root: Path, count: int, seed: int = 0) -> FolderTrainingSet:
    """What is learnt from."""
    request = DatasetRequest(label="people", format="folder", root=root)
    return open_training_set(request, reporter=Silent(), n_held_out=count, held_out_seed=seed)


def check_apart(kept: set[int], learnt: set[int]) -> None:
    """Nobody is in both, and nobody is lost."""
    assert not kept & learnt
    assert kept | learnt == set(range(1, 14))


def test_nobody_is_in_both(people: Path) -> None:
    """Whoever is kept out is not learnt from; a training set that forgets about it is seen."""
    for seed in range(4):
        found = read_held_out("out", people, identities=5, seed=seed)
        kept = set(found.query.identities.tolist()) | set(found.gallery.identities.tolist())
        assert len(kept) == 5
        check_apart(kept, set(training_set(people, 5, seed).identities.tolist()))
        with pytest.raises(AssertionError):
            check_apart(kept, set(training_set(people, 0).identities.tolist()))
        with pytest.raises(AssertionError):
            check_apart(kept, set(training_set(people, 5, seed + 1).identities.tolist()))


def test_queries_are_the_first_image_by_each_camera(people: Path) -> None:
    """One a person and camera, all others are the gallery, and every query has a right answer."""
    found = read_held_out("out", people, identities=5)
    assert len(found.query) == 10
    assert len(found.gallery) == 10
    assert all("_000001_" in path for path in found.query.paths)
    assert not set(found.query.paths) & set(found.gallery.paths)
    for identity, camera in zip(found.query.identities, found.query.cameras, strict=True):
        others = found.gallery.cameras[found.gallery.identities == identity]
        assert (others != camera).any()


def test_who_is_kept_out_is_a_matter_of_identity_and_seed(people: Path, tmp_path: Path) -> None:
    """More images of the same people, or another folder, keep out the same ones; another seed keeps out others."""
    images = read_training_images(people)
    first = held_out(images, 5, 0)
    assert (first == held_out(images.part(np.arange(len(images))[::-1]), 5, 0)).all()
    assert set(first) != set(held_out(images, 5, 1))
    assert set(held_out(images, 4, 0)) < set(first)
    assert 13 not in held_out(images, 11, 0)


@pytest.mark.parametrize("count", [12, 13, 400])
def test_too_many_are_refused(people: Path, count: int) -> None:
    """Two must be left to learn from, and one camera makes no query."""
    with pytest.raises(UserError, match=r"cannot be kept out.*lower the number"):
        training_set(people, count)


def test_a_grid_can_name_them(people: Path) -> None:
    """As a format with options; a root is needed, and no other option is taken."""
    found = open_dataset("val", "held-out", people, {"identities": 3, "seed": 1})
    assert len(set(found.query.identities.tolist())) == 3
    with pytest.raises(UserError, match="needs a `root`"):
        open_dataset("val", "held-out", None)
    with pytest.raises(UserError, match="takes no `cameras`; that is for synthetic"):
        open_dataset("val", "held-out", people, {"cameras": 3})
    with pytest.raises(UserError, match=r"no folder .*bounding_box_train"):
        read_held_out("val", people / "bounding_box_train")
