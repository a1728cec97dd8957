"""Folders: walked without following a link, and every file opened without following one."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .findings import BundleError, Fault, shown
from .limits import MAX_DEPTH, MAX_FILES
from .paths import Entry, EntryKind, is_kept_back
from .streams import wrong_size

#: Zero where an operating system has no such thing.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, kw_only=True)
class FolderListing:
    """What a folder holds."""

    entries: tuple[Entry, ...]
    #: What is its owner's business, by path; folders among it are not walked.
    kept_back: tuple[str, ...]


def list_folder(folder: Path) -> FolderListing:
    """The entries of a folder, sorted, no deeper than a submission goes.

    Raises:
        BundleError: it has more entries than are looked at, or cannot be listed.
    """
    entries: list[Entry] = []
    kept_back: list[str] = []
    waiting = [""]
    n_seen = 0
    while waiting:
        inside = waiting.pop()
        try:
            found = list(os.scandir(folder / inside))
        except OSError as error:
            raise _unreadable(folder, inside, error) from None
        n_seen += len(found)
        if n_seen > MAX_FILES:
            raise BundleError(
                folder, [Fault(code="SUB004", place="the whole", problem=f"has more than {MAX_FILES:,} files")]
            )
        for item in found:
            name = f"{inside}/{item.name}" if inside else item.name
            if is_kept_back(name):
                kept_back.append(name)
                continue
            try:
                entry = _entry(name, item.stat(follow_symlinks=False))
            except OSError as error:
                raise _unreadable(folder, name, error) from None
            entries.append(entry)
            if entry.kind == "folder" and name.count("/") < MAX_DEPTH:
                waiting.append(name)
    return FolderListing(
        entries=tuple(sorted(entries, key=lambda entry: entry.name)), kept_back=tuple(sorted(kept_back))
    )


def open_inside(folder: Path, name: str) -> BinaryIO:
    """A file of a folder, from its beginning.

    Raises:
        BundleError: it became a link or something else since it was listed, or cannot be read.
    """
    try:
        number = os.open(folder / name, os.O_RDONLY | _NO_FOLLOW)
    except OSError as error:
        raise _unreadable(folder, name, error) from None
    file = os.fdopen(number, "rb")
    if not stat.S_ISREG(os.fstat(number).st_mode):
        file.close()
        raise wrong_size(name, "is no regular file any more")
    return file


def _entry(name: str, found: os.stat_result) -> Entry:
    kinds: dict[int, EntryKind] = {stat.S_IFLNK: "link", stat.S_IFREG: "file", stat.S_IFDIR: "folder"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "device")
    # What Windows calls a junction leads elsewhere as a link does.
    if getattr(found, "st_reparse_tag", 0):
        kind = "link"
    # Undecodable bytes of a name would not go into a message.
    safe = name.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")
    return Entry(name=safe, kind=kind, size=found.st_size if kind == "file" else 0)


def _unreadable(folder: Path, name: str, error: OSError) -> BundleError:
    place = shown(name) if name else "the whole"
    return BundleError(
        folder, [Fault(code="SUB001", place=place, problem=f"cannot be read: {error.strerror or error}")]
    )
