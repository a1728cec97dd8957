"""What names a data set: paths and content, wherever the folder lies and whenever it was written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from robustreid import InvalidFileError, StorageError
from robustreid.benchmark.datasets.manifest import Manifest, read_manifest
from robustreid.benchmark.datasets.market import read_folder

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = "query/0001_c1s1_000001_00.png"


def manifest(root: Path) -> Manifest:
    return read_manifest(read_folder("mini", root))


@pytest.fixture
def mini(tmp_path: Path, write_people: Callable[..., Path]) -> Path:
    return write_people(tmp_path / "mini")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the image files that are read."""
    seen: list[str] = []

    def read_file(path: str) -> bytes:
        seen.append(Path(path).name)
        return Path(path).read_bytes()

    monkeypatch.setattr("robustreid.benchmark.datasets.manifest.read_file", read_file)
    return seen


def repaint(path: Path, value: int = 7) -> None:
    with Image.open(path) as image:
        size = image.size
    Image.new("RGB", size, (value, value, value)).save(path)


#: What changes the images of a set, and so has to change its digest.
CHANGES: dict[str, Callable[[Path], object]] = {
    "a pixel": lambda root: repaint(root / FIRST),
    "a name": lambda root: (root / FIRST).rename(root / "query/0001_c1s1_000001_01.png"),
    "an image more": lambda root: shutil.copy(root / FIRST, root / "query/0001_c1s1_000002_00.png"),
    "an image less": lambda root: (root / FIRST).unlink(),
    "two swapped": lambda root: [
        shutil.copy(root / FIRST, root / "x"),
        shutil.copy(root / "query/0002_c1s1_000001_00.png", root / FIRST),
        shutil.move(root / "x", root / "query/0002_c1s1_000001_00.png"),
    ],
}


def insensitive(digest: Callable[[Path], str], root: Path) -> list[str]:
    """The changes that a digest of a folder does not notice."""
    missed = []
    for name, change in CHANGES.items():
        twin = shutil.copytree(root, root.with_name(f"{root.name}-{name.replace(' ', '-')}"))
        change(twin)
        if digest(twin) == digest(root):
            missed.append(name)
    return missed


def test_entries_describe_the_files(mini: Path) -> None:
    """Path, size, digest and pixels of every image, queries first."""
    found = manifest(mini)
    assert [entry.path for entry in found.entries] == list(read_folder("mini", mini).paths)
    first, content = found.entries[0], (mini / FIRST).read_bytes()
    assert (first.path, first.n_bytes, first.sha256) == (FIRST, len(content), hashlib.sha256(content).hexdigest())
    assert {(entry.height, entry.width) for entry in found.entries} == found.shapes == {(16, 8)}


def test_the_digest_is_that_of_sorted_paths_and_digests(mini: Path) -> None:
    """Anyone can compute it with standard tools."""
    found = manifest(mini)
    text = "\n".join(sorted(f"{entry.path}\0{entry.sha256}" for entry in found.entries))
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert Manifest(entries=found.entries[::-1]).sha256 == found.sha256


def test_the_digest_ignores_place_and_time(mini: Path, tmp_path: Path) -> None:
    """A copy elsewhere, touched, with other files about, is the same set."""
    twin = shutil.copytree(mini, tmp_path / "over there" / "twin")
    for path in twin.rglob("*.png"):
        os.utime(path, (1, 1))
    (twin / "query" / "Thumbs.db").write_bytes(b"x")
    assert manifest(twin).sha256 == manifest(mini).sha256


def test_the_digest_notices_every_change(mini: Path) -> None:
    """Content, names, more, fewer and swapped images."""
    assert insensitive(lambda root: manifest(root).sha256, mini) == []


def test_a_digest_that_ignores_content_is_caught(mini: Path) -> None:
    """The same check refuses a digest of names and sizes alone."""

    def careless(root: Path) -> str:
        return "\n".join(sorted(entry.path for entry in manifest(root).entries))

    assert insensitive(careless, mini) == ["a pixel", "two swapped"]


def test_an_unchanged_file_is_not_read_again(mini: Path, reads: list[str], own_cache: Path) -> None:
    """The first look reads every file, the second none, the third the one that changed."""
    first = manifest(mini)
    assert sorted(reads) == sorted(path.name for path in mini.rglob("*.png"))
    reads.clear()
    assert manifest(mini) == first
    assert reads == []
    repaint(mini / FIRST)
    third = manifest(mini)
    assert reads == [Path(FIRST).name]
    assert third.sha256 != first.sha256
    assert [path.parent.name for path in own_cache.rglob("*.json")] == ["manifests"]


def test_parts_of_one_folder_do_not_forget_each_other(mini: Path, reads: list[str]) -> None:
    """Two sets of one root, such as training and test images: noting the one leaves what is known of the other."""
    data = read_folder("mini", mini)
    read_manifest(data)
    repaint(mini / FIRST)
    place = np.array([data.query.paths.index(FIRST)])
    read_manifest(replace(data, query=data.query.part(place), gallery=data.gallery.part(np.arange(1))))
    reads.clear()
    read_manifest(data)
    assert reads == []


def test_time_alone_makes_a_file_be_read(mini: Path, reads: list[str]) -> None:
    """Same size, other time: the file is read, and where its content is the same so is the digest."""
    before = manifest(mini)
    reads.clear()
    os.utime(mini / FIRST, (5, 5))
    after = manifest(mini)
    assert (reads, after.sha256) == ([Path(FIRST).name], before.sha256)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 0, "entries": []}', '{"version": 1, "entries": [[1]]}'])
def test_a_damaged_cache_is_as_good_as_none(mini: Path, reads: list[str], own_cache: Path, damage: str) -> None:
    """It is read anew and mended."""
    before = manifest(mini)
    (kept,) = own_cache.rglob("*.json")
    kept.write_text(damage)
    reads.clear()
    assert manifest(mini) == before
    assert len(reads) == 9
    assert len(json.loads(kept.read_text())["entries"]) == 9


def test_progress_is_told(tmp_path: Path, write_people: Callable[..., Path]) -> None:
    """One unit an image, in several steps where there are many, from the cache or not."""
    data = read_folder("many", write_people(tmp_path / "many", people=range(1, 61), size=(4, 2)))
    for _ in range(2):
        told: list[int] = []
        read_manifest(data, advance=told.append)
        assert (sum(told), len(told) > 1) == (180, True)


def test_many_files_keep_their_order(tmp_path: Path, write_people: Callable[..., Path]) -> None:
    """Threads share the files out; entries come in the order of the set whatever the number of threads."""
    data = read_folder("many", write_people(tmp_path / "many", people=range(1, 61), size=(4, 2)))
    found = read_manifest(data, workers=4)
    assert [entry.path for entry in found.entries] == list(data.paths)
    digests = [hashlib.sha256((data.root / path).read_bytes()).hexdigest() for path in data.paths]
    assert [entry.sha256 for entry in found.entries] == digests


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no image", "no image format that is known"), (b"", "no image format that is known"), (None, "")],
)
def test_a_file_that_is_no_image_is_named(mini: Path, own_cache: Path, content: bytes | None, reason: str) -> None:
    """A text, nothing at all, a link to nowhere: exit code 4, the file's name, no address of ours, nothing kept."""
    wrong = mini / FIRST
    wrong.unlink()
    if content is None:
        wrong.symlink_to(mini / "nowhere")
        reason = "cannot be read: No such file or directory"
    else:
        wrong.write_bytes(content)
    with pytest.raises(InvalidFileError) as caught:
        manifest(mini)
    assert str(wrong) in str(caught.value)
    assert reason in str(caught.value)
    assert "0x" not in str(caught.value)
    assert list(own_cache.rglob("*.json")) == []


def test_an_image_that_would_fill_the_memory_is_refused(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's limit on pixels is an error here, not a warning."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InvalidFileError, match="DecompressionBombWarning"):
        manifest(mini)


def test_a_cache_that_cannot_be_written_is_a_storage_error(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 74, with the place."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"file/manifests.* could not be written"):
        manifest(mini)


def test_sizes_of_jpeg_are_pillows(tmp_path: Path) -> None:
    """Of ordinary files and of unusual ones: grey, CMYK, progressive, with an orientation that nobody applies."""
    for folder in ("query", "bounding_box_test"):
        (tmp_path / folder).mkdir()
    image, orientation = Image.new("RGB", (9, 14), (10, 200, 30)), Image.Exif()
    orientation[0x0112] = 6
    image.save(tmp_path / "query/0001_c1s1_1.jpg")
    image.convert("L").save(tmp_path / "query/0002_c1s1_1.jpg")
    image.convert("CMYK").save(tmp_path / "bounding_box_test/0001_c1s1_1.jpg")
    image.save(tmp_path / "bounding_box_test/0002_c1s1_1.jpg", progressive=True)
    image.save(tmp_path / "bounding_box_test/0003_c1s1_1.jpg", exif=orientation)
    assert [(entry.height, entry.width) for entry in manifest(tmp_path).entries] == [(14, 9)] * 5


def test_two_entries_with_one_digest_differ_by_path(mini: Path) -> None:
    """The same picture under another name is another set."""
    found = manifest(mini)
    moved = replace(found.entries[0], path="query/0009_c1s1_000001_00.png")
    assert Manifest(entries=(moved, *found.entries[1:])).sha256 != found.sha256


def test_sizes_are_those_of_the_pixels(tmp_path: Path) -> None:
    """Ragged sizes are told height first."""
    for folder, size in (("query", (5, 9)), ("bounding_box_test", (7, 3))):
        (tmp_path / folder).mkdir()
        pixels = np.zeros((*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / folder / "0001_c1s1_1.bmp")
    assert [(entry.height, entry.width) for entry in manifest(tmp_path).entries] == [(5, 9), (7, 3)]
