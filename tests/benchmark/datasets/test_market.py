"""Market-1501's layout on disk: names, identities, cameras, and what is refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from robustreid import InvalidFileError, UserError
from robustreid.benchmark.datasets.about import ABOUT
from robustreid.benchmark.datasets.catalogue import FORMATS, open_dataset
from robustreid.benchmark.datasets.market import read_folder, read_market1501
from robustreid.benchmark.datasets.retrieval import Images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

QUERY, GALLERY, TRAIN = "query", "bounding_box_test", "bounding_box_train"
#: Images and people of each folder of the whole set.
COUNTS = {QUERY: (3368, 750), GALLERY: (19732, 750), TRAIN: (12936, 751)}


def touch(root: Path, folder: str, names: Sequence[str]) -> None:
    """Empty files: this layer reads names, not pixels."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / folder / name).touch()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two persons, junk and a distractor, with what lies about in real folders."""
    touch(tmp_path, QUERY, ["0002_c1s1_000451_03.jpg", "0010_c3s2_000001_00.JPG"])
    touch(tmp_path, GALLERY, ["-1_c1s1_000401_03.jpg", "0000_c1s1_000151_01.jpg", "0002_c6s1_9.png", "0010_c2s1_1.bmp"])
    touch(tmp_path, QUERY, ["Thumbs.db", ".DS_Store", "readme.txt", "0002_c1s1_000451_03.jpg.mat"])
    return tmp_path


def test_names_say_who_and_where(small: Path) -> None:
    """Identity and camera of every image, sorted by name; -1 and 0000 stay, other files are passed over."""
    data = read_folder("small", small)
    assert data.query.paths == ("query/0002_c1s1_000451_03.jpg", "query/0010_c3s2_000001_00.JPG")
    assert (data.query.identities.tolist(), data.query.cameras.tolist()) == ([2, 10], [1, 3])
    assert data.gallery.paths == tuple(
        f"{GALLERY}/{name}"
        for name in ("-1_c1s1_000401_03.jpg", "0000_c1s1_000151_01.jpg", "0002_c6s1_9.png", "0010_c2s1_1.bmp")
    )
    assert (data.gallery.identities.tolist(), data.gallery.cameras.tolist()) == ([-1, 0, 2, 10], [1, 1, 6, 2])
    assert data.paths == data.query.paths + data.gallery.paths
    assert (data.label, data.format, data.root, data.protocol.name) == ("small", "folder", small, "market")
    assert (len(data.side("query")), len(data.side("gallery"))) == (2, 4)


def test_a_training_split_is_optional_and_not_read(small: Path) -> None:
    """`bounding_box_train` neither has to be there nor to have names that say anything."""
    without = read_folder("small", small).paths
    touch(small, TRAIN, ["whatever.jpg"])
    assert read_folder("small", small).paths == without


def test_paths_of_any_alphabet(tmp_path: Path) -> None:
    """Folders and file names with letters of every kind, spaces and brackets."""
    root = tmp_path / "\u00fcber \u4eba [re-ID] \u05d0\U0001f6b6"
    touch(root, QUERY, ["0001_c1s1_\u00e9\u4eba.jpg"])
    touch(root, GALLERY, ["0001_c2s1_ (1).jpg"])
    data = read_folder("x", root)
    assert data.paths == ("query/0001_c1s1_\u00e9\u4eba.jpg", f"{GALLERY}/0001_c2s1_ (1).jpg")
    assert all((root / path).exists() for path in data.paths)


@pytest.mark.parametrize(
    "name",
    [
        "foo.jpg",
        "c1s1_000451_03.jpg",
        "0002_s1.jpg",
        "0002c1s1.jpg",
        f"{'9' * 30}_c1s1_1.jpg",
        f"0001_c{'9' * 30}.jpg",
        "\u0663\u0664_c1s1_1.jpg",
        " 0002_c1s1_1.jpg",
        "--2_c1s1.jpg",
    ],
)
def test_a_name_without_identity_is_named(small: Path, name: str) -> None:
    """No camera, no identity, numbers beyond 64 bits or of another alphabet: the file is named, exit code 4."""
    touch(small, GALLERY, [name])
    with pytest.raises(
        InvalidFileError, match=r"does not say who is on it; expected a name such as 0002_c1s1"
    ) as caught:
        read_folder("small", small)
    assert name in str(caught.value)


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    """Each is a wrong request (2) that names the folder."""
    root = tmp_path / "set"
    with pytest.raises(UserError, match=r"^Data set 'x': there is no folder '.*set'; give the folder that holds"):
        read_folder("x", root)
    root.mkdir()
    with pytest.raises(UserError, match=r"^'.*set' has no folder 'query'; expected Market-1501's layout"):
        read_folder("x", root)
    touch(root, QUERY, ["Thumbs.db"])
    touch(root, GALLERY, ["0001_c1s1_1.jpg"])
    with pytest.raises(UserError, match=r"^'.*query' holds no images; expected files such as 0002_c1s1") as caught:
        read_folder("x", root)
    assert caught.value.exit_code == 2
    (root / "file").touch()
    with pytest.raises(UserError, match="there is no folder"):
        read_folder("x", root / "file")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder_is_named(small: Path) -> None:
    """Permissions are the user's to change."""
    (small / QUERY).chmod(0)
    try:
        with pytest.raises(UserError, match=r"query' cannot be read: Permission denied; check its permissions"):
            read_folder("small", small)
    finally:
        (small / QUERY).chmod(0o755)


def write_market(root: Path, n_train: int | None = None) -> None:
    """A folder with Market-1501's numbers of images and identities, all empty."""
    for folder, (n_images, n_identities) in COUNTS.items():
        count = n_images if folder != TRAIN else n_train
        if count is None:
            continue
        extra = [f"-1_c1s1_{i:06d}_00.jpg" for i in range(100)] if folder == GALLERY else []
        extra += [f"0000_c1s1_{i:06d}_00.jpg" for i in range(100)] if folder == GALLERY else []
        named = [f"{i % n_identities + 1:04d}_c{1 + i % 6}s1_{i:06d}_00.jpg" for i in range(count - len(extra))]
        touch(root, folder, named + extra)


def test_the_whole_market_is_counted(tmp_path: Path) -> None:
    """Right numbers pass; one image less is told with folder and both counts; a part is taken if that is said."""
    write_market(tmp_path)
    data = read_market1501("market1501", tmp_path)
    assert (len(data.query), len(data.gallery), data.format) == (3368, 19732, "market1501")
    (tmp_path / QUERY / "0001_c1s1_000000_00.jpg").unlink()
    with pytest.raises(
        InvalidFileError, match=r"query holds 3367 images of 750 identities, but Market-1501 has 3368 images of 750"
    ):
        read_market1501("market1501", tmp_path)
    (tmp_path / QUERY / "0999_c1s1_000000_00.jpg").touch()
    with pytest.raises(InvalidFileError, match=r"query holds 3368 images of 751 identities.*give `verify: false`"):
        read_market1501("market1501", tmp_path)
    assert len(read_folder("part", tmp_path).query) == 3368
    assert len(read_market1501("part", tmp_path, verify=False).query) == 3368


def test_a_training_split_that_is_there_is_counted(tmp_path: Path) -> None:
    """An incomplete one is found although no attack reads it."""
    write_market(tmp_path, n_train=12935)
    with pytest.raises(
        InvalidFileError, match=r"bounding_box_train holds 12935 images of 751 .* has 12936 images of 751"
    ):
        read_market1501("market1501", tmp_path)


def test_every_format_is_listed_and_opens(small: Path) -> None:
    """Each name of the catalogue has something said about it; an unknown one is told the nearest."""
    assert list(ABOUT) == FORMATS.names()
    assert open_dataset("small", "folder", small).paths == read_folder("small", small).paths
    with pytest.raises(
        UserError, match=r"needs a `format`, because its name is not a known set; expected one of market1501"
    ):
        open_dataset("small", None, small)
    with pytest.raises(UserError, match=r"^Unknown data set format 'foldr'\. Did you mean 'folder'\?"):
        open_dataset("small", "foldr", small)
    with pytest.raises(UserError, match=r"needs a `root`"):
        open_dataset("market1501", None, None)


def test_images_belong_together() -> None:
    """As many identities and cameras as paths."""
    with pytest.raises(ValueError, match="got 2 paths, 1 identities, 2 cameras and 2 modalities"):
        Images(paths=("a", "b"), identities=np.array([1]), cameras=np.array([1, 2]))


@pytest.mark.parametrize(
    ("name", "n_query", "n_gallery", "n_identities", "query_cameras", "shapes"),
    [
        ("market1501-mini", 476, 1494, 108, {1, 2, 3, 4, 5, 6}, {(128, 64)}),
        ("cuhk01-mini", 200, 200, 100, {1}, {(160, 60)}),
    ],
)
def test_real_sets(
    real_data: Path,
    name: str,
    n_query: int,
    n_gallery: int,
    n_identities: int,
    query_cameras: set[int],
    shapes: set[tuple[int, int]],
    write_people: Callable[..., Path],
) -> None:
    """Their counts are those that the data's own page states."""
    data = read_folder(name, real_data / name)
    assert (len(data.query), len(data.gallery)) == (n_query, n_gallery)
    people = set(data.query.identities.tolist())
    assert len(people) == n_identities
    assert set(data.gallery.identities.tolist()) <= people
    assert set(data.query.cameras.tolist()) == query_cameras
    sizes = set()
    for path in data.paths[::97]:
        with Image.open(data.root / path) as image:
            sizes.add((image.height, image.width))
    assert sizes == shapes
