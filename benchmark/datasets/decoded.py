"""Decoded images in one flat uint8 file, memory-mapped: a set is decoded once, and read at the speed of memory."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from ..store.files import file_system_errors
from .cache import cache_folder
from .manifest import Manifest, broken_image
from .retrieval import RetrievalSet

_CHANNELS = 3


@dataclass(frozen=True, kw_only=True)
class DecodedImages:
    """The pixels of a set, in the order of its manifest: ragged, since images have sizes of their own."""

    #: All pixels one image after the other, each (H, W, 3) RGB.
    pixels: NDArray[np.uint8]
    #: (N + 1,) where each image starts in `pixels`.
    offsets: NDArray[np.int64]
    #: (N, 2) height and width.
    sizes: NDArray[np.int64]

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of one image."""
        height, width = self.sizes[index]
        return self.pixels[self.offsets[index] : self.offsets[index + 1]].reshape(height, width, _CHANNELS)

    def stack(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """(B, 3, H, W) of images that have one size."""
        return np.ascontiguousarray(np.stack([self[index] for index in indices]).transpose(0, 3, 1, 2))


def decode(
    data: RetrievalSet, manifest: Manifest, *, workers: int = 2, advance: Callable[[int], None] | None = None
) -> DecodedImages:
    """The decoded images of a set: from the cache where its content is known, otherwise decoded into it.

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
                    _fill(data, manifest, offsets, place, workers, advance)
    with file_system_errors(place):
        pixels = np.memmap(place, dtype=np.uint8, mode="r", shape=(int(offsets[-1]),))
    return DecodedImages(pixels=pixels, offsets=offsets, sizes=sizes)


def _name(manifest: Manifest) -> str:
    """Content and order: the same images in the same order have the same pixels file."""
    import hashlib

    return hashlib.sha256("\n".join(entry.sha256 for entry in manifest.entries).encode()).hexdigest()[:32] + ".rgb"


def _fill(
    data: RetrievalSet,
    manifest: Manifest,
    offsets: NDArray[np.int64],
    place: Path,
    workers: int,
    advance: Callable[[int], None] | None,
) -> None:
    from PIL import Image

    def pixels(path: str) -> NDArray[np.uint8]:
        file = data.root / path
        try:
            with Image.open(file) as image:
                return np.asarray(image.convert("RGB"), dtype=np.uint8)
        except Exception as error:
            raise broken_image(file, error) from error

    part = place.with_name(f"{place.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as file, ThreadPoolExecutor(max(1, workers)) as pool:
            for index, image in enumerate(pool.map(pixels, [entry.path for entry in manifest.entries])):
                if image.size != offsets[index + 1] - offsets[index]:
                    broken = data.root / manifest.entries[index].path
                    raise broken_image(broken, ValueError("it changed while it was read"))
                file.write(image.tobytes())
                if advance:
                    advance(1)
        shutil.move(part, place)
    finally:
        part.unlink(missing_ok=True)
