"""A submission as files by name, whatever it lies in: a folder, a zip or a tar. Nothing is written, and no torch.

`examine` lists it and says what is wrong with how it is put together; `open_contents` gives the files of one with
which nothing is.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from ... import UserError
from ...benchmark.store.files import file_system_errors
from .findings import BundleError, Fault, shown
from .folders import list_folder, open_inside
from .limits import MAX_RESULTS
from .paths import DESCRIPTION, LIMITS, Entry, faults_of, part_of, strange_files
from .streams import Part, Stream, chunks, wrong_size
from .tars import BLOCK, GZIP_MAGIC, is_tar, walk
from .zips import MAGIC, Member, list_zip, open_member

__all__ = ["BundleError", "Contents", "Examined", "Stream", "examine", "open_contents", "unpack"]


#: Parts that a tar is walked to again for.
_LARGE = ("weights", "program")


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


@dataclass(kw_only=True)
class _Files:
    """What the three kinds have in common."""

    path: Path
    is_archive: bool
    sizes: dict[str, int]
    _digests: dict[str, str] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.sizes))

    def size(self, name: str) -> int:
        return self.sizes[name]

    def open(self, name: str) -> Stream:
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        content = b"".join(chunks(self.open(name)))
        if len(content) != self.size(name):
            raise wrong_size(name, "has another size than was listed")
        return content

    def sha256(self, name: str) -> str:
        if name not in self._digests:
            digest = hashlib.sha256()
            for piece in chunks(self.open(name)):
                digest.update(piece)
            self._digests[name] = digest.hexdigest()
        return self._digests[name]


@dataclass(kw_only=True)
class _Folder(_Files):
    opened: BinaryIO | None = None

    def open(self, name: str) -> Stream:
        size = self.size(name)
        self.close()
        self.opened = open_inside(self.path, name)
        return Part(self.opened, name, size)  # no more than was listed, where the file grows

    def close(self) -> None:
        if self.opened is not None:
            self.opened.close()


@dataclass(kw_only=True)
class _Zip(_Files):
    file: BinaryIO
    members: dict[str, Member]

    def open(self, name: str) -> Stream:
        return open_member(self.file, self.members[name])


@dataclass(kw_only=True)
class _Tar(_Files):
    """Small files were kept when it was listed; a large one is walked to again."""

    file: BinaryIO
    raw_names: dict[str, str]
    kept: dict[str, bytes]

    def open(self, name: str) -> Stream:
        if name in self.kept:
            return io.BytesIO(self.kept[name])
        wanted = self.raw_names[name]
        return next(stream for entry, _, stream in walk(self.file, self.path) if entry.name == wanted)


@contextmanager
def examine(path: Path) -> Iterator[Examined]:
    """A submission, listed; its files can be read until the block ends.

    Raises:
        UserError: there is nothing at `path`, or it cannot be read.
        BundleError: it is no submission at all, or more than is looked at.
    """
    if path.is_dir():
        examined, folder = _folder(path)
        try:
            yield examined
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


def _folder(path: Path) -> tuple[Examined, _Folder]:
    listing = list_folder(path)
    faults, names = _judged(path, listing.entries, [], "")
    sizes = {name: entry.size for name, entry in names.items()}
    contents = _Folder(path=path, is_archive=False, sizes=sizes)
    return Examined(contents=contents, faults=faults, kept_back=listing.kept_back), contents


def _archive(file: BinaryIO, path: Path) -> Examined:
    first = file.read(BLOCK)
    if first.startswith(MAGIC):
        return _zip(file, path)
    if first.startswith(GZIP_MAGIC) or is_tar(first):
        return _tar(file, path)
    problem = "is neither a folder nor a zip, tar or tar.gz"
    raise BundleError(path, [Fault(code="SUB001", place=shown(path.name), problem=problem)])


def _zip(file: BinaryIO, path: Path) -> Examined:
    listing = list_zip(file, path)
    entries = [member.entry for member in listing.members]
    prefix = _prefix(entries)
    faults, names = _judged(path, entries, listing.faults, prefix)
    members = {member.entry.name.removeprefix(prefix): member for member in listing.members}
    contents = _Zip(
        path=path,
        is_archive=True,
        sizes={name: entry.size for name, entry in names.items()},
        file=file,
        members={name: members[name] for name in names},
    )
    return Examined(contents=contents, faults=faults)


def _tar(file: BinaryIO, path: Path) -> Examined:
    entries: list[Entry] = []
    faults: list[Fault] = []
    kept: dict[str, bytes] = {}
    n_kept = 0
    for entry, problem, stream in walk(file, path):
        entries.append(entry)
        if problem:
            faults.append(Fault(code="SUB001", place=shown(entry.name), problem=problem))
        # The packed folder may be a part of the name still.
        part = part_of(entry.name) or part_of(entry.name.partition("/")[2])
        if part is not None and part not in _LARGE and entry.size <= LIMITS[part]:
            n_kept += entry.size
            if n_kept > MAX_RESULTS:
                many = f"has more than {MAX_RESULTS:,} bytes of results"
                raise BundleError(path, [Fault(code="SUB005", place="the whole", problem=many)])
            kept[entry.name] = b"".join(chunks(stream))
    prefix = _prefix(entries)
    judged, names = _judged(path, entries, faults, prefix)
    contents = _Tar(
        path=path,
        is_archive=True,
        sizes={name: entry.size for name, entry in names.items()},
        file=file,
        raw_names={name: entry.name for name, entry in names.items()},
        kept={name: kept[entry.name] for name, entry in names.items() if entry.name in kept},
    )
    return Examined(contents=contents, faults=judged)


def _prefix(entries: Sequence[Entry]) -> str:
    """`mine/` where an archive holds one folder `mine` with the submission in it; else nothing."""
    tops = {entry.name.partition("/")[0] for entry in entries}
    if len(tops) != 1 or any(entry.name == DESCRIPTION for entry in entries):
        return ""
    return f"{tops.pop()}/"


def _judged(
    path: Path, entries: Sequence[Entry], before: Sequence[Fault], prefix: str
) -> tuple[tuple[Fault, ...], dict[str, Entry]]:
    """All that is wrong with the entries, and the files that may be read by the names that they have here."""
    faults = [*before, *faults_of(entries)]
    inner = [replace(entry, name=entry.name.removeprefix(prefix)) for entry in entries]
    faults += strange_files(inner)
    if any(fault.place == "the whole" for fault in faults):
        raise BundleError(path, faults)
    wrong = {fault.place.removeprefix(prefix) for fault in faults}
    names = {
        entry.name.removeprefix(prefix): entry
        for entry in entries
        if entry.kind == "file"
        and part_of(entry.name.removeprefix(prefix))
        and entry.name.removeprefix(prefix) not in wrong
    }
    return tuple(dict.fromkeys(faults)), names
