"""A baseline as one parquet file: a row a cell, the columns of a run's rows, and its queries as lists. No torch.

The file may come from anywhere. What it claims of its size is checked before anything is read, texts are read by
reference (a short text that a file repeats a million times stays one text), pages carry checksums, and every value
that a gate relies on is checked. A file of a newer schema is refused, never misread.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ... import InvalidFileError
from ...benchmark.store.columns import QUERY_METRICS, ROW_SCHEMA
from ...benchmark.store.reading import SCHEMA_VERSION
from ..measurements import Measurement, Queries, make_queries
from .scores import SCORES

#: Raised when the file's own layout changes.
BASELINE_VERSION = 1
#: What a file may claim: bytes on disk and unpacked, cells, queries over all cells, characters of a text.
MAX_BYTES = 64 * 2**20
MAX_UNPACKED = 512 * 2**20
MAX_CELLS = 10_000
MAX_QUERIES = 2_000_000
MAX_TEXT = 2**16

_LABELS = ("identity", "camera", "trial")
_SCORES = tuple(f"{metric}_{state}" for metric in QUERY_METRICS for state in ("clean", "attacked"))
_LISTS = [
    ("query_id", pa.list_(pa.string())),
    *((name, pa.list_(pa.int64())) for name in _LABELS),
    *((name, pa.list_(pa.float64())) for name in _SCORES),
]
BASELINE_SCHEMA = pa.schema([("label", pa.string()), *ROW_SCHEMA, *_LISTS])

#: What a file that is no baseline makes pyarrow and json raise.
_UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
    pa.ArrowException,
)
_NEEDED = (
    "cell_id",
    "model",
    "dataset",
    "dataset_sha256",
    "protocol",
    "attack",
    "norm",
    "epsilon_label",
    "side",
    "goal",
)
_FRACTION = re.compile(r"(target_)?(mAP|mINP|rank\d+|mAP_trapezoid)(_clean|_attacked)?")
_CELL_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


def encode(measurements: Sequence[Measurement]) -> bytes:
    """Cells that are done, with their queries, as a file; the same cells give the same bytes.

    Raises:
        InvalidFileError: a cell has no scores of single queries, or others than its row is the mean of.
    """
    rows = []
    for cell in measurements:
        queries = _checked_queries(cell)
        row = {**cell.row, "model": cell.model, "dataset": cell.dataset, "label": cell.label}
        row |= {"query_id": list(queries.ids), "identity": queries.identities, "camera": queries.cameras}
        row |= {"trial": queries.trials, **{name: queries.columns[name] for name in _SCORES}}
        rows.append({name: row.get(name) for name in BASELINE_SCHEMA.names})
    meta = {"schema_version": SCHEMA_VERSION, "baseline_version": BASELINE_VERSION}
    table = pa.Table.from_pylist(rows, schema=BASELINE_SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({b"robustreid": json.dumps(meta).encode()}),
        buffer,
        compression="zstd",
        compression_level=19,
        use_dictionary=["query_id", "flags"],
        write_page_checksum=True,
    )
    return buffer.getvalue()


def _checked_queries(cell: Measurement) -> Queries:
    """Its queries, once they are what its scores are the mean of."""
    names = ("target_mAP",) if cell.row.get("goal") == "targeted" else ("mAP_clean", "mAP_attacked")
    queries = cell.queries
    if cell.status != "done" or queries is None or any(SCORES[name].values(cell) is None for name in names):
        raise InvalidFileError(
            f"{str(cell.source)!r} has no scores of single queries for cell {cell.label!r}, or others than its row is "
            f"the mean of; run the grid again."
        )
    return queries


def decode(content: bytes, source: Path) -> tuple[Measurement, ...]:
    """The cells of a file, in its order.

    Raises:
        InvalidFileError: it is no baseline, too large for one, of a newer schema, or holds what cannot be.
    """
    try:
        columns = _columns(content, source)
        lengths = {name: [len(part or ()) for part in columns[name]] for name, _ in _LISTS}
        rows = [{name: values[place] for name, values in columns.items()} for place in range(len(columns["cell_id"]))]
    except _UNREADABLE as error:
        raise InvalidFileError(
            f"{str(source)!r} is no baseline of this tool ({type(error).__name__}); "
            f"write it anew with `robustreid baseline save`."
        ) from error
    if any(len(set(found)) > 1 for found in zip(*lengths.values(), strict=True)):
        raise _invalid(source, "columns of queries of different lengths")
    made = tuple(_measurement(row, source) for row in rows)
    for cell in made:
        _checked_queries(cell)
    if len({cell.cell_id for cell in made}) < len(made):
        raise _invalid(source, "two rows for one cell")
    return made


def _invalid(source: Path, what: str) -> InvalidFileError:
    return InvalidFileError(f"{str(source)!r} holds {what}; write it anew with `robustreid baseline save`.")


def _columns(content: bytes, source: Path) -> dict[str, list[Any]]:
    """Every column as plain values, a list a column; what repeats a text shares it."""
    if len(content) > MAX_BYTES:
        raise _invalid(source, f"more than {MAX_BYTES >> 20} MiB")
    file = pq.ParquetFile(pa.BufferReader(content))
    _check_claims(file, source)
    texts = [path for path in _paths(file) if path.split(".")[0] in _TEXT_COLUMNS]
    table = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts, page_checksum_verification=True).read(
        columns=BASELINE_SCHEMA.names, use_threads=False
    )
    table.validate(full=True)
    return {name: list(_plain(table[name], source)) for name in BASELINE_SCHEMA.names}


_TEXT_COLUMNS = {field.name for field in BASELINE_SCHEMA if field.type in (pa.string(), pa.list_(pa.string()))}


def _paths(file: pq.ParquetFile) -> list[str]:
    return [file.metadata.schema.column(place).path for place in range(file.metadata.num_columns)]


def _check_claims(file: pq.ParquetFile, source: Path) -> None:
    """Refuse what the file says of itself, before its pages are touched."""
    meta = json.loads((file.schema_arrow.metadata or {})[b"robustreid"])
    for name, known in (("schema_version", SCHEMA_VERSION), ("baseline_version", BASELINE_VERSION)):
        if int(meta[name]) > known:
            raise InvalidFileError(
                f"{str(source)!r} has {name.replace('_', ' ')} {int(meta[name])}, newer than {known}, which this "
                f"version understands; update robustreid."
            )
    found = {field.name: field.type for field in file.schema_arrow}
    wrong = [field.name for field in BASELINE_SCHEMA if found.get(field.name) != field.type]
    if wrong or len(found) != len(file.schema_arrow.names):
        raise _invalid(
            source,
            f"no column {wrong[0]!r} of type {BASELINE_SCHEMA.field(wrong[0]).type}" if wrong else "a column twice",
        )
    metadata = file.metadata
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
    unpacked = sum(max(chunk.total_uncompressed_size, chunk.total_compressed_size) for chunk in chunks)
    values: dict[str, int] = {}
    for chunk in chunks:
        values[chunk.path_in_schema] = values.get(chunk.path_in_schema, 0) + chunk.num_values
    if metadata.num_rows > MAX_CELLS or max(values.values(), default=0) > MAX_QUERIES or unpacked > MAX_UNPACKED:
        raise _invalid(source, f"more than {MAX_CELLS:,} cells, {MAX_QUERIES:,} queries or {MAX_UNPACKED >> 20} MiB")


def _plain(column: pa.ChunkedArray, source: Path) -> Iterator[Any]:
    for chunk in column.chunks:
        if pa.types.is_dictionary(chunk.type):
            yield from _texts(chunk, source)
        elif pa.types.is_list(chunk.type) and pa.types.is_dictionary(chunk.type.value_type):
            flat, start = _texts(chunk.flatten(), source), 0
            for length in chunk.value_lengths().to_pylist():
                yield None if length is None else flat[start : start + length]
                start += length or 0
        else:
            yield from chunk.to_pylist()


def _texts(array: pa.DictionaryArray, source: Path) -> list[str | None]:
    texts = array.dictionary.to_pylist()
    if any(len(text) > MAX_TEXT for text in texts if text is not None):
        raise _invalid(source, f"a text of more than {MAX_TEXT:,} characters")
    return [None if place is None else texts[place] for place in array.indices.to_pylist()]


def _measurement(values: Mapping[str, Any], source: Path) -> Measurement:
    row = {name: values[name] for name in ROW_SCHEMA.names}
    if any(not isinstance(row[name], str) for name in _NEEDED) or not _CELL_ID.fullmatch(row["cell_id"]):
        raise _invalid(source, f"a row that lacks one of {', '.join(_NEEDED)}")
    if row["status"] != "done":
        raise _invalid(source, f"a cell with status {row['status']!r}, expected done")
    if row["epsilon"] is None or not (math.isfinite(row["epsilon"]) and row["epsilon"] >= 0):
        raise _invalid(source, f"the epsilon {row['epsilon']!r}")
    for name, value in row.items():
        if _FRACTION.fullmatch(name) and value is not None and not 0 <= value <= 1 + 1e-9:
            raise _invalid(source, f"{value!r} for a {name}, expected a fraction")
    if not values["query_id"] or None in values["query_id"]:
        raise _invalid(source, "a cell without queries")
    return Measurement(
        cell_id=row["cell_id"],
        label=values["label"] or "",
        model=row["model"],
        dataset=row["dataset"],
        status="done",
        reason="",
        source=source,
        row=row,
        loaded=make_queries(values, source),
    )
