"""Tar files, packed with gzip or not: read forward once, by their plain headers alone.

Python's `tarfile` takes extended headers of any length into memory and follows sparse maps; an honest submission has
neither, so this reads what one has: regular files and folders with short names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .findings import BundleError, Fault, shown
from .limits import MAX_FILES, MAX_TOTAL
from .paths import Entry, EntryKind
from .streams import Gunzipped, Part, Stream, chunks, read_exactly

BLOCK = 512
GZIP_MAGIC = b"\x1f\x8b"
#: Bytes of an extended header: a long name or a time to the nanosecond.
_MAX_EXTENDED = 16 << 10
#: Zeros at the end: tar rounds a file up, to 10 KiB by default.
_MAX_PADDING = 1 << 20
_KINDS: dict[bytes, EntryKind] = {b"0": "file", b"\0": "file", b"5": "folder", b"1": "link", b"2": "link"}
_PAX_RECORD = re.compile(rb"(\d{1,6}) ([^=]{1,100})=")
#: What an extended header may say beside the path: it changes nothing that is read.
_HARMLESS = re.compile(r"(mtime|atime|ctime|uid|gid|uname|gname|comment|LIBARCHIVE\..*|SCHILY\..*|APPLE\..*)")


@dataclass
class _Extended:
    """What headers before a file say of it."""

    path: str | None = None
    problem: str = ""


def is_tar(first: bytes) -> bool:
    """Whether a file that begins so is a plain tar."""
    return len(first) >= BLOCK and first[257:262] == b"ustar"


def open_tar(file: BinaryIO, name: str) -> Stream:
    """The tar in a file, unpacked while it is read."""
    file.seek(0)
    packed = file.read(2) == GZIP_MAGIC
    file.seek(0)
    return Gunzipped(file, name) if packed else file


def walk(file: BinaryIO, path: Path) -> Iterator[tuple[Entry, str, Stream]]:
    """The entries of a tar in its order: each with what is wrong with it, else nothing, and its content.

    A content is read before the next entry is asked for, or passed over.

    Raises:
        BundleError: it cannot be read, or only at the price of unbounded work.
    """
    stream = open_tar(file, path.name)
    total = 0
    for count, (entry, problem) in enumerate(_entries(stream, path), 1):
        total += entry.size
        if count > MAX_FILES:
            raise _whole(path, "SUB004", f"has more than {MAX_FILES:,} files")
        if total > MAX_TOTAL:
            raise _whole(path, "SUB005", f"unpacks to more than {MAX_TOTAL:,} bytes")
        part = Part(stream, entry.name, entry.size)
        yield entry, problem, part
        for _ in chunks(part):
            pass
        read_exactly(stream, -entry.size % BLOCK)


def _entries(stream: Stream, path: Path) -> Iterator[tuple[Entry, str]]:
    """Each entry with what is wrong with it; its content is for the caller to read before the next is asked for."""
    extended, n_extended = _Extended(), 0
    while any(header := read_exactly(stream, BLOCK)):
        if len(header) < BLOCK or _checksum(header) != _number(header[148:156]):
            raise _refusal(path, "is no tar file, or is damaged or cut off")
        kind, size = header[156:157], _number(header[124:136])
        if size < 0:
            raise _refusal(path, "has a size that is no number")
        if kind in b"xgL":
            n_extended += 1
            if n_extended > 2 * MAX_FILES:
                raise _refusal(path, "has more extended headers than files")
            if size > _MAX_EXTENDED:
                raise _refusal(path, f"has an extended header of {size:,} bytes, at most {_MAX_EXTENDED:,} are read")
            content = read_exactly(stream, size)
            read_exactly(stream, -size % BLOCK)
            _extend(extended, kind, content)
            continue
        name = _text(header[:100]) if extended.path is None else extended.path
        prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" and extended.path is None else ""
        what = _KINDS.get(kind, "device")
        entry = Entry(
            name=_plain_name(f"{prefix}/{name}" if prefix else name), kind=what, size=size if what == "file" else 0
        )
        if entry.name:  # not the packed folder itself
            yield entry, extended.problem
        extended = _Extended()
    if read_exactly(stream, _MAX_PADDING).strip(b"\0") or stream.read(1):
        raise _refusal(path, "has something behind its end")


def _plain_name(name: str) -> str:
    """As `tar` writes names of files that it was given as `.`: without `./` in front."""
    return name.removeprefix("./").removesuffix("/") if name not in {".", "./"} else ""


def _extend(extended: _Extended, kind: bytes, content: bytes) -> None:
    if kind == b"L":
        extended.path = _text(content)
        return
    while content:
        found = _PAX_RECORD.match(content)
        length = int(found.group(1)) if found else 0
        if found is None or not found.end() < length <= len(content) or content[length - 1 : length] != b"\n":
            extended.problem = "has an extended header that is damaged"
            return
        key = found.group(2).decode("ascii", errors="replace")
        if key == "path" and kind == b"x":
            extended.path = _text(content[found.end() : length - 1])
        elif not _HARMLESS.fullmatch(key):
            extended.problem = f"has an extended header with {shown(key)!r}, which is not read"
        content = content[length:]


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("utf-8", errors="backslashreplace")


def _number(raw: bytes) -> int:
    """An octal number; -1 where it is none. Nothing stands for 0."""
    text = raw.strip(b" \0")
    return -1 if text.strip(b"01234567") else int(text or b"0", 8)


def _checksum(header: bytes) -> int:
    return sum(header[:148]) + 8 * ord(" ") + sum(header[156:])


def _whole(path: Path, code: str, problem: str) -> BundleError:
    return BundleError(path, [Fault(code=code, place="the whole", problem=problem)])


def _refusal(path: Path, problem: str) -> BundleError:
    return BundleError(path, [Fault(code="SUB001", place=shown(path.name), problem=problem)])
