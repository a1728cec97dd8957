"""The pages of a parquet file by their own headers, before a library believes them.

What a file says at its end is checked easily; but a page has a header of its own, with a size and a number of values
that decide how much memory is taken. Headers are Thrift structures in the compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md; parquet.thrift, `PageHeader`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .limits import MAX_PAGES

#: Fields of `PageHeader`, and of the headers inside it: number of values first in each.
_KIND, _UNPACKED, _PACKED = 1, 2, 3
_HEADERS = {0: 5, 2: 7, 3: 8}
_N_VALUES, _DICTIONARY = 1, 2
#: The statistics of a page hold two values, and structures do not go deep.
_MAX_TEXT, _MAX_DEPTH, _MAX_FIELDS = 64 << 10, 6, 64

Struct = Mapping[int, "int | Struct | None"]


@dataclass(frozen=True, kw_only=True)
class Pages:
    """What the headers of a column's pages come to."""

    #: Values of the column, and of its dictionary.
    n_values: int
    n_dictionary: int
    #: Bytes when unpacked.
    n_bytes: int


def read_pages(content: bytes, start: int, end: int) -> Pages:
    """The pages that lie in `content[start:end]`, one behind the other and nothing else.

    Raises:
        ValueError: they do not, or a header is no header.
    """
    place, n_values, n_dictionary, n_bytes = start, 0, 0, 0
    for _ in range(MAX_PAGES):
        if place >= end:
            break
        reader = _Reader(content, place, end)
        header = reader.struct()
        kind, unpacked, packed = (_count(header.get(field)) for field in (_KIND, _UNPACKED, _PACKED))
        inner = header.get(_HEADERS.get(kind, 0))
        if not isinstance(inner, Mapping):
            raise ValueError("a page is of no known kind")  # noqa: TRY004 (a file's fault)
        values = _count(inner.get(_N_VALUES))
        n_values, n_dictionary = (
            (n_values, n_dictionary + values) if kind == _DICTIONARY else (n_values + values, n_dictionary)
        )
        n_bytes += unpacked
        place = reader.place + packed
    if place != end:
        raise ValueError("the pages of a column do not end where it ends, or are too many")
    return Pages(n_values=n_values, n_dictionary=n_dictionary, n_bytes=n_bytes)


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("a page has a size that is no count")
    return value


class _Reader:
    """Thrift's compact protocol, forward, never behind `end`."""

    def __init__(self, content: bytes, place: int, end: int) -> None:
        self._content = content
        self._end = end
        self.place = place

    def struct(self, depth: int = 0) -> Struct:
        """Its fields by number; texts and lists are passed over."""
        if depth > _MAX_DEPTH:
            raise ValueError("a header is nested too deep")
        found: dict[int, int | Struct | None] = {}
        number = 0
        for _ in range(_MAX_FIELDS):
            first = self._byte()
            if first == 0:
                return found
            kind, step = first & 0x0F, first >> 4
            number = number + step if step else self._zigzag()
            found[number] = self._value(kind, depth)
        raise ValueError("a header has too many fields")

    def _value(self, kind: int, depth: int) -> int | Struct | None:
        simple: dict[int, Callable[[], int]] = {
            1: lambda: 1,
            2: lambda: 0,
            3: self._byte,
            4: self._zigzag,
            5: self._zigzag,
            6: self._zigzag,
        }
        if kind in simple:
            return simple[kind]()
        if kind == 7:
            self._skip(8)
        elif kind == 8:
            self._skip(self._varint())
        elif kind in {9, 10}:
            self._skip_list(depth)
        elif kind == 12:
            return self.struct(depth + 1)
        else:
            raise ValueError("a header has a field of no known type")
        return None

    def _skip_list(self, depth: int) -> None:
        first = self._byte()
        count = first >> 4
        count = self._varint() if count == 15 else count
        if count > _MAX_FIELDS:
            raise ValueError("a header has a list that is too long")
        for _ in range(count):
            if first & 0x0F in {1, 2}:
                self._byte()
            else:
                self._value(first & 0x0F, depth + 1)

    def _skip(self, count: int) -> None:
        if count > _MAX_TEXT:
            raise ValueError("a header has a text that is too long")
        self.place += count

    def _byte(self) -> int:
        if not 0 <= self.place < self._end:
            raise ValueError("a header is cut off")
        self.place += 1
        return self._content[self.place - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise ValueError("a header has a number without end")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
