"""Parquet files of a stranger: their list of columns and their pages are looked at before a value is unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...benchmark.store.columns import QUERY_SCHEMA, ROW_SCHEMA
from ...benchmark.store.reading import SCHEMA_VERSION
from .findings import Fault, shown
from .limits import MAX_CHARACTERS, MAX_FLAGS, MAX_FOOTER, MAX_ID, MAX_QUERIES, MAX_UNPACKED
from .pages import read_pages
from .strict_json import read_json

_BAD, _COLUMNS, _VERSION = "SUB402", "SUB403", "SUB409"
_MAGIC = b"PAR1"
#: What `robustreid run` writes; others can unpack to anything.
_CODECS = frozenset({"SNAPPY", "UNCOMPRESSED"})
_MAX_GROUPS = 16


@dataclass(frozen=True, kw_only=True)
class TableKind:
    """What a table of results has to be."""

    schema: pa.Schema
    most_rows: int
    #: Values of a column for each row: more than one where it holds lists.
    most_values: int
    #: Characters of a text.
    longest: int


ROWS = TableKind(schema=ROW_SCHEMA, most_rows=1, most_values=MAX_FLAGS, longest=MAX_CHARACTERS)
QUERIES = TableKind(schema=QUERY_SCHEMA, most_rows=MAX_QUERIES, most_values=1, longest=MAX_ID)


class TableError(Exception):
    """A table that is not read."""

    def __init__(self, problem: str, code: str = _BAD) -> None:
        super().__init__(problem)
        self.code = code


def read_table(content: bytes, name: str, kind: TableKind) -> tuple[pa.Table | None, Fault | None]:
    """The table, its texts as dictionaries; or what keeps it from being read."""
    try:
        return _table(content, kind), None
    except TableError as error:
        return None, Fault(code=error.code, place=name, problem=str(error))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError, pa.ArrowException) as error:
        return None, Fault(code=_BAD, place=name, problem=f"does not read back ({type(error).__name__})")


def _table(content: bytes, kind: TableKind) -> pa.Table:
    footer = int.from_bytes(content[-8:-4], "little")
    if len(content) < 12 or content[:4] != _MAGIC or content[-4:] != _MAGIC:
        raise TableError("is no parquet file, or is cut off")
    if footer > min(MAX_FOOTER, len(content) - 12):
        raise TableError(f"says that its list of columns has {footer:,} bytes")
    limits = {"thrift_string_size_limit": MAX_FOOTER, "thrift_container_size_limit": 10_000}
    file = pq.ParquetFile(pa.BufferReader(content), **limits)
    _check_columns(file.schema_arrow, kind.schema)
    _check_version(file.schema_arrow.metadata or {})
    _check_groups(file.metadata, content, len(content) - 8 - footer, kind)
    texts = [field.name for field in kind.schema if field.type == pa.string()]
    table = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts, **limits).read(use_threads=False)
    if table.num_rows != file.metadata.num_rows:
        raise TableError("has another number of rows than it says")
    table.validate(full=True)
    _check_texts(table, texts, kind)
    return table


def _check_columns(found: pa.Schema, wanted: pa.Schema) -> None:
    have = {field.name: field.type for field in found}
    missing = [name for name in wanted.names if name not in have]
    more = [name for name in have if name not in wanted.names]
    other = [name for name in wanted.names if name in have and have[name] != wanted.field(name).type]
    parts = [
        f"{what} {', '.join(shown(name, 40) for name in names[:5])}"
        for what, names in (("lacks", missing), ("has besides", more), ("has in another type", other))
        if names
    ]
    if parts or len(found.names) != len(wanted.names):
        raise TableError(f"{'; '.join(parts) or 'has a column twice'}", _COLUMNS)


def _check_version(metadata: Mapping[bytes, bytes]) -> None:
    try:
        noted = read_json(metadata[b"robustreid"])
        version = noted["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise TableError("does not say which version of the columns it has", _COLUMNS) from None
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise TableError(
            f"has version {shown(version, 20)} of the columns, this tool knows 1 to {SCHEMA_VERSION}", _VERSION
        )


def _check_groups(metadata: Any, content: bytes, end: int, kind: TableKind) -> None:
    if not 0 <= metadata.num_rows <= kind.most_rows or metadata.num_row_groups > _MAX_GROUPS:
        raise TableError(
            f"has {metadata.num_rows:,} rows in {metadata.num_row_groups} groups, at most {kind.most_rows:,}"
        )
    unpacked = 0
    for group in (metadata.row_group(number) for number in range(metadata.num_row_groups)):
        if not 0 <= group.num_rows <= kind.most_rows:
            raise TableError("has a group of rows that is longer than the table")
        for column in (group.column(number) for number in range(group.num_columns)):
            unpacked += _unpacked(column, content, end, group.num_rows, kind)
    if unpacked > MAX_UNPACKED:
        raise TableError(f"unpacks to {unpacked:,} bytes, at most {MAX_UNPACKED:,} are read")


def _unpacked(column: Any, content: bytes, end: int, n_rows: int, kind: TableKind) -> int:
    """Bytes of a column when unpacked, by the headers of its pages."""
    place = shown(column.path_in_schema, 60)
    if column.compression not in _CODECS:
        raise TableError(f"packs {place} by {column.compression}, expected {' or '.join(sorted(_CODECS))}")
    start = column.data_page_offset
    if column.dictionary_page_offset is not None:
        start = min(start, column.dictionary_page_offset)
    stop = start + column.total_compressed_size
    if not 4 <= start <= stop <= end:
        raise TableError(f"has the column {place} outside of its own bytes")
    try:
        pages = read_pages(content, start, stop)
    except ValueError as error:
        raise TableError(f"{error} ({place})") from None
    is_list = "." in column.path_in_schema
    most = n_rows * kind.most_values if is_list else n_rows
    if pages.n_values != column.num_values or pages.n_values > max(most, n_rows):
        raise TableError(f"has {pages.n_values:,} values in {place} for {n_rows:,} rows")
    if pages.n_dictionary > max(most, 1):
        raise TableError(f"has a dictionary of {pages.n_dictionary:,} values in {place} for {n_rows:,} rows")
    return pages.n_bytes


def _check_texts(table: pa.Table, texts: list[str], kind: TableKind) -> None:
    for name in texts:
        for chunk in table[name].chunks:
            longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
            if longest > 4 * kind.longest:  # bytes of a character in UTF-8
                raise TableError(f"has a text of {longest:,} bytes in {name}")
