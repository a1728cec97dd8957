"""Decoded images: Pillow's pixels, kept once by content, whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from robustreid import InvalidFileError, StorageError
from robustreid.benchmark.datasets import decoders
from robustreid.benchmark.datasets.cache import cache_folder
from robustreid.benchmark.datasets.decoded import DecodedImages, _in_order, decode
from robustreid.benchmark.datasets.decoders import by_pillow
from robustreid.benchmark.datasets.manifest import read_manifest
from robustreid.benchmark.datasets.market import read_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from robustreid.benchmark.datasets.retrieval import RetrievalSet

FIRST = "query/0001_c1s1_000001_00.png"


def decoded(root: Path) -> DecodedImages:
    data = read_folder("mini", root)
    return decode(data, read_manifest(data))


@pytest.fixture
def mini(tmp_path: Path, write_people: Callable[..., Path]) -> Path:
    return write_people(tmp_path / "mini")


@pytest.fixture
def ragged(tmp_path: Path) -> Path:
    """Images of several sizes, modes and formats, greyscale, palette and transparent ones among them."""
    rng = np.random.default_rng(3)
    root = tmp_path / "ragged"
    for folder in ("query", "bounding_box_test"):
        (root / folder).mkdir(parents=True)
    formats = [
        ("RGB", "png"),
        ("L", "png"),
        ("RGBA", "png"),
        ("P", "png"),
        ("1", "bmp"),
        ("RGB", "jpg"),
        ("CMYK", "jpg"),
    ]
    for index, (mode, suffix) in enumerate([*formats, ("L", "jpeg"), ("RGB", "PNG"), ("LA", "png")]):
        pixels = rng.integers(0, 256, (5 + index, 17 - index, 4), dtype=np.uint8)
        image = Image.fromarray(pixels if mode == "RGBA" else pixels[..., :3])
        folder = "query" if index % 2 else "bounding_box_test"
        image.convert(mode).save(root / folder / f"{index:04d}_c1s1_000001_00.{suffix}")
    return root


def files_in(cache: Path) -> list[str]:
    """The names of what is kept of pixels, locks left out."""
    return sorted(path.name for path in (cache / "decoded").glob("*") if path.suffix != ".lock")


def test_pixels_are_pillows(ragged: Path) -> None:
    """Every image, of every size and mode, equals what Pillow makes RGB of it."""
    found = decoded(ragged)
    paths = read_folder("ragged", ragged).paths
    assert len(paths) == len(found.sizes) == 10
    for index, path in enumerate(paths):
        with Image.open(ragged / path) as image:
            expected = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(found[index], expected, err_msg=path)
    assert found.pixels.nbytes == sum(height * width * 3 for height, width in found.sizes.tolist())


def test_images_of_one_size_stack(mini: Path) -> None:
    """(B, 3, H, W) in the order that is asked for."""
    found = decoded(mini)
    stack = found.stack([4, 0, 4])
    assert stack.flags.c_contiguous
    assert (stack.shape, str(stack.dtype)) == ((3, 3, 16, 8), "uint8")
    np.testing.assert_array_equal(stack[1].transpose(1, 2, 0), found[0])
    np.testing.assert_array_equal(stack[0], stack[2])
    np.testing.assert_array_equal(found.stack(np.array([4, 0, 4])), stack)
    stack[0] = 0
    np.testing.assert_array_equal(found.stack([4])[0], stack[2])


def test_ragged_images_of_one_size_stack(ragged: Path) -> None:
    """Where sizes differ, those of one size still stack; others are refused."""
    found = decoded(ragged)
    stack = found.stack([3, 3])
    assert stack.shape == (2, 3, *found.sizes[3])
    np.testing.assert_array_equal(stack[1].transpose(1, 2, 0), found[3])
    with pytest.raises(ValueError, match="same shape"):
        found.stack([0, 1])


def strays(found: DecodedImages, data: RetrievalSet) -> list[str]:
    """The images of a set whose pixels are not what Pillow makes of their files."""
    wrong = []
    for index, path in enumerate(data.paths):
        with Image.open(data.root / path) as image:
            if not np.array_equal(found[index], np.asarray(image.convert("RGB"))):
                wrong.append(path)
    return wrong


@pytest.fixture
def many(tmp_path: Path, write_people: Callable[..., Path]) -> RetrievalSet:
    """More images than a thread decodes in one go."""
    return read_folder("many", write_people(tmp_path / "many", people=range(1, 101), size=(4, 3)))


@pytest.mark.parametrize("workers", [None, 1, 5])
def test_threads_keep_the_order(many: RetrievalSet, workers: int | None) -> None:
    """Every image lies where the manifest says, however many threads decode; progress comes to their number."""
    told: list[int] = []
    found = decode(many, read_manifest(many), workers=workers, advance=told.append)
    assert strays(found, many) == []
    assert (sum(told), len(told) > 1) == (300, True)


def test_parts_in_another_order_are_caught(many: RetrievalSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same check refuses a pool whose parts are written as they come."""

    def careless(pool: object, work: Callable[[range], object], parts: list[range], ahead: int) -> object:
        return ((part, work(part)) for part in parts[::-1])

    monkeypatch.setattr("robustreid.benchmark.datasets.decoded._in_order", careless)
    assert len(strays(decode(many, read_manifest(many)), many)) > 200


def test_few_parts_wait_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly the file is written, no more parts are decoded than may wait."""
    started: list[range] = []

    def work(part: range) -> np.ndarray:
        started.append(part)
        return np.array(part)

    parts = [range(start, start + 1) for start in range(20)]
    with ThreadPoolExecutor(2) as pool:
        for count, (part, found) in enumerate(_in_order(pool, work, parts, ahead=3)):
            assert (part, found.tolist()) == (parts[count], [count])
            assert len(started) <= count + 4
    assert len(started) == 20


def test_a_decoder_with_other_pixels_is_not_used(
    tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set of JPEG is Pillow's to the last bit, though a faster decoder is there and is one level off."""
    root = tmp_path / "real"
    for folder in ("query", "bounding_box_test"):
        (root / folder).mkdir(parents=True)
        for path in sorted((real_data / "market1501-mini" / folder).iterdir())[:40]:
            shutil.copy(path, root / folder)
    data = read_folder("real", root)

    def off(content: bytes, into: np.ndarray) -> None:
        into[...] = by_pillow(content) ^ 1

    monkeypatch.setattr(decoders, "JPEG_DECODERS", {"off": lambda: off})
    assert strays(decode(data, read_manifest(data)), data) == []
    monkeypatch.setattr(decoders, "_agrees", lambda *args: True)
    shutil.rmtree(cache_folder() / "decoded")
    assert len(strays(decode(data, read_manifest(data)), data)) == 80


def test_a_second_look_decodes_nothing(mini: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pixels come from one file, which is only read."""
    first = decoded(mini)
    data = read_folder("mini", mini)
    manifest = read_manifest(data)

    def refuse(*args: object) -> None:
        raise AssertionError("an image was opened")

    monkeypatch.setattr(Image, "open", refuse)
    second = decode(data, manifest)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert len(files_in(own_cache)) == 1
    with pytest.raises(ValueError, match="read-only"):
        second.pixels[0] = 1


def test_the_file_is_named_by_content(mini: Path, tmp_path: Path, own_cache: Path) -> None:
    """A copy elsewhere shares it; another pixel has one of its own."""
    before = decoded(mini)[0].copy()
    twin = shutil.copytree(mini, tmp_path / "twin")
    decoded(twin)
    assert len(files_in(own_cache)) == 1
    Image.fromarray(255 - before).save(twin / FIRST)
    np.testing.assert_array_equal(decoded(twin)[0], 255 - before)
    np.testing.assert_array_equal(decoded(mini)[0], before)
    assert len(files_in(own_cache)) == 2


def test_a_broken_image_leaves_nothing(mini: Path, own_cache: Path) -> None:
    """A file cut off in the middle has a good header; it is named, and no part of a pixel file stays."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    wrong = mini / "bounding_box_test/0003_c3s1_000009_00.jpg"
    Image.fromarray(pixels).save(wrong)
    wrong.write_bytes(wrong.read_bytes()[:900])
    with pytest.raises(
        InvalidFileError, match=r"0003_c3s1_000009_00\.jpg' is not a readable image \(OSError: .*truncated"
    ):
        decoded(mini)
    assert files_in(own_cache) == []
    wrong.unlink()
    assert len(decoded(mini).sizes) == 9


def test_an_image_that_changes_in_between_is_named(mini: Path, own_cache: Path) -> None:
    """Between manifest and decoding another size came: refused, and nothing is kept."""
    data = read_folder("mini", mini)
    manifest = read_manifest(data)
    Image.new("RGB", (3, 3)).save(mini / FIRST)
    with pytest.raises(InvalidFileError, match="it changed while it was read"):
        decode(data, manifest)
    (mini / FIRST).unlink()
    with pytest.raises(
        InvalidFileError, match=r"0001_c1s1_000001_00\.png' is not a readable image \(FileNotFoundError"
    ):
        decode(data, manifest)
    assert files_in(own_cache) == []


def test_a_full_disk_leaves_nothing(mini: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun is removed, and the sentence says what to do."""

    def refuse(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "move", refuse)
    with pytest.raises(StorageError, match="the disk is full; free some space"):
        decoded(mini)
    assert files_in(own_cache) == []


def test_threads_that_decode_at_once_make_one_file(mini: Path, own_cache: Path) -> None:
    """Whoever comes second waits and reads."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: decoded(mini), range(4)))
    assert all(np.array_equal(found[0].pixels, other.pixels) for other in found)
    assert len(files_in(own_cache)) == 1


def test_processes_that_decode_at_once_make_one_file(mini: Path, own_cache: Path) -> None:
    """Neither sees a part of the other's file."""
    script = (
        "from pathlib import Path\n"
        "from robustreid.benchmark.datasets.decoded import decode\n"
        "from robustreid.benchmark.datasets.manifest import read_manifest\n"
        "from robustreid.benchmark.datasets.market import read_folder\n"
        f"data = read_folder('mini', Path({str(mini)!r}))\n"
        "print(int(decode(data, read_manifest(data)).pixels.sum()))\n"
    )
    command = [sys.executable, "-c", script]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sums == [int(decoded(mini).pixels.sum())] * 2
    assert len(files_in(own_cache)) == 1
    with Image.open(mini / FIRST) as image:
        np.testing.assert_array_equal(decoded(mini)[0], np.asarray(image))


@pytest.mark.parametrize(
    ("name", "count", "size"), [("cuhk01-mini", 400, [160, 60]), ("market1501-mini", 1970, [128, 64])]
)
def test_real_images(real_data: Path, name: str, count: int, size: list[int]) -> None:
    """Pixels of real PNG and JPEG files are Pillow's, every one, and all have the stated size."""
    data = read_folder(name, real_data / name)
    found = decode(data, read_manifest(data))
    assert found.sizes.tolist() == [size] * count
    assert strays(found, data) == []
