"""Run directories read without torch give what the store gives, and refuse what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from robustreid import InvalidFileError, UserError
from robustreid.benchmark.store import schema
from robustreid.benchmark.store.directory import RunDirectory
from robustreid.benchmark.store.runs import read_queries, read_run


def test_rows_are_those_of_the_store(sample_run: Path) -> None:
    """The same cells in the same order with the same values."""
    frame = RunDirectory(sample_run).load()
    found = read_run(sample_run)
    assert frame["cell_id"].tolist() == [cell.cell_id for cell in found.planned if cell.cell_id in found.rows]
    rows = [found.rows[cell_id] for cell_id in frame["cell_id"]]
    stored = pa.Table.from_pylist(rows, schema=schema.ROW_SCHEMA).to_pandas()
    assert stored.drop(columns=["flags"]).equals(frame.drop(columns=["flags"]))
    assert [list(flags) for flags in frame["flags"]] == [list(row["flags"]) for row in rows]


def test_no_torch(sample_run: Path, tmp_path: Path) -> None:
    """Neither the command nor a whole site imports torch."""
    script = (
        "import sys; from pathlib import Path; import robustreid.reports.commands; "
        "from robustreid.reports.site import build_site; build_site([Path(sys.argv[1])], Path('site')); "
        "print('torch' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(sample_run)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_folder_without_a_plan_is_no_run(tmp_path: Path) -> None:
    """It is said in one sentence that says what to give."""
    with pytest.raises(UserError, match=r"is no run directory; give a folder that `robustreid run` wrote\.$"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "plan",
    [
        "[",
        "{}",
        '{"cells": [1]}',
        '{"cells": [{"cell_id": "../../x", "model": "a", "dataset": "b", "label": "c"}]}',
        '{"cells": [{"cell_id": "a", "model": 1, "dataset": "b", "label": "c"}]}',
    ],
)
def test_a_plan_that_is_none_is_named(tmp_path: Path, plan: str) -> None:
    """Whatever is wrong with it; an id that leads out of the folder too."""
    (tmp_path / "plan.json").write_text(plan)
    with pytest.raises(InvalidFileError, match=r"plan\.json' does not read back"):
        read_run(tmp_path)


def spoilt(run: Path, change: str) -> None:
    """Spoil the first row of a run."""
    file = min((run / "cells").glob("*.parquet"))
    table = pq.read_table(file)
    meta = {b"robustreid": json.dumps({"schema_version": 2 if change == "newer" else 1}).encode()}
    if change == "other cell":
        table = table.set_column(0, "cell_id", pa.array(["x"]))
    if change == "status":
        table = table.set_column(table.schema.get_field_index("status"), "status", pa.array(["fine"]))
    if change == "columns":
        table = table.drop_columns(["epsilon"])
    pq.write_table(table.replace_schema_metadata(None if change == "foreign" else meta), file)
    if change == "broken":
        file.write_bytes(b"PAR1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("broken", "is no row of this tool"),
        ("foreign", "is no row of this tool"),
        ("newer", "newer than 1"),
        ("other cell", "holds the row of cell"),
        ("status", "lacks columns, or its status"),
        ("columns", "lacks columns, or its status"),
    ],
)
def test_a_row_that_is_none_is_named(make_run: Callable[..., Path], tmp_path: Path, change: str, said: str) -> None:
    """Each way in which a file of cells can be wrong has its sentence, and names the file."""
    run = make_run(tmp_path / "run", [{}])
    spoilt(run, change)
    with pytest.raises(InvalidFileError, match=said) as caught:
        read_run(run)
    assert ".parquet" in str(caught.value)


def test_queries(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Columns as asked for, None where there is no file, a sentence where it is broken."""
    query = {"query_id": "q", "identity": 1, "camera": 3, "ap_clean": 0.5, "ap_attacked": 0.25}
    run = make_run(tmp_path / "run", [{"queries": [query]}])
    file = next((run / "queries").iterdir())
    assert read_queries(run, file.stem, ("camera", "ap_clean")) == {"camera": [3], "ap_clean": [0.5]}
    assert read_queries(run, "none", ("camera",)) is None
    file.write_bytes(b"x")
    with pytest.raises(InvalidFileError, match="does not read back"):
        read_queries(run, file.stem, ("camera",))
