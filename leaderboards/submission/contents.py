"""A submission as files by name, whatever it lies in: a folder, a zip or a tar. Nothing is written, and no torch.

`examine` lists it and says what is wrong with how it is put together; `open_contents` gives the files of one with
which nothing is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from ... import UserError
from ...benchmark.store.files import file_system_errors
from .findings import BundleError, Fault, shown
from .readers import read_folder, read_tar, read_zip
from .streams import Stream, chunks, wrong_size
from .tars import BLOCK, GZIP_MAGIC, is_tar
from .zips import MAGIC

__all__ = ["BundleError", "Contents", "Examined", "Stream", "examine", "open_contents", "unpack"]


class Contents(Protocol):
    """The files of a submission. Every reader can raise BundleError, where bytes are not what was said of them."""

    @property
    def path(self) -> Path:
        """The folder or archive."""
        ...

    @property
    def is_archive(self) -> bool:
        """Whether it is one file."""
        ...

    def names(self) -> tuple[str, ...]:
        """Paths of all files that are part of a submission, sorted, parts joined by `/`."""
        ...

    def size(self, name: str) -> int:
        """Bytes of a file, at most what `paths.LIMITS` allows; KeyError where there is none."""
        ...

    def open(self, name: str) -> Stream:
        """A file from its beginning, read forward; one is read at a time. KeyError where there is none."""
        ...

    def read(self, name: str) -> bytes:
        """A whole file."""
        ...

    def sha256(self, name: str) -> str:
        """The digest of a file's bytes, hexadecimal."""
        ...


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A submission that was listed."""

    contents: Contents
    #: What is wrong with how it is put together.
    faults: tuple[Fault, ...]
    #: What a folder keeps for its owner: hidden files, and the caches of a run.
    kept_back: tuple[str, ...] = ()


@contextmanager
def examine(path: Path) -> Iterator[Examined]:
    """A submission, listed; its files can be read until the block ends.

    Raises:
        UserError: there is nothing at `path`, or it cannot be read.
        BundleError: it is no submission at all, or more than is looked at.
    """
    if path.is_dir():
        folder, faults, kept_back = read_folder(path)
        try:
            yield Examined(contents=folder, faults=faults, kept_back=kept_back)
        finally:
            folder.close()
        return
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UserError(f"There is no submission at {str(path)!r}; give a folder or an archive.") from None
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}; give a folder or an archive.") from None
    with file:
        yield _archive(file, path)


@contextmanager
def open_contents(path: Path) -> Iterator[Contents]:
    """The files of a submission that is put together as it should be; what is in them has not been looked at.

    Raises:
        UserError: there is nothing at `path`, or it cannot be read.
        BundleError: anything of SUB001 to SUB014 that does not take a look into a file.
    """
    with examine(path) as examined:
        if examined.faults:
            raise BundleError(path, examined.faults)
        yield examined.contents


def unpack(path: Path, into: Path) -> Path:
    """Write the files of a submission into a folder of their own, and give that folder.

    Only files that are part of a submission are written, each under its own name, none of them over another.

    Args:
        path: a folder or an archive.
        into: an empty folder, or one to make.

    Raises:
        UserError: `into` is not empty.
        BundleError: as `open_contents`, and where bytes are not what was said of them.
        StorageError: the file system failed.
    """
    with open_contents(path) as contents, file_system_errors(into):
        into.mkdir(parents=True, exist_ok=True)
        if any(into.iterdir()):
            raise UserError(f"{str(into)!r} is not empty; give an empty folder to unpack into.")
        for name in contents.names():
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            written = 0
            with target.open("xb") as file:
                for piece in chunks(contents.open(name)):
                    written += file.write(piece)
            if written != contents.size(name):
                raise wrong_size(name, "has another size than was listed")
    return into


def _archive(file: BinaryIO, path: Path) -> Examined:
    first = file.read(BLOCK)
    if first.startswith(MAGIC):
        zipped, faults = read_zip(file, path)
        return Examined(contents=zipped, faults=faults)
    if first.startswith(GZIP_MAGIC) or is_tar(first):
        tarred, faults = read_tar(file, path)
        return Examined(contents=tarred, faults=faults)
    problem = "is neither a folder nor a zip, tar or tar.gz"
    raise BundleError(path, [Fault(code="SUB001", place=shown(path.name), problem=problem)])
