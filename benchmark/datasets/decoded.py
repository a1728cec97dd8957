"""Decoded images in one flat uint8 file, memory-mapped: a set is decoded once, and read at the speed of memory."""

from __future__ import annotations

import shutil
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from ..store.files import file_system_errors
from .cache import cache_folder
from .decoders import decode_file, default_workers, fast_decoder, read_file
from .manifest import Manifest
from .retrieval import RetrievalSet

_CHANNELS = 3
#: How images lie in the file; raised when that changes, since a file is found by its name.
_LAYOUT = "2: channels, rows, columns"
#: How many images, spread over a set, are decoded twice to see whether a fast decoder gives Pillow's pixels.
_SAMPLE = 16
#: What a thread decodes in one go: so many images, and about so many bytes of pixels.
_MOST_IMAGES, _MOST_BYTES = 64, 2**23


@dataclass(frozen=True, kw_only=True)
class DecodedImages:
    """The pixels of a set, in the order of its manifest: ragged, since images have sizes of their own."""

    #: All pixels one image after the other, each (3, H, W) RGB.
    pixels: NDArray[np.uint8]
    #: (N + 1,) where each image starts in `pixels`.
    offsets: NDArray[np.int64]
    #: (N, 2) height and width.
    sizes: NDArray[np.int64]

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of one image, a view."""
        return self._planes(index).transpose(1, 2, 0)

    def stack(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """(B, 3, H, W) of images that have one size: one copy, contiguous."""
        if self._uniform is not None:
            return self._uniform[np.asarray(indices, dtype=np.int64)]
        return np.stack([self._planes(index) for index in indices])

    def _planes(self, index: int) -> NDArray[np.uint8]:
        height, width = self.sizes[index]
        return self.pixels[self.offsets[index] : self.offsets[index + 1]].reshape(_CHANNELS, height, width)

    @cached_property
    def _uniform(self) -> NDArray[np.uint8] | None:
        """(N, 3, H, W), where all images have one size."""
        if not len(self.sizes) or (self.sizes != self.sizes[0]).any():
            return None
        return self.pixels.reshape(len(self.sizes), _CHANNELS, *self.sizes[0].tolist())


def decode(
    data: RetrievalSet, manifest: Manifest, *, workers: int | None = None, advance: Callable[[int], None] | None = None
) -> DecodedImages:
    """The decoded images of a set: from the cache where its content is known, otherwise decoded into it.

    Args:
        data: the set.
        manifest: what it consists of.
        workers: threads that read and decode; as many as there are cores by default.
        advance: told how many images more are decoded.

    Raises:
        InvalidFileError: a file that does not decode to the end; it is named, and nothing stays in the cache.
        StorageError: the cache folder cannot be written.
    """
    sizes = np.array([(entry.height, entry.width) for entry in manifest.entries], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes.prod(1) * _CHANNELS)])
    place = cache_folder() / "decoded" / _name(manifest)
    if not place.exists():
        with file_system_errors(place.parent):
            place.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{place}.lock"):
                if not place.exists():
                    _fill(data, manifest, offsets, place, workers or default_workers(), advance)
    with file_system_errors(place):
        # A plain array over the file: slices of a memmap object itself are ten times slower to make.
        pixels = np.asarray(np.memmap(place, dtype=np.uint8, mode="r", shape=(int(offsets[-1]),)))
    return DecodedImages(pixels=pixels, offsets=offsets, sizes=sizes)


def _name(manifest: Manifest) -> str:
    """Content and order: the same images in the same order have the same pixels file."""
    import hashlib

    lines = [_LAYOUT, *(entry.sha256 for entry in manifest.entries)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32] + ".rgb"


def _fill(
    data: RetrievalSet,
    manifest: Manifest,
    offsets: NDArray[np.int64],
    place: Path,
    workers: int,
    advance: Callable[[int], None] | None,
) -> None:
    files = [f"{data.root}/{entry.path}" for entry in manifest.entries]
    decoder = fast_decoder(_sample(files))

    def planes(part: range) -> NDArray[np.uint8]:
        first = offsets[part.start]
        found = np.empty(offsets[part.stop] - first, dtype=np.uint8)
        for index in part:
            entry = manifest.entries[index]
            image = decode_file(files[index], (entry.height, entry.width), decoder)
            into = found[offsets[index] - first : offsets[index + 1] - first]
            into.reshape(_CHANNELS, entry.height, entry.width)[...] = image.transpose(2, 0, 1)
        return found

    part = place.with_name(f"{place.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as file, ThreadPoolExecutor(max(1, workers)) as pool:
            for images, pixels in _in_order(pool, planes, list(_parts(offsets)), ahead=2 * workers):
                file.write(pixels.data)
                if advance:
                    advance(len(images))
        shutil.move(part, place)
    finally:
        part.unlink(missing_ok=True)


def _sample(files: Sequence[str]) -> Iterator[bytes]:
    for index in sorted(set(np.linspace(0, len(files) - 1, _SAMPLE).round().astype(int).tolist())):
        with suppress(OSError):  # it is named when its turn comes
            yield read_file(files[index])


def _parts(offsets: NDArray[np.int64]) -> Iterator[range]:
    """The images, in runs that a thread decodes in one go."""
    start, count = 0, len(offsets) - 1
    while start < count:
        fits = int(np.searchsorted(offsets, offsets[start] + _MOST_BYTES, side="right")) - 1
        stop = min(max(fits, start + 1), start + _MOST_IMAGES, count)
        yield range(start, stop)
        start = stop


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[range], NDArray[np.uint8]], parts: Sequence[range], ahead: int
) -> Iterator[tuple[range, NDArray[np.uint8]]]:
    """Each part and what `work` makes of it; never more than `ahead` parts wait, since each is held in memory."""
    waiting: deque[tuple[range, Future[NDArray[np.uint8]]]] = deque()
    try:
        for part in parts:
            waiting.append((part, pool.submit(work, part)))
            if len(waiting) > ahead:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        for _, future in waiting:
            future.cancel()
