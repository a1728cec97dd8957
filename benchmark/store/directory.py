"""A run directory: one file a cell, written whole, by one process at a time; readers need no lock.

grid.yml  plan.json  cells/<id>.parquet  queries/<id>.parquet  features/  checks/  work/  tmp/  images/<id>/
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ... import UserError
from ..records import Cell, Row
from .files import file_system_errors, write_bytes
from .reading import SCHEMA_VERSION, read_plan, read_row
from .schema import ROW_SCHEMA, row_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RunDirectory:
    """Paths and files of one run."""

    path: Path

    def __post_init__(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{str(self.path)!r} is a file; give a folder for the run.")

    @property
    def cells(self) -> Path:
        """One row a file."""
        return self.path / "cells"

    @property
    def queries(self) -> Path:
        """One row a query, a file a cell."""
        return self.path / "queries"

    @property
    def features(self) -> Path:
        """Clean features: a cache."""
        return self.path / "features"

    @property
    def checks(self) -> Path:
        """What checks found of models: a cache."""
        return self.path / "checks"

    @property
    def work(self) -> Path:
        """What unfinished groups have found so far."""
        return self.path / "work"

    @property
    def temporary(self) -> Path:
        """Files being written; swept at start."""
        return self.path / "tmp"

    def images(self, cell_id: str) -> Path:
        """Attacked images that were asked for."""
        return self.path / "images" / cell_id

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run for this process, with leftovers of killed ones swept.

        Raises:
            UserError: another process writes it; it is named.
            StorageError: the folder cannot be made or written.
        """
        from filelock import FileLock, Timeout

        with file_system_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
        with file_system_errors(self.path):
            try:
                # Not at once: a reader that asks whether the run is being written holds the lock for a moment.
                lock.acquire(timeout=0.5, poll_interval=0.05)
            except Timeout:  # which is an OSError, so it has to be caught first
                owner = self._owner()
                raise UserError(f"The run {str(self.path)!r} is being written by {owner}; wait for it.") from None
        try:
            owned = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat()[:19]}
            with file_system_errors(self.path):
                shutil.rmtree(self.temporary, ignore_errors=True)
            self.write(self.path / ".lock.json", json.dumps(owned).encode())
            with file_system_errors(self.path):
                for folder in (self.cells, self.queries, self.temporary):
                    folder.mkdir(exist_ok=True)
            yield
        finally:
            (self.path / ".lock.json").unlink(missing_ok=True)
            lock.release()

    def _owner(self) -> str:
        try:
            owner = json.loads((self.path / ".lock.json").read_bytes())
            return f"process {owner['pid']} on {owner['host']} since {owner['since']} UTC"
        except (OSError, ValueError, KeyError):
            return "another process"

    @property
    def is_being_written(self) -> bool:
        """Whether a process holds the run now."""
        from filelock import FileLock, Timeout

        if not (self.path / ".lock").exists():
            return False
        lock = FileLock(self.path / ".lock")
        try:
            with lock.acquire(timeout=0):
                return False
        except Timeout:
            return True
        except OSError:
            # A folder that this reader may not write: what the last writer left behind is all there is to see.
            return (self.path / ".lock.json").exists()

    def write(self, path: Path, content: bytes) -> None:
        """Put a file of this run in place, whole or not at all."""
        write_bytes(path, content, temporary=self.temporary)

    def write_table(self, path: Path, table: pa.Table) -> None:
        """The same for a table, as parquet with the schema's version beside it."""
        meta = {**(table.schema.metadata or {}), b"robustreid": json.dumps({"schema_version": SCHEMA_VERSION}).encode()}
        buffer = io.BytesIO()
        pq.write_table(table.replace_schema_metadata(meta), buffer)
        self.write(path, buffer.getvalue())

    def note_plan(self, text: str, cells: Sequence[Cell]) -> None:
        """Keep the grid as it was asked for, and which cells it means, in its order and with its labels."""
        self.write(self.path / "grid.yml", text.encode())
        listed = [
            {
                "cell_id": cell.cell_id,
                "model": cell.model.label,
                "dataset": cell.dataset.label,
                "label": cell.label,
                "attack": cell.attack.label,
                "norm": cell.threat.norm,
                "epsilon": float(cell.threat.epsilon),
                "epsilon_label": cell.threat.label,
                "side": cell.side,
                "goal": cell.goal,
                "seed": cell.seed,
            }
            for cell in cells
        ]
        self.write(self.path / "plan.json", json.dumps({"schema_version": SCHEMA_VERSION, "cells": listed}).encode())

    def planned(self) -> list[Mapping[str, Any]]:
        """The cells of the current grid: `cell_id`, `model`, `dataset`, `label`, and what `note_plan` says besides.

        Raises:
            UserError: this is no run directory.
            InvalidFileError: its plan does not read back.
        """
        return read_plan(self.path)

    def stands(self) -> dict[str, str]:
        """Status by cell id, of every cell that has a row."""
        found = {}
        for file in sorted(self.cells.glob("*.parquet")) if self.cells.is_dir() else ():
            table = read_row(file, ["cell_id", "status"])
            found[str(table["cell_id"][0])] = str(table["status"][0])
        return found

    def commit(self, row: Row, queries: pa.Table | None = None) -> None:
        """Write the queries, then the row: the row is what makes a cell stand.

        A cell that fails where it was done before leaves nothing of that behind.
        """
        cell_id = row.cell.cell_id
        if queries is not None:
            self.write_table(self.queries / f"{cell_id}.parquet", queries)
        self.write_table(self.cells / f"{cell_id}.parquet", row_table(row))
        if queries is None:
            with file_system_errors(self.path):
                (self.queries / f"{cell_id}.parquet").unlink(missing_ok=True)
            shutil.rmtree(self.images(cell_id), ignore_errors=True)

    def load(self, *, every: bool = False) -> pd.DataFrame:
        """Rows of the current grid, in its order and under its labels; with `every`, all other rows after them."""
        planned = {cell["cell_id"]: cell for cell in self.planned()}
        ids = [cell_id for cell_id in planned if (self.cells / f"{cell_id}.parquet").exists()]
        if every:
            ids += sorted(file.stem for file in self.cells.glob("*.parquet") if file.stem not in planned)
        tables = [read_row(self.cells / f"{cell_id}.parquet") for cell_id in ids]
        frame: pd.DataFrame = pa.concat_tables(tables).to_pandas() if tables else ROW_SCHEMA.empty_table().to_pandas()
        for column in ("model", "dataset"):
            labels = {cell_id: cell[column] for cell_id, cell in planned.items()}
            frame[column] = frame["cell_id"].map(labels).fillna(frame[column])
        return frame
