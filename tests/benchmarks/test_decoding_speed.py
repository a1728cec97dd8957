"""How long images take to decode, once, and to read back, ever after; nothing here asserts a time."""

from __future__ import annotations

import io
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from robustreid.benchmark.datasets.decoded import DecodedImages, decode
from robustreid.benchmark.datasets.decoders import fast_decoder
from robustreid.benchmark.datasets.manifest import read_manifest
from robustreid.benchmark.datasets.market import read_folder, read_training_images
from robustreid.benchmark.datasets.retrieval import RetrievalSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    DecodeFile = Callable[[Path], NDArray[np.uint8]]

BATCH, SIZE = 32, (128, 64)


@pytest.fixture(scope="module")
def people(real_data: Path) -> RetrievalSet:
    """10,768 JPEG files of 128 x 64: the training images and the gallery of a part of Market-1501."""
    root = real_data / "market1501-mini"
    found = read_folder("mini", root)
    return RetrievalSet(
        label="mini",
        format="folder",
        root=root,
        query=read_training_images(root),
        gallery=found.gallery,
        protocol=found.protocol,
    )


@pytest.fixture(scope="module")
def gallery(real_data: Path) -> RetrievalSet:
    """1,970 of them: queries and gallery."""
    return read_folder("mini", real_data / "market1501-mini")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pillow() -> DecodeFile:
    def one(file: Path) -> NDArray[np.uint8]:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))

    return one


def simplejpeg() -> DecodeFile:
    module = pytest.importorskip("simplejpeg", reason="simplejpeg is not installed: pip install -e '.[fast]'")
    return lambda file: module.decode_jpeg(file.read_bytes(), "RGB")


def opencv() -> DecodeFile:
    module = pytest.importorskip("cv2", reason="OpenCV is not installed: pip install opencv-python-headless")
    module.setNumThreads(1)
    return lambda file: module.imread(str(file), module.IMREAD_COLOR)


PEERS = {"Pillow": pillow, "simplejpeg": simplejpeg, "OpenCV": opencv}


@pytest.mark.benchmark(group="decode 10,768 JPEG into the cache, on one thread")
@pytest.mark.parametrize("name", PEERS)
def test_decode_a_set(duel: Any, people: RetrievalSet, cache: Path, name: str) -> None:
    """Every image once, on one thread: ours also checks the decoder and writes the pixels to the cache."""
    peer = PEERS[name]()
    manifest = read_manifest(people)
    files = [people.root / path for path in people.paths]
    found = fast_decoder(file.read_bytes() for file in files[::1000])

    def ours() -> int:
        count = len(decode(people, manifest, workers=1).sizes)
        shutil.rmtree(cache / "decoded")
        return count

    def theirs() -> int:
        return len([peer(file).shape for file in files])

    done, peers = duel(
        ours,
        {name: theirs},
        title="decode 10,768 JPEG into the cache",
        rounds=3,
        warmup_rounds=0,
        count=len(files),
        per="image",
        note=f"ours by {found.name if found else 'Pillow'}, kept on disk; theirs thrown away",
    )
    assert done == peers[name] == len(files)


@pytest.mark.benchmark(group="decode 1,970 JPEG from memory, wall time", timer=time.perf_counter)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", PEERS)
def test_decode_on_threads(benchmark: Any, gallery: RetrievalSet, name: str, threads: int) -> None:
    """The decoders alone, on one thread and on two: only these times are wall times, so only they need a quiet machine.

    All release Python's lock while they decode.
    """
    decoders: dict[str, Callable[[], Callable[[bytes], object]]] = {
        "Pillow": lambda: lambda content: np.asarray(Image.open(io.BytesIO(content)).convert("RGB")),
        "simplejpeg": lambda: lambda content: pytest.importorskip("simplejpeg").decode_jpeg(content, "RGB"),
        "OpenCV": lambda: lambda content: pytest.importorskip("cv2").imdecode(np.frombuffer(content, np.uint8), 1),
    }
    PEERS[name]()
    one = decoders[name]()
    contents = [(gallery.root / path).read_bytes() for path in gallery.paths]
    parts = [contents[start : start + 64] for start in range(0, len(contents), 64)]
    with ThreadPoolExecutor(threads) as pool:

        def work() -> int:
            return sum(pool.map(lambda part: len([one(content) for content in part]), parts))

        assert benchmark.pedantic(work, rounds=5, warmup_rounds=1) == len(contents)
    benchmark.extra_info["images"] = len(contents)


@pytest.mark.benchmark(group="read 50 batches of 32 images back")
@pytest.mark.parametrize("name", PEERS)
def test_read_a_batch(duel: Any, gallery: RetrievalSet, cache: Path, name: str) -> None:
    """Images (32, 3, 128, 64) out of the decoded file, in random order, beside decoding them again."""
    peer = PEERS[name]()
    images = decode(gallery, read_manifest(gallery))
    batches = np.random.default_rng(0).permutation(len(gallery.paths))[: 50 * BATCH].reshape(-1, BATCH)

    def ours() -> int:
        return sum(images.stack(batch).nbytes for batch in batches)

    def theirs() -> int:
        stacks = (np.stack([peer(gallery.root / gallery.paths[index]) for index in batch]) for batch in batches)
        return sum(np.ascontiguousarray(stack.transpose(0, 3, 1, 2)).nbytes for stack in stacks)

    done, peers = duel(ours, {name: theirs}, title=f"a batch of {BATCH}", count=len(batches), per="batch", bar=1)
    assert done == peers[name] == batches.size * 3 * SIZE[0] * SIZE[1]


@pytest.mark.benchmark(group="read 50 batches of 32 images back")
def test_read_a_batch_image_by_image(duel: Any, gallery: RetrievalSet, cache: Path) -> None:
    """The same beside a file whose images are rows of pixels: slices, a stack and a transposition."""
    images = decode(gallery, read_manifest(gallery))
    rows = [np.ascontiguousarray(images[index]) for index in range(len(gallery.paths))]
    batches = np.random.default_rng(0).permutation(len(gallery.paths))[: 50 * BATCH].reshape(-1, BATCH)

    def theirs() -> NDArray[np.uint8]:
        for batch in batches:
            found = np.ascontiguousarray(np.stack([rows[index] for index in batch]).transpose(0, 3, 1, 2))
        return found

    def ours() -> NDArray[np.uint8]:
        for batch in batches:
            found = images.stack(batch)
        return found

    done, peers = duel(
        ours, {"rows of pixels": theirs}, title=f"a batch of {BATCH}", count=len(batches), per="batch", bar=1
    )
    np.testing.assert_array_equal(done, peers["rows of pixels"])


@pytest.mark.benchmark(group="a manifest of 10,768 files")
@pytest.mark.parametrize("known", [False, True], ids=["every file read", "nothing changed"])
def test_read_a_manifest(benchmark: Any, people: RetrievalSet, cache: Path, known: bool) -> None:
    """Sizes and digests of all images: the first time, and every time after it."""

    def forget() -> None:
        if not known:
            shutil.rmtree(cache, ignore_errors=True)

    read_manifest(people)
    found = benchmark.pedantic(lambda: read_manifest(people, workers=1), setup=forget, rounds=5, warmup_rounds=1)
    assert len(found.entries) == len(people.paths)
    assert found.shapes == {SIZE}


def test_what_is_timed_is_right(gallery: RetrievalSet, cache: Path) -> None:
    """A decoder that is installed gives the pixels that the cache holds; a wrong one, red for blue, does not."""
    images: DecodedImages = decode(gallery, read_manifest(gallery))
    one = pillow()
    for index in (0, 500, 1969):
        np.testing.assert_array_equal(images[index], one(gallery.root / gallery.paths[index]))
        assert not np.array_equal(images[index], one(gallery.root / gallery.paths[index])[..., ::-1])
