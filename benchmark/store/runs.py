"""Run directories for whoever computes from rows: the rows of the current grid, and planned cells that have none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ... import InvalidFileError
from .reading import read_plan, read_row

_STATUSES = {"done", "failed", "skipped"}
_CELL_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_TEXTS = ("cell_id", "model", "dataset", "label")
_PLACE = ("attack", "norm", "epsilon_label", "side", "goal")
_COLUMNS = ("model", "dataset", "attack", "norm", "epsilon", "epsilon_label", "side", "goal", "seed", "reason")


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell of the current grid."""

    cell_id: str
    model: str
    dataset: str
    label: str
    #: The other fields of the plan; empty in one that was written before they were noted.
    place: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """What a run directory holds."""

    path: Path
    grid: str
    planned: tuple[PlannedCell, ...]
    #: By cell id: the rows of planned cells, under the names of their columns.
    rows: Mapping[str, Mapping[str, Any]]


def read_run(path: Path) -> RunFiles:
    """The plan and the rows of one run.

    Raises:
        UserError: this is no run directory.
        InvalidFileError: a file in it does not read back.
    """
    planned = _planned(path)
    rows = {}
    for cell in planned:
        file = path / "cells" / f"{cell.cell_id}.parquet"
        if file.is_file():
            rows[cell.cell_id] = _row(file)
    try:
        grid = (path / "grid.yml").read_text(encoding="utf-8")
    except (OSError, ValueError):
        grid = ""
    return RunFiles(path=path, grid=grid, planned=planned, rows=rows)


def _planned(path: Path) -> tuple[PlannedCell, ...]:
    try:
        return tuple(planned_cell(entry) for entry in read_plan(path))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidFileError(
            f"{str(path / 'plan.json')!r} does not read back ({error}); run the grid again to write it anew."
        ) from error


def planned_cell(entry: Mapping[str, Any]) -> PlannedCell:
    """An entry of a plan's `cells`; ValueError, KeyError or TypeError where it is none."""
    if not all(isinstance(entry[name], str) for name in _TEXTS) or not _CELL_ID.fullmatch(entry["cell_id"]):
        raise ValueError("expected a cell_id, a model, a dataset and a label, all texts")
    place = {}
    if all(isinstance(entry.get(name), str) for name in _PLACE):
        place = {name: entry[name] for name in _PLACE}
        place |= {"epsilon": float(entry["epsilon"]), "seed": int(entry["seed"])}
    return PlannedCell(**{name: entry[name] for name in _TEXTS}, place=place)


def _row(file: Path) -> Mapping[str, Any]:
    row: Mapping[str, Any] = read_row(file).to_pylist()[0]
    if row.get("status") not in _STATUSES or not all(name in row for name in _COLUMNS):
        raise InvalidFileError(
            f"{str(file)!r} lacks columns, or its status is none of {', '.join(sorted(_STATUSES))}; "
            f"remove it and run the grid again."
        )
    return row


def read_queries(path: Path, cell_id: str, columns: Sequence[str]) -> Mapping[str, list[Any]] | None:
    """Columns of a cell's per-query table, or None where there is none.

    Raises:
        InvalidFileError: the file does not read back.
    """
    file = path / "queries" / f"{cell_id}.parquet"
    if not file.is_file():
        return None
    try:
        found: Mapping[str, list[Any]] = pq.ParquetFile(file).read(columns=list(columns), use_threads=False).to_pydict()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InvalidFileError(
            f"{str(file)!r} does not read back ({type(error).__name__}); remove it and run the grid again."
        ) from error
    if set(found) != set(columns):
        raise InvalidFileError(f"{str(file)!r} lacks one of the columns {', '.join(columns)}; run the grid again.")
    return found
