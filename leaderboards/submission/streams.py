"""Bytes of one file of a submission, read forward, never more at once than asked for, never more than was promised."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from .findings import BundleError, Fault, shown
from .limits import CHUNK, MAX_RATIO, RATIO_FROM


class Stream(Protocol):
    """What is read forward."""

    def read(self, n_bytes: int, /) -> bytes:
        """At most so many bytes, none at the end."""
        ...


def chunks(stream: Stream) -> Iterator[bytes]:
    """All that is left, `CHUNK` bytes at most at once."""
    while piece := stream.read(CHUNK):
        yield piece


def read_exactly(stream: Stream, n_bytes: int) -> bytes:
    """So many bytes, or what there is until the end."""
    pieces, left = [], n_bytes
    while left > 0 and (piece := stream.read(min(left, CHUNK))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def wrong_size(name: str, problem: str) -> BundleError:
    """A file whose bytes are not what its container says of them."""
    return BundleError(name, [Fault(code="SUB008", place=shown(name), problem=problem)])


class Packed:
    """A part of a zip, unpacked while it is read.

    Never more is unpacked than the zip says; BundleError where there is more or less of it, or it has another CRC.

    Args:
        file: of the zip, at the first byte of the part.
        name: the part.
        n_packed: bytes in the zip.
        n_bytes: bytes when unpacked.
        crc: as the zip says.
        is_deflated: else it lies there as it is.
    """

    def __init__(self, file: BinaryIO, name: str, *, n_packed: int, n_bytes: int, crc: int, is_deflated: bool) -> None:
        self._file = file
        self._name = name
        self._packed = n_packed
        self._left = n_bytes
        self._wanted = crc
        self._crc = 0
        self._inflate = zlib.decompressobj(-15) if is_deflated else None
        self._is_done = False

    def read(self, n_bytes: int, /) -> bytes:
        """At most so many bytes, none at the end."""
        if self._is_done or n_bytes < 1:
            return b""
        # One byte more than was promised is asked for, so that it is seen.
        piece = self._piece(min(n_bytes, self._left + 1))
        if len(piece) > self._left:
            raise wrong_size(self._name, "unpacks to more bytes than the archive says")
        self._left -= len(piece)
        self._crc = zlib.crc32(piece, self._crc)
        if not piece:
            self._finish()
        return piece

    def _piece(self, wanted: int) -> bytes:
        if self._inflate is None:
            return self._raw(wanted)
        try:
            while not self._inflate.eof:
                given = self._inflate.unconsumed_tail or self._raw(1 << 16)
                piece = self._inflate.decompress(given, wanted)
                if piece or not given:
                    return piece
        except zlib.error:
            raise wrong_size(self._name, "is damaged") from None
        return b""

    def _raw(self, wanted: int) -> bytes:
        piece = self._file.read(min(wanted, self._packed))
        self._packed -= len(piece)
        return piece

    def _finish(self) -> None:
        self._is_done = True
        if self._left or self._packed or self._crc != self._wanted:
            raise wrong_size(self._name, "has other bytes than the archive says: fewer, hidden ones, or another CRC")
        if self._inflate is not None and (not self._inflate.eof or self._inflate.unused_data):
            raise wrong_size(self._name, "has bytes behind its packed content")


class Gunzipped:
    """One gzip member, unpacked while it is read; BundleError where it is a bomb, damaged, or not the whole file."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._inflate = zlib.decompressobj(31)
        self._n_in = self._n_out = 0

    def read(self, n_bytes: int, /) -> bytes:
        """At most so many bytes, none at the end."""
        try:
            piece = self._piece(min(n_bytes, CHUNK))
        except zlib.error:
            raise wrong_size(self._name, "is a damaged gzip file") from None
        self._n_out += len(piece)
        if self._n_out > RATIO_FROM and self._n_out > MAX_RATIO * self._n_in:
            problem = f"unpacks to more than {MAX_RATIO} times its size"
            raise BundleError(self._name, [Fault(code="SUB006", place=shown(self._name), problem=problem)])
        return piece

    def _piece(self, wanted: int) -> bytes:
        while not self._inflate.eof:
            given = self._inflate.unconsumed_tail
            if not given:
                given = self._file.read(1 << 14)
                self._n_in += len(given)
                if not given:
                    raise wrong_size(self._name, "is cut off")
            piece = self._inflate.decompress(given, wanted)
            if piece:
                return piece
        if self._inflate.unused_data.strip(b"\0") or self._file.read(1):
            raise wrong_size(self._name, "has bytes behind its packed content")
        return b""


class Part:
    """The next so many bytes of a stream; BundleError where it ends before."""

    def __init__(self, stream: Stream, name: str, n_bytes: int) -> None:
        self._stream = stream
        self._name = name
        self._left = n_bytes

    def read(self, n_bytes: int, /) -> bytes:
        """At most so many bytes, none at the end."""
        piece = self._stream.read(min(n_bytes, self._left)) if self._left and n_bytes > 0 else b""
        if self._left and n_bytes > 0 and not piece:
            raise wrong_size(self._name, "is cut off")
        self._left -= len(piece)
        return piece
