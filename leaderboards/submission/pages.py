"""What a parquet file says of itself, and what its pages say, before a library believes either.

A library takes memory by what these headers say, and some of their lies end the process instead of being refused. The
numbers of fields are those of parquet.thrift (https://github.com/apache/parquet-format).
"""

from __future__ import annotations

from dataclasses import dataclass

from .limits import MIN_PAGE_ROWS, MORE_PAGES
from .thrift import Reader, Struct

#: `CompressionCodec`: what `robustreid run` writes; others can unpack to anything.
_CODECS = {0: "UNCOMPRESSED", 1: "SNAPPY"}
#: `PageType` and the field of `PageHeader` with the header of that kind; dictionaries are of type 2.
_HEADERS = {0: 5, 2: 7, 3: 8}
_DICTIONARY = 2
_MAX_GROUPS = 16


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """The values of a column in a group of rows."""

    #: As it stands in the schema, parts joined by dots.
    name: str
    n_rows: int
    #: As its pages say, and those of its dictionary.
    n_values: int
    n_dictionary: int
    #: Bytes when unpacked.
    n_bytes: int


@dataclass(frozen=True, kw_only=True)
class Footer:
    """What a file says of itself, held against its pages."""

    n_rows: int
    chunks: tuple[Chunk, ...]


def read_footer(content: bytes, start: int, end: int) -> Footer:
    """The `FileMetaData` in `content[start:end]`, and the pages before it.

    Raises:
        ValueError: what is wrong with them, as the end of `it has ...`.
    """
    reader = Reader(content, start, end)
    file = reader.struct()
    groups = file.structs(4)
    if 8 in file or 9 in file or len(groups) > min(_MAX_GROUPS, max(file.count(3), 1)):
        raise ValueError("encryption, or too many groups of rows")
    chunks = [_chunk(column, group.count(3), content, start) for group in groups for column in group.structs(1)]
    if sum(group.count(3) for group in groups) != file.count(3):
        raise ValueError("groups of rows that are not the rows of the table")
    return Footer(n_rows=file.count(3), chunks=tuple(chunks))


def _chunk(column: Struct, n_rows: int, content: bytes, end: int) -> Chunk:
    if {1, 8, 9} & column.fields.keys():
        raise ValueError("a column in another file, or an encrypted one")
    said = column.struct(3)
    name = ".".join(said.texts(3))
    if said.fields.get(4) not in _CODECS:
        raise ValueError(f"a column packed by another codec than {' or '.join(_CODECS.values())}")
    first = said.count(9)
    first = min(first, said.count(11)) if 11 in said else first
    last = first + said.count(7)
    if not 4 <= first <= last <= end:
        raise ValueError("a column outside of its own bytes")
    chunk = _pages(content, first, last, name, n_rows)
    if chunk.n_values != said.count(5):
        raise ValueError("pages that hold other values than their column")
    return chunk


def _pages(content: bytes, start: int, end: int, name: str, n_rows: int) -> Chunk:
    """The pages that lie in `content[start:end]`, one behind the other and nothing else."""
    place, n_values, n_dictionary, n_bytes = start, 0, 0, 0
    for _ in range(n_rows // MIN_PAGE_ROWS + MORE_PAGES):
        if place >= end:
            break
        reader = Reader(content, place, end)
        header = reader.struct()
        kind = header.count(1)
        values = header.struct(_HEADERS.get(kind, 0)).count(1)
        if kind == _DICTIONARY:
            n_dictionary += values
        else:
            n_values += values
        n_bytes += header.count(2)
        place = reader.place + header.count(3)
    if place != end:
        raise ValueError("pages that do not end where their column ends, or too many")
    return Chunk(name=name, n_rows=n_rows, n_values=n_values, n_dictionary=n_dictionary, n_bytes=n_bytes)
