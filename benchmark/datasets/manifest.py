"""What a data set consists of: every query and gallery image by path, content and size."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ... import InvalidFileError
from ..store.files import write_bytes
from .cache import cache_folder
from .retrieval import RetrievalSet

_VERSION = 1


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


def read_manifest(data: RetrievalSet, *, workers: int = 2, advance: Callable[[int], None] | None = None) -> Manifest:
    """The manifest of a set. A file whose size and time have not changed is not read again.

    Args:
        data: the set.
        workers: threads that read and hash.
        advance: called with 1 after each file.

    Raises:
        InvalidFileError: a file that is missing, unreadable or no image; it is named.
    """
    kept = _kept(data.root)

    def entry(path: str) -> FileEntry:
        file = data.root / path
        try:
            status = file.stat()
            known = kept.get(path)
            if known and (known.n_bytes, known.modified_ns) == (status.st_size, status.st_mtime_ns):
                return known
            content = file.read_bytes()
        except OSError as error:
            raise InvalidFileError(
                f"The image {str(file)!r} cannot be read: {error.strerror}; restore it or remove it from the set."
            ) from error
        height, width = _size(file, content)
        return FileEntry(
            path=path,
            n_bytes=status.st_size,
            modified_ns=status.st_mtime_ns,
            sha256=hashlib.sha256(content).hexdigest(),
            height=height,
            width=width,
        )

    entries = []
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for found in pool.map(entry, data.paths):
            entries.append(found)
            if advance:
                advance(1)
    manifest = Manifest(entries=tuple(entries))
    if any(kept.get(found.path) is not found for found in entries):
        content = json.dumps({"version": _VERSION, "entries": [list(vars(found).values()) for found in entries]})
        write_bytes(_kept_at(data.root), content.encode())
    return manifest


def _size(file: Path, content: bytes) -> tuple[int, int]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                return image.height, image.width
    except Exception as error:
        raise broken_image(file, error) from error


def broken_image(file: Path, error: Exception) -> InvalidFileError:
    """The one sentence for a file that does not decode."""
    # Pillow names what it was given, and that is our buffer.
    unknown = type(error).__name__ == "UnidentifiedImageError"
    reason = "no image format that is known" if unknown else f"{type(error).__name__}: {error}"
    return InvalidFileError(f"{str(file)!r} is not a readable image ({reason}); restore it or remove it from the set.")


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
