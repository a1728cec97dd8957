"""Training sets from folders: who is in them, which pixels, under which digest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from robustreid import UserError
from robustreid.benchmark.datasets.opening import DatasetRequest
from robustreid.benchmark.progress import Silent
from robustreid.benchmark.training.data import FolderTrainingSet, open_training_set


def opened(root: Path, size: tuple[int, int] | None = None) -> FolderTrainingSet:
    """The training set of a folder."""
    request = DatasetRequest(label="mini", format="folder", root=root)
    return open_training_set(request, reporter=Silent(), input_size=size)


def test_pixels_and_labels_are_those_of_the_files(workshop: Path) -> None:
    """In the order of the file names."""
    data = opened(workshop / "people")
    assert len(data) == 20
    assert data.identities.tolist() == [person for person in range(1, 6) for _ in range(4)]
    assert data.cameras.tolist() == [1, 1, 2, 2] * 5
    files = sorted((workshop / "people" / "bounding_box_train").iterdir())
    batch = data.batch(np.array([7, 0]))
    assert batch.shape == (2, 3, 32, 16)
    assert batch.dtype == np.uint8
    assert (batch[0].transpose(1, 2, 0) == np.asarray(Image.open(files[7]))).all()
    assert data.description == "mini: 20 images of 5 identities from 2 cameras"


def test_junk_and_distractors_teach_nothing(workshop: Path) -> None:
    """Identities -1 and 0 are left out, and the others keep their pixels."""
    before = opened(workshop / "people").batch(np.array([3]))
    folder = workshop / "people" / "bounding_box_train"
    for name in ("-1_c1s1_000001_00.png", "0000_c1s1_000001_00.png"):
        shutil.copy(next(folder.iterdir()), folder / name)
    data = opened(workshop / "people")
    assert len(data) == 20
    assert data.identities.min() == 1
    assert (before == data.batch(np.array([3]))).all()


def test_images_of_several_sizes_are_resized(workshop: Path) -> None:
    """To the network's input; those that have it already stay as they are."""
    Image.new("RGB", (20, 40), (9, 8, 7)).save(workshop / "people" / "bounding_box_train" / "0006_c1s1_000001_00.png")
    data = opened(workshop / "people", (32, 16))
    batch = data.batch(np.array([20, 0]))
    assert batch.shape == (2, 3, 32, 16)
    assert (batch[0] == np.array([9, 8, 7]).reshape(3, 1, 1)).all()
    assert (batch[1] == data.batch(np.array([0]))[0]).all()


def test_the_digest_is_of_names_and_content(workshop: Path, tmp_path: Path) -> None:
    """A copied folder has it, a changed image has another."""
    first = opened(workshop / "people").sha256
    shutil.copytree(workshop / "people", tmp_path / "copy")
    assert first == opened(tmp_path / "copy").sha256
    Image.new("RGB", (16, 32)).save(tmp_path / "copy" / "bounding_box_train" / "0001_c1s1_000001_00.png")
    assert first != opened(tmp_path / "copy").sha256


def test_a_set_without_training_images_is_refused(workshop: Path, write_people: Callable[..., Path]) -> None:
    """No such folder, or only junk in it."""
    write_people(workshop / "test-only")
    with pytest.raises(UserError, match=r"no training images .*: no folder .*bounding_box_train"):
        opened(workshop / "test-only")
    folder = workshop / "junk" / "bounding_box_train"
    folder.mkdir(parents=True)
    Image.new("RGB", (4, 8)).save(folder / "-1_c1s1_000001_00.png")
    with pytest.raises(UserError, match="nobody to learn from"):
        opened(workshop / "junk")


def test_a_drawn_set_has_training_people(own_cache: Path) -> None:
    """`synthetic` needs no root, and draws other people than those it tests with."""
    request = DatasetRequest(
        label="synthetic", format="synthetic", root=None, options={"identities": 3, "cameras": 2, "shots": 1}
    )
    data = open_training_set(request, reporter=Silent())
    assert len(data) == 6
    assert data.identities.min() > 10_000


def test_real_images_open(real_data: Path, own_cache: Path, tmp_path: Path) -> None:
    """Market-1501's own names, JPEG and sizes."""
    source = real_data / "market1501-mini" / "bounding_box_train"
    folder = tmp_path / "real" / "bounding_box_train"
    folder.mkdir(parents=True)
    for file in sorted(source.iterdir())[:30]:
        (folder / file.name).symlink_to(file)
    data = opened(tmp_path / "real")
    assert len(data) == 30
    assert data.size == (128, 64)
    assert 60 < data.batch(np.arange(30)).mean() < 200
