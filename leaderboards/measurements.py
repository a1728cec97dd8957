"""Cells as this floor sees them: a stored row, and the scores of each query behind it. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import InvalidFileError
from ..benchmark.store.runs import PlannedCell, read_queries, read_run

#: `missing`: planned, and no row yet.
Status = Literal["done", "failed", "skipped", "missing"]
State = Literal["clean", "attacked"]

#: Scores that are means over queries, and the stored column of each query that they are the mean of.
QUERY_COLUMNS: Mapping[str, str] = {
    "mAP": "ap",
    "mAP_trapezoid": "ap_trapezoid",
    "mINP": "inp",
    "rank1": "first_rank",
}
#: How far the mean over queries may lie from the score in the row, a fraction: another order of summation.
ROUNDING = 1e-9

_LABELS = ("query_id", "identity", "camera", "trial")
_COLUMNS = (*_LABELS, *(f"{c}_{state}" for c in QUERY_COLUMNS.values() for state in ("clean", "attacked")))


@dataclass(frozen=True, kw_only=True, eq=False)
class Queries:
    """The valid queries of a cell, in the data set's order."""

    #: (Q,): path relative to the data set's root.
    ids: tuple[str, ...]
    #: (Q,) int64.
    identities: NDArray[np.int64]
    cameras: NDArray[np.int64]
    trials: NDArray[np.int64]
    #: By stored column (`ap_clean`): (Q,) float64.
    columns: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.ids)

    def values(self, metric: str, state: State) -> NDArray[np.float64]:
        """(Q,) float64, of which `metric` (a key of `QUERY_COLUMNS`) is the mean; larger is better.

        A hit at rank 1 is read from the first rank. Where features tie, that is not its expectation: `Measurement`
        holds it against the row.
        """
        found = self.columns[f"{QUERY_COLUMNS[metric]}_{state}"]
        return (found <= 1).astype(np.float64) if metric == "rank1" else found


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """One planned cell and what became of it."""

    cell_id: str
    #: How people tell cells apart, and what expressions look into; empty where the plan does not list the cell.
    label: str
    model: str
    dataset: str
    status: Status
    #: Why there is no score; empty where it is done.
    reason: str
    #: The run directory or file that it was read from.
    source: Path
    #: The stored row under the names of its columns (docs/store.md); of a missing cell what its plan says of it.
    row: Mapping[str, Any] = field(repr=False)
    #: Given where the queries are in memory already.
    loaded: Queries | None = field(default=None, repr=False)

    def score(self, column: str) -> float | None:
        """A stored score, a fraction in [0, 1]; None where the cell is not done or the column is null."""
        value = self.row.get(column) if self.status == "done" else None
        return None if value is None or not math.isfinite(value) else float(value)

    @cached_property
    def queries(self) -> Queries | None:
        """Its queries; None where it is not done or they are not stored.

        Raises:
            InvalidFileError: the file does not read back.
        """
        if self.loaded is not None or self.status != "done":
            return self.loaded
        found = read_queries(self.source, self.cell_id, _COLUMNS)
        return None if found is None else make_queries(found, self.source / "queries" / f"{self.cell_id}.parquet")

    def values(self, metric: str, state: State) -> NDArray[np.float64] | None:
        """(Q,) float64 whose mean is the stored score; None where no queries are stored or their mean is another."""
        stored, queries = self.score(f"{metric}_{state}"), self.queries
        if stored is None or queries is None or not len(queries):
            return None
        found = queries.values(metric, state)
        return found if abs(float(found.mean()) - stored) <= ROUNDING else None


def make_queries(found: Mapping[str, Sequence[Any]], file: Path) -> Queries:
    """Columns of a stored table as `Queries`.

    Raises:
        InvalidFileError: a value is missing, not a number, or not finite.
    """
    try:
        numbers = {name: np.asarray(found[name], dtype=np.float64) for name in _COLUMNS if name not in _LABELS}
        labels = {name: np.asarray(found[name], dtype=np.int64) for name in _LABELS if name != "query_id"}
    except (TypeError, ValueError, OverflowError):
        raise InvalidFileError(f"{str(file)!r} holds values that are no numbers; run the grid again.") from None
    if not all(np.isfinite(values).all() for values in numbers.values()):
        raise InvalidFileError(f"{str(file)!r} holds NaN or infinite scores; run the grid again.")
    return Queries(
        ids=tuple(str(name) for name in found["query_id"]),
        identities=labels["identity"],
        cameras=labels["camera"],
        trials=labels["trial"],
        columns=numbers,
    )


def read_measurements(run: Path) -> tuple[Measurement, ...]:
    """Every cell of a run directory's current grid, in its order.

    Raises:
        UserError: this is no run directory.
        InvalidFileError: a file in it does not read back.
    """
    files = read_run(run)
    return tuple(measurement_of(run, cell, files.rows.get(cell.cell_id)) for cell in files.planned)


def measurement_of(run: Path, cell: PlannedCell, row: Mapping[str, Any] | None) -> Measurement:
    """A planned cell and its stored row, None where it has none."""
    return Measurement(
        cell_id=cell.cell_id,
        label=cell.label,
        model=cell.model,
        dataset=cell.dataset,
        status="missing" if row is None else row["status"],
        reason="" if row is None else str(row["reason"] or ""),
        source=run,
        row={**cell.place, "model": cell.model, "dataset": cell.dataset} if row is None else row,
    )
