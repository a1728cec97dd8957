"""Parquet files of a stranger: their list of columns and their pages are looked at before a value is unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...benchmark.store.columns import QUERY_SCHEMA, ROW_SCHEMA
from ...benchmark.store.reading import SCHEMA_VERSION
from .findings import Fault, shown
from .limits import MAX_CHARACTERS, MAX_FLAGS, MAX_FOOTER, MAX_ID, MAX_QUERIES, MAX_UNPACKED
from .pages import read_footer
from .strict_json import read_json

_BAD, _COLUMNS, _VERSION = "SUB402", "SUB403", "SUB409"
_MAGIC = b"PAR1"


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
    _check_sizes(content, len(content) - 8 - footer, kind)
    limits = {"thrift_string_size_limit": MAX_FOOTER, "thrift_container_size_limit": MAX_FOOTER}
    schema = pq.ParquetFile(pa.BufferReader(content), **limits).schema_arrow
    _check_columns(schema, kind.schema)
    _check_version(schema.metadata or {})
    texts = [field.name for field in kind.schema if field.type == pa.string()]
    table = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts, **limits).read(use_threads=False)
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


def _check_sizes(content: bytes, end: int, kind: TableKind) -> None:
    try:
        found = read_footer(content, end, len(content) - 8)
    except ValueError as error:
        raise TableError(f"has {error}") from None
    if found.n_rows > kind.most_rows:
        raise TableError(f"has {found.n_rows:,} rows, at most {kind.most_rows:,} are read")
    unpacked = sum(chunk.n_bytes for chunk in found.chunks)
    if unpacked > MAX_UNPACKED:
        raise TableError(f"unpacks to {unpacked:,} bytes, at most {MAX_UNPACKED:,} are read")
    for chunk in found.chunks:
        most = max(chunk.n_rows * (kind.most_values if "." in chunk.name else 1), 1)
        if max(chunk.n_values, chunk.n_dictionary) > most:
            many = (
                f"has {chunk.n_values:,} values and a dictionary of {chunk.n_dictionary:,} in {shown(chunk.name, 60)}"
            )
            raise TableError(f"{many} for {chunk.n_rows:,} rows")


def _check_texts(table: pa.Table, texts: list[str], kind: TableKind) -> None:
    for name in texts:
        for chunk in table[name].chunks:
            longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
            if longest > 4 * kind.longest:  # bytes of a character in UTF-8
                raise TableError(f"has a text of {longest:,} bytes in {name}")
