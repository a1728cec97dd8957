"""The files of a folder, a zip or a tar by name, once it is listed and its paths are judged."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from .findings import BundleError, Fault, shown
from .folders import list_folder, open_inside
from .limits import MAX_RESULTS
from .paths import DESCRIPTION, LIMITS, Entry, faults_of, part_of, strange_files
from .streams import Part, Stream, chunks, wrong_size
from .tars import walk
from .zips import Member, list_zip, open_member

#: Parts that a tar is walked to again for.
_LARGE = ("weights", "program")


@dataclass(kw_only=True)
class Files:
    """What the three kinds of `contents.Contents` have in common."""

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
class FolderFiles(Files):
    """Those of a folder; one is open at a time."""

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
class ZipFiles(Files):
    """Those of a zip."""

    file: BinaryIO
    members: dict[str, Member]

    def open(self, name: str) -> Stream:
        return open_member(self.file, self.members[name])


@dataclass(kw_only=True)
class TarFiles(Files):
    """Small files were kept when it was listed; a large one is walked to again."""

    file: BinaryIO
    raw_names: dict[str, str]
    kept: dict[str, bytes]

    def open(self, name: str) -> Stream:
        if name in self.kept:
            return io.BytesIO(self.kept[name])
        wanted = self.raw_names[name]
        return next(stream for entry, _, stream in walk(self.file, self.path) if entry.name == wanted)


def read_folder(path: Path) -> tuple[FolderFiles, tuple[Fault, ...], tuple[str, ...]]:
    """A folder's files, what is wrong with it, and what it keeps for its owner."""
    listing = list_folder(path)
    faults, names = _judged(path, listing.entries, [], "")
    sizes = {name: entry.size for name, entry in names.items()}
    return FolderFiles(path=path, is_archive=False, sizes=sizes), faults, listing.kept_back


def read_zip(file: BinaryIO, path: Path) -> tuple[ZipFiles, tuple[Fault, ...]]:
    """A zip's files, and what is wrong with it."""
    listing = list_zip(file, path)
    entries = [member.entry for member in listing.members]
    prefix = _prefix(entries)
    faults, names = _judged(path, entries, listing.faults, prefix)
    members = {member.entry.name.removeprefix(prefix): member for member in listing.members}
    contents = ZipFiles(
        path=path,
        is_archive=True,
        sizes={name: entry.size for name, entry in names.items()},
        file=file,
        members={name: members[name] for name in names},
    )
    return contents, faults


def read_tar(file: BinaryIO, path: Path) -> tuple[TarFiles, tuple[Fault, ...]]:
    """A tar's files, and what is wrong with it."""
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
    contents = TarFiles(
        path=path,
        is_archive=True,
        sizes={name: entry.size for name, entry in names.items()},
        file=file,
        raw_names={name: entry.name for name, entry in names.items()},
        kept={name: kept[entry.name] for name, entry in names.items() if entry.name in kept},
    )
    return contents, judged


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
