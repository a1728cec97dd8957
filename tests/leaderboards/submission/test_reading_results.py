"""Results as rules read them, from a folder or an archive, are what everybody else reads; so are parquet's footers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from robustreid.benchmark.store.columns import QUERY_SCHEMA
from robustreid.leaderboards.measurements import read_measurements
from robustreid.leaderboards.submission.adapting import is_adaptively_evaluated
from robustreid.leaderboards.submission.checking import check_submission
from robustreid.leaderboards.submission.contents import open_contents
from robustreid.leaderboards.submission.description import read_folder
from robustreid.leaderboards.submission.findings import Finding
from robustreid.leaderboards.submission.limits import MAX_FINDINGS
from robustreid.leaderboards.submission.pages import Footer, read_footer
from robustreid.leaderboards.submission.results import read_results
from robustreid.leaderboards.submission.tables import QUERIES, read_table


@pytest.mark.parametrize("pack", ["folder", "zip", "tgz"])
def test_rows_and_queries_are_those_of_the_run(make: Any, tmp_path: Path, pack: str) -> None:
    """Field by field what `read_measurements` gives of the folder."""
    folder = make.folder(tmp_path / "folder", make.files)
    (tmp_path / "packed").mkdir()
    with open_contents(getattr(make, pack)(tmp_path / "packed", make.files)) as contents:
        found = read_results(contents)
    (wanted,), (each,) = read_measurements(folder / "results"), found.measurements
    assert found.faults == ()
    assert (each.label, each.status, each.model, each.cell_id) == (wanted.label, wanted.status, "mine", wanted.cell_id)
    assert dict(each.row) == dict(wanted.row)
    mine, theirs = found.queries[each.cell_id], wanted.queries
    assert theirs is not None
    assert mine.ids == theirs.ids
    assert {name: list(values) for name, values in mine.columns.items()} == {
        name: list(values) for name, values in theirs.columns.items()
    }


def test_a_run_of_other_hands_is_read(make_run: Any, tmp_path: Path, make: Any) -> None:
    """A run directory of the shared fixture reads back cell by cell, queries included."""
    queries = [
        {"query_id": f"q/{n}", "identity": n, "camera": 1}
        | {
            f"{column}_{state}": 1.0
            for column in ("ap", "ap_trapezoid", "inp", "first_rank")
            for state in ("clean", "attacked")
        }
        for n in range(3)
    ]
    cells = [
        {"queries": queries},
        {"k": 8, "status": "failed", "reason": "out of memory"},
        {"k": 2, "status": "missing"},
    ]
    make.folder(tmp_path, make.plain)
    make_run(tmp_path / "mine" / "results", cells)
    with open_contents(tmp_path / "mine") as contents:
        found = read_results(contents)
    assert [each.status for each in found.measurements] == ["done", "failed", "missing"]
    assert [len(each) for each in found.queries.values()] == [3]


def _table(n_rows: int, **how: Any) -> bytes:
    """A table of queries."""
    labels = {"cell_id": ["a"] * n_rows, "query_id": [f"query/{n}.png" for n in range(n_rows)]}
    columns = {field.name: pa.array(labels.get(field.name, [1] * n_rows), field.type) for field in QUERY_SCHEMA}
    table = pa.table(columns, schema=QUERY_SCHEMA)
    buffer = io.BytesIO()
    note = {b"robustreid": json.dumps({"schema_version": 1}).encode()}
    pq.write_table(table.replace_schema_metadata(note), buffer, **how)
    return buffer.getvalue()


def _footer(content: bytes) -> Footer:
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    return read_footer(content, start, len(content) - 8)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"data_page_version": "2.0"},
        {"use_dictionary": False},
        {"row_group_size": 300},
        {"data_page_size": 64},
        {"compression": "none"},
        {"write_page_index": True},
        {"write_page_checksum": True},
    ],
)
def test_footers_are_read_as_the_library_reads_them(how: dict[str, Any]) -> None:
    """Names, rows, values and bytes of every column, however a table was written; and it is accepted."""
    content = _table(1000, **how)
    metadata = pq.ParquetFile(io.BytesIO(content)).metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    wanted = [(c.path_in_schema, g.num_rows, c.num_values) for g in groups for c in map(g.column, range(g.num_columns))]
    found = _footer(content)
    assert found.n_rows == metadata.num_rows
    assert [(chunk.name, chunk.n_rows, chunk.n_values) for chunk in found.chunks] == wanted
    table, fault = read_table(content, "q", QUERIES)
    assert fault is None
    assert table is not None
    assert table["query_id"].to_pylist()[-1] == "query/999.png"


def test_tracks_are_asked_last(make: Any, tmp_path: Path) -> None:
    """Whoever knows tracks is given the description and the rows, and only of a submission without errors."""
    asked = []

    def track_problems(description: Any, measurements: Any) -> Any:
        asked.append((description.name, [each.status for each in measurements]))
        yield Finding(code="SUB599", level="error", place="x", problem="y", remedy="z")

    path = make.folder(tmp_path, make.files)
    report = check_submission(path, track_problems=track_problems)
    assert set(report.codes()) == {"SUB599"}
    assert not report.is_valid
    assert asked == [("mine", ["done"])]
    (path / "weights.safetensors").unlink()
    assert "SUB599" not in check_submission(path, track_problems=track_problems).codes()


def test_an_adaptive_attack_counts_once_it_has_a_score(make: Any, making: Any, tmp_path: Path) -> None:
    """Stages are named, and an attack; a mark until a row of that name is done, and no error at any time."""
    text = making.YAML.replace("random_stages: []", "random_stages: [noise]")
    text = text.replace(
        "adaptive_attack: null", "adaptive_attack: {name: own, objective: push, optimiser: pgd, eot: 8}"
    )
    for attack, status, marked in (("fna", "done", True), ("own", "failed", True), ("own", "done", False)):
        files = dict(make.files) | {"submission.yaml": text.encode()}
        make.scored(files, attack=attack, status=status)
        path = make.folder(tmp_path / f"{attack}-{status}", files)
        assert ("SUB116" in check_submission(path).codes()) == marked
        assert is_adaptively_evaluated(read_folder(path), path) != marked


def test_many_findings_are_counted(make: Any, tmp_path: Path) -> None:
    """A rule reports fifty places, and says how many more there are."""
    files = dict(make.plain) | {f"{number}.txt": b"x" for number in range(60)}
    found = [each for each in check_submission(make.folder(tmp_path, files)).findings if each.code == "SUB012"]
    assert len(found) == MAX_FINDINGS + 1
    assert found[-1].problem == "is said of 10 other places too"
