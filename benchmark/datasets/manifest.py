"""What a data set consists of: every query and gallery image by path, content and size."""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ... import InvalidFileError
from ..store.files import write_bytes
from .cache import cache_folder
from .decoders import broken_image, default_workers, jpeg_header, read_file
from .retrieval import RetrievalSet

_VERSION = 1
#: How many files a thread looks at in one go.
_PART = 64
#: Pillow has the last word on images of more pixels: its limit tells a picture from an attack on the memory.
_SMALL = 2**22


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One image file as it was when it was read."""

    path: str
    n_bytes: int
    modified_ns: int
    sha256: str
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All images of a set, queries first; their digest names the set."""

    entries: tuple[FileEntry, ...]

    @property
    def sha256(self) -> str:
        """Digest of the sorted relative paths and their sha256: the same wherever the folder lies."""
        lines = sorted(f"{entry.path}\0{entry.sha256}" for entry in self.entries)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def shapes(self) -> frozenset[tuple[int, int]]:
        """The distinct (height, width) of the images."""
        return frozenset((entry.height, entry.width) for entry in self.entries)


def read_manifest(
    data: RetrievalSet, *, workers: int | None = None, advance: Callable[[int], None] | None = None
) -> Manifest:
    """The manifest of a set. A file whose size and time have not changed is not read again.

    Args:
        data: the set.
        workers: threads that read and hash; as many as there are cores by default.
        advance: told how many files more are known.

    Raises:
        InvalidFileError: a file that is missing, unreadable or no image; it is named.
    """
    kept = _kept(data.root)
    root, paths = str(data.root), data.paths
    parts = [paths[start : start + _PART] for start in range(0, len(paths), _PART)]
    entries: list[FileEntry] = []
    with ThreadPoolExecutor(max(1, workers or default_workers())) as pool, _bombs_are_errors():
        for found in pool.map(lambda part: _entries(root, part, kept), parts):
            entries += found
            if advance:
                advance(len(found))
    manifest = Manifest(entries=tuple(entries))
    if any(kept.get(found.path) is not found for found in entries):
        # What is known of the folder's other images, such as those of its training split, stays known.
        known = {**kept, **{found.path: found for found in entries}}.values()
        content = json.dumps({"version": _VERSION, "entries": [list(vars(found).values()) for found in known]})
        write_bytes(_kept_at(data.root), content.encode())
    return manifest


def _entries(root: str, paths: Sequence[str], kept: Mapping[str, FileEntry]) -> list[FileEntry]:
    entries = []
    for path in paths:
        file = f"{root}/{path}"
        try:
            status = os.stat(file)  # noqa: PTH116 (a Path costs as much as the look)
            known = kept.get(path)
            if known and known.n_bytes == status.st_size and known.modified_ns == status.st_mtime_ns:
                entries.append(known)
                continue
            content = read_file(file)
        except OSError as error:
            raise InvalidFileError(
                f"The image {file!r} cannot be read: {error.strerror}; restore it or remove it from the set."
            ) from error
        height, width = _size(file, content)
        entries.append(
            FileEntry(
                path=path,
                n_bytes=status.st_size,
                modified_ns=status.st_mtime_ns,
                sha256=hashlib.sha256(content).hexdigest(),
                height=height,
                width=width,
            )
        )
    return entries


@contextmanager
def _bombs_are_errors() -> Iterator[None]:
    """Pillow's warning about an image that would fill the memory is an error; for all threads, while this lasts."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _size(file: str, content: bytes) -> tuple[int, int]:
    header = jpeg_header(content)
    if header and header.height * header.width <= _SMALL:
        return header.height, header.width
    try:
        from PIL import Image

        with Image.open(io.BytesIO(content)) as image:
            return image.height, image.width
    except Exception as error:
        raise broken_image(file, error) from error


def _kept_at(root: Path) -> Path:
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:32]
    return cache_folder() / "manifests" / f"{name}.json"


def _kept(root: Path) -> dict[str, FileEntry]:
    """What an earlier run noted; anything that does not read back is as good as nothing."""
    try:
        noted = json.loads(_kept_at(root).read_bytes())
        if noted["version"] != _VERSION:
            return {}
        names = FileEntry.__dataclass_fields__
        entries = [FileEntry(**dict(zip(names, values, strict=True))) for values in noted["entries"]]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {entry.path: entry for entry in entries}
