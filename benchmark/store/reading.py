"""Reading a run's files and checking them on the way; imports no torch, so that pages can be made without it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ... import InvalidFileError, UserError

#: Raised when columns change; a file of a newer schema is refused, never misread.
SCHEMA_VERSION = 1


def read_plan(run: Path) -> list[Mapping[str, Any]]:
    """The cells of a run's current grid, in its order, as `RunDirectory.note_plan` wrote them.

    Raises:
        UserError: this is no run directory.
        InvalidFileError: its plan does not read back.
    """
    file = run / "plan.json"
    try:
        cells: list[Mapping[str, Any]] = json.loads(file.read_bytes())["cells"]
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{str(run)!r} is no run directory; give a folder that `robustreid run` wrote.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidFileError(
            f"{str(file)!r} does not read back ({error}); run the grid again to write it anew."
        ) from error
    return cells


def read_row(file: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The row of a cell as a table of one; all its columns, or some.

    Raises:
        InvalidFileError: it is no row, that of another cell, or of a newer schema.
    """
    try:
        parquet = pq.ParquetFile(file)
        noted = json.loads((parquet.schema_arrow.metadata or {})[b"robustreid"])
        table = parquet.read(columns=None if columns is None else list(columns), use_threads=False)
        version = int(noted["schema_version"])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InvalidFileError(
            f"{str(file)!r} is no row of this tool ({type(error).__name__}); remove it and run the grid again."
        ) from error
    if version > SCHEMA_VERSION:
        raise InvalidFileError(
            f"{str(file)!r} has schema {version}, newer than {SCHEMA_VERSION}, which this version understands; "
            f"update robustreid."
        )
    cell_id = table["cell_id"][0].as_py() if table.num_rows == 1 and "cell_id" in table.column_names else None
    if cell_id != file.stem:
        raise InvalidFileError(f"{str(file)!r} holds the row of cell {cell_id!r}; remove it and run the grid again.")
    return table.replace_schema_metadata(None)
