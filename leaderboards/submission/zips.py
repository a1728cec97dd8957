"""Zips: their list of files, held against the files themselves before one of them is unpacked."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .findings import BundleError, Fault, shown
from .limits import MAX_DIRECTORY, MAX_FILES, MAX_RATIO, RATIO_FROM
from .paths import Entry, EntryKind
from .streams import Packed

MAGIC = b"PK\x03\x04"
_END = struct.Struct("<4s4H2LH")
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCATOR = b"PK\x06\x07"
_ENCRYPTED = 0x1


@dataclass(frozen=True, kw_only=True)
class Member:
    """Where a file lies in a zip."""

    entry: Entry
    #: Byte at which its content begins, and how many there are.
    start: int
    n_packed: int
    crc: int
    is_deflated: bool


@dataclass(frozen=True, kw_only=True)
class ZipListing:
    """A zip as far as it can be told without unpacking."""

    members: tuple[Member, ...]
    faults: tuple[Fault, ...]


def list_zip(file: BinaryIO, path: Path) -> ZipListing:
    """The members of a zip, and what is wrong with how it is put together.

    Raises:
        BundleError: it cannot be listed, or only at the price of unbounded work.
    """
    n_bytes = file.seek(0, 2)
    start = _directory_start(file, path, n_bytes)
    try:
        infos = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError, struct.error, OverflowError):
        raise _refusal(path, "its list of files is damaged") from None
    faults: list[Fault] = []
    members = []
    spans: list[tuple[int, int, str]] = []
    for info in infos:
        name, place = info.orig_filename, shown(info.orig_filename)
        faults += (Fault(code="SUB001", place=place, problem=problem) for problem in _unreadable(info))
        begin = _content_start(file, info)
        if begin is None or begin + info.compress_size > start:
            problem = "lies elsewhere, or is called otherwise, in the archive than its list says"
            faults.append(Fault(code="SUB007", place=place, problem=problem))
            continue
        spans.append((info.header_offset, begin + info.compress_size, name))
        if info.file_size > max(RATIO_FROM, MAX_RATIO * info.compress_size):
            problem = (
                f"unpacks from {info.compress_size:,} to {info.file_size:,} bytes, more than {MAX_RATIO} times as many"
            )
            faults.append(Fault(code="SUB006", place=place, problem=problem))
        if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            faults.append(Fault(code="SUB008", place=place, problem="has two sizes in the archive's list"))
        members.append(
            Member(
                entry=Entry(
                    name=name.removesuffix("/") if _kind(info) == "folder" else name,
                    kind=_kind(info),
                    size=info.file_size,
                ),
                start=begin,
                n_packed=info.compress_size,
                crc=info.CRC,
                is_deflated=info.compress_type == zipfile.ZIP_DEFLATED,
            )
        )
    return ZipListing(members=tuple(members), faults=(*faults, *_overlaps(spans)))


def open_member(file: BinaryIO, member: Member) -> Packed:
    """Its content from the beginning; `file` is read by nobody else meanwhile."""
    file.seek(member.start)
    return Packed(
        file,
        member.entry.name,
        n_packed=member.n_packed,
        n_bytes=member.entry.size,
        crc=member.crc,
        is_deflated=member.is_deflated,
    )


def _refusal(path: Path, problem: str) -> BundleError:
    return BundleError(path, [Fault(code="SUB001", place=shown(path.name), problem=problem)])


def _directory_start(file: BinaryIO, path: Path, n_bytes: int) -> int:
    """Where the list of files begins; what stands at the end of the zip bounds how much of it is read."""
    file.seek(max(n_bytes - _END.size - 20, 0))
    tail = file.read()
    if len(tail) < _END.size or not tail[-_END.size :].startswith(b"PK\x05\x06"):
        raise _refusal(path, "is a zip that is cut off, or has something behind its end")
    _, disk, first_disk, here, count, size, offset, comment = _END.unpack(tail[-_END.size :])
    if count > MAX_FILES:
        raise BundleError(path, [Fault(code="SUB004", place="the whole", problem=f"has more than {MAX_FILES:,} files")])
    if disk or first_disk or here != count or comment or tail[: -_END.size].startswith(_LOCATOR):
        raise _refusal(path, "is a zip in several parts, with a comment, or of the kind for more than 4 GiB")
    if size > MAX_DIRECTORY or offset + size != n_bytes - _END.size:
        raise _refusal(path, "its list of files does not stand at its end, or is too long")
    return int(offset)


def _unreadable(info: zipfile.ZipInfo) -> Iterator[str]:
    if info.flag_bits & _ENCRYPTED:
        yield "is encrypted"
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        yield "is packed in another way than deflate"


def _kind(info: zipfile.ZipInfo) -> EntryKind:
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "device"
    return "folder" if info.orig_filename.endswith("/") and not info.file_size else "file"


def _content_start(file: BinaryIO, info: zipfile.ZipInfo) -> int | None:
    """The first byte of a member's content; None where its own header says something else than the list."""
    file.seek(info.header_offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size:
        return None
    magic, _, flags, method, *_, n_name, n_extra = _LOCAL.unpack(header)
    raw = file.read(n_name)
    encoding = "utf-8" if flags & 0x800 else "cp437"
    name = raw.decode(encoding, errors="replace")
    if magic != MAGIC or method != info.compress_type or name != info.orig_filename:
        return None
    return info.header_offset + _LOCAL.size + int(n_name) + int(n_extra)


def _overlaps(spans: list[tuple[int, int, str]]) -> Iterator[Fault]:
    end, before = 0, ""
    for first, last, name in sorted(spans):
        if first < end:
            problem = f"shares bytes of the archive with {shown(before)!r}"
            yield Fault(code="SUB007", place=shown(name), problem=problem)
        if last > end:
            end, before = last, name
