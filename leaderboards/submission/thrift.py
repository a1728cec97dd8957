"""Structures in Thrift's compact protocol, which is what parquet files describe themselves in.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. Every value takes a byte at least, so
what is read of some bytes takes memory in proportion to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Structures of parquet do not go deeper, nor have they more fields.
_MAX_DEPTH, _MAX_FIELDS = 12, 64
_TRUE, _FALSE, _BYTE, _DOUBLE, _TEXT, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_WHOLE = frozenset({4, 5, 6})


@dataclass(frozen=True)
class Struct:
    """The fields of a structure, by number."""

    fields: Mapping[int, object] = field(default_factory=dict)

    def __contains__(self, number: int) -> bool:
        return number in self.fields

    def count(self, number: int) -> int:
        """A field that is a count; ValueError where it is none."""
        value = self.fields.get(number)
        if not isinstance(value, int) or value < 0:
            raise ValueError("a size that is no count")
        return value

    def struct(self, number: int) -> Struct:
        """A field that is a structure; ValueError where it is none."""
        value = self.fields.get(number)
        if not isinstance(value, Struct):
            raise ValueError("a part that is missing")  # noqa: TRY004 (a file's fault)
        return value

    def structs(self, number: int) -> list[Struct]:
        """A field that is a list of structures; ValueError where it is none."""
        value = self.fields.get(number)
        if not isinstance(value, list) or not all(isinstance(each, Struct) for each in value):
            raise ValueError("a list that is missing")
        return value

    def texts(self, number: int) -> list[str]:
        """A field that is a list of texts; ValueError where it is none."""
        value = self.fields.get(number)
        if not isinstance(value, list) or not all(isinstance(each, bytes) for each in value):
            raise ValueError("a list of names that is missing")
        return [each.decode("utf-8") for each in value]


class Reader:
    """The bytes `content[place:end]`, forward. ValueError where they end before, or are nothing that is known."""

    def __init__(self, content: bytes, place: int, end: int) -> None:
        self._content = content
        self._end = end
        #: The byte that is read next.
        self.place = place

    def struct(self, depth: int = 0) -> Struct:
        """The structure that comes next."""
        if depth > _MAX_DEPTH:
            raise ValueError("a structure that is nested too deep")
        found: dict[int, object] = {}
        number = 0
        for _ in range(_MAX_FIELDS):
            first = self._byte()
            if first == 0:
                return Struct(found)
            kind, step = first & 0x0F, first >> 4
            number = number + step if step else self._zigzag()
            found[number] = int(kind == _TRUE) if kind in {_TRUE, _FALSE} else self._value(kind, depth)
        raise ValueError("a structure of too many fields")

    def _value(self, kind: int, depth: int) -> object:
        if kind in _WHOLE:
            return self._zigzag()
        if kind in {_TRUE, _FALSE, _BYTE}:
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == _TEXT:
            return self._bytes(self._varint())
        if kind in {_LIST, _SET}:
            return self._list(depth)
        if kind == _STRUCT:
            return self.struct(depth + 1)
        raise ValueError("a field of no known type")

    def _list(self, depth: int) -> list[object]:
        if depth > _MAX_DEPTH:
            raise ValueError("a list that is nested too deep")
        first = self._byte()
        count = self._varint() if first >> 4 == 15 else first >> 4
        if count > self._end - self.place:
            raise ValueError("a list that is longer than its bytes")
        return [self._value(first & 0x0F, depth + 1) for _ in range(count)]

    def _bytes(self, count: int) -> bytes:
        if count > self._end - self.place:
            raise ValueError("a text that is longer than its bytes")
        self.place += count
        return self._content[self.place - count : self.place]

    def _byte(self) -> int:
        if not 0 <= self.place < self._end:
            raise ValueError("a part that is cut off")
        self.place += 1
        return self._content[self.place - 1]

    def _varint(self) -> int:
        byte = self._byte()
        value, shift = byte & 0x7F, 7
        while byte & 0x80:
            if shift > 63:
                raise ValueError("a number without end")
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            shift += 7
        return value

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
