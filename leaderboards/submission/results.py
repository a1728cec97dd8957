"""The results of a submission: a plan, a row a cell and its queries, read back from whatever it lies in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ... import InvalidFileError
from ...attacks.threat import GOALS, NORMS, SIDES
from ...benchmark.store.runs import PlannedCell, planned_cell
from ..measurements import Measurement, Queries, make_queries, measurement_of
from .contents import Contents
from .findings import Fault, shown
from .limits import MAX_CHARACTERS, MAX_FILES, MAX_FINDINGS, MAX_FLAGS
from .paths import GRID, PLAN, RESULTS, part_of
from .strict_json import read_json
from .tables import QUERIES, ROWS, read_table

_PLAN, _ROW = "SUB401", "SUB404"
#: What these columns may be.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "status": ("done", "failed", "skipped"),
    "goal": GOALS,
    "side": SIDES,
    "norm": NORMS,
}
#: Columns without which a row says nothing.
_NEEDED = ("model", "model_sha256", "dataset", "attack", "attack_params", "epsilon", "seed")


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """What was read, and what kept the rest from it."""

    #: Every planned cell, in the plan's order; rows that could not be read are missing.
    measurements: tuple[Measurement, ...]
    #: By cell id: the queries of a row, where they were read.
    queries: Mapping[str, Queries]
    faults: tuple[Fault, ...]
    #: Files of cells that the plan does not list.
    stray: tuple[str, ...]

    def done(self) -> Iterator[Measurement]:
        """Those with scores."""
        return (each for each in self.measurements if each.status == "done")


def has_results(contents: Contents) -> bool:
    """Whether there is anything of a run in a submission."""
    return any(name.startswith(f"{RESULTS}/") for name in contents.names())


def read_results(contents: Contents) -> Results:
    """All of them. BundleError where bytes are not what their container says."""
    cells, faults = _cells(contents)
    planned = {cell.cell_id for cell in cells}
    rows: dict[str, Mapping[str, Any]] = {}
    queries: dict[str, Queries] = {}
    stray = []
    for name in contents.names():
        part, cell_id = part_of(name), name.rpartition("/")[2].removesuffix(".parquet")
        if part not in {"cell", "queries"}:
            continue
        if len(faults) > MAX_FINDINGS:
            break  # nobody needs to know of more
        if cell_id not in planned:
            stray.append(name)
        table, fault = read_table(contents.read(name), name, ROWS if part == "cell" else QUERIES)
        if fault is not None:
            faults.append(fault)
        elif table is not None and part == "cell":
            row, found = _row(table, name, cell_id)
            faults += found
            rows |= {} if row is None else {cell_id: row}
        elif table is not None:
            found = [*_query_faults(table, name, cell_id)]
            faults += found
            queries |= {} if found else _queries(table, name, cell_id, faults)
    source = contents.path / RESULTS
    return Results(
        measurements=tuple(measurement_of(source, cell, rows.get(cell.cell_id)) for cell in cells),
        queries=queries,
        faults=tuple(faults),
        stray=tuple(stray),
    )


def _cells(contents: Contents) -> tuple[list[PlannedCell], list[Fault]]:
    if PLAN not in contents.names():
        return [], [Fault(code=_PLAN, place=PLAN, problem="is missing")]
    try:
        cells = read_json(contents.read(PLAN))["cells"]
        if not isinstance(cells, list) or len(cells) > MAX_FILES:
            return [], [Fault(code=_PLAN, place=PLAN, problem="has no list of cells")]
        planned = [planned_cell(cell) for cell in cells]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        return [], [Fault(code=_PLAN, place=PLAN, problem=f"does not read back: {shown(error, 200)}")]
    if len({cell.cell_id for cell in planned}) < len(planned):
        return [], [Fault(code=_PLAN, place=PLAN, problem="lists a cell twice")]
    if any(not math.isfinite(cell.place.get("epsilon", 0.0)) for cell in planned):
        return [], [Fault(code=_PLAN, place=PLAN, problem="has an epsilon that is not finite")]
    return planned, []


def _row(table: pa.Table, name: str, cell_id: str) -> tuple[Mapping[str, Any] | None, list[Fault]]:
    """The row, and what is wrong with it."""
    if table.num_rows != 1:
        return None, [Fault(code=_ROW, place=name, problem=f"has {table.num_rows} rows, expected one")]
    row: dict[str, Any] = table.to_pylist()[0]
    problems = []
    if row["cell_id"] != cell_id:
        problems.append(f"holds the row of cell {shown(row['cell_id'], 60)!r}")
    problems += (
        f"has the {column} {shown(row[column], 60)!r}, expected one of {', '.join(words)}"
        for column, words in _WORDS.items()
        if row[column] not in words
    )
    problems += (f"has no {column}" for column in _NEEDED if row[column] is None)
    problems += _unreadable_parameters(row)
    problems += (
        f"has a number in {column} that is not finite"
        for column, value in row.items()
        if isinstance(value, float) and not math.isfinite(value)
    )
    flags = row["flags"] or []
    if len(flags) > MAX_FLAGS or any(flag is None or len(flag) > 100 for flag in flags):
        problems.append(f"has more than {MAX_FLAGS} flags, or longer ones than there are")
    faults = [Fault(code=_ROW, place=name, problem=problem) for problem in problems]
    return (None if faults else row), faults


def _unreadable_parameters(row: Mapping[str, Any]) -> Iterator[str]:
    try:
        found = read_json(str(row["attack_params"]).encode(errors="replace"), most=4 * MAX_CHARACTERS)
    except ValueError as error:
        yield f"has attack_params that {shown(error, 120)}"
        return
    if not isinstance(found, dict):
        yield "has attack_params that are no mapping"


def _query_faults(table: pa.Table, name: str, cell_id: str) -> Iterator[Fault]:
    if table.num_rows and set(table["cell_id"].unique().to_pylist()) != {cell_id}:
        yield Fault(code=_ROW, place=name, problem="holds queries of another cell")
    twice = table.group_by(["trial", "query_id"]).aggregate([]).num_rows < table.num_rows
    if twice:
        yield Fault(code=_ROW, place=name, problem="holds a query twice")


def _queries(table: pa.Table, name: str, cell_id: str, faults: list[Fault]) -> dict[str, Queries]:
    columns = {column: table[column].to_pylist() for column in table.column_names if column != "cell_id"}
    if any(value is None for value in columns["query_id"]):
        faults.append(Fault(code=_ROW, place=name, problem="holds a query without an id"))
        return {}
    try:
        return {cell_id: make_queries(columns, Path(name))}
    except InvalidFileError:
        faults.append(Fault(code=_ROW, place=name, problem="holds values that are missing, no numbers or not finite"))
        return {}


def texts_of(results: Results, grid: str) -> Iterator[tuple[str, str]]:
    """Every text of the results with its place: the plan's, the rows', the queries' and the grid's, line by line."""
    for each in results.measurements:
        yield f"{PLAN}: {each.cell_id}", each.label
        yield f"{PLAN}: {each.cell_id}", each.model
        yield f"{PLAN}: {each.cell_id}", each.dataset
        place = f"{PLAN if each.status == 'missing' else f'{RESULTS}/cells/{each.cell_id}.parquet'}"
        for column, value in each.row.items():
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str):
                    yield f"{place}: {column}", text
    for cell_id, queries in results.queries.items():
        for text in queries.ids:
            yield f"{RESULTS}/queries/{cell_id}.parquet: query_id", text
    for number, line in enumerate(grid.split("\n"), 1):
        yield f"{GRID}:{number}", line.removesuffix("\r").replace("\t", " ")
