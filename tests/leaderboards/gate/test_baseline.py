"""Baselines: they read back bit for bit, change only where they should, and nothing hostile gets through."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from robustreid import InvalidFileError, UserError
from robustreid.leaderboards.gate.apart import decode_apart
from robustreid.leaderboards.gate.baseline import read_baseline, read_side, save_baseline, update_baseline
from robustreid.leaderboards.gate.comparing import compare
from robustreid.leaderboards.gate.stored import BASELINE_SCHEMA, MAX_BYTES, decode
from robustreid.leaderboards.measurements import Measurement, read_measurements

MakeSide = Callable[[Path, Sequence[dict[str, Any]]], Path]

CELLS: tuple[dict[str, Any], ...] = ({"attack": "ama-ifgsm"}, {"attack": "pgd"}, {"goal": "targeted"})


@pytest.fixture(autouse=True)
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in this process, which is quicker; `apart` and the commands are tested with their own."""
    monkeypatch.setattr("robustreid.leaderboards.gate.baseline.decode_apart", decode)


@pytest.fixture
def cells(make_side: MakeSide, tmp_path: Path) -> tuple[Measurement, ...]:
    """Three cells, one of them targeted."""
    return read_measurements(make_side(tmp_path / "run", CELLS))


@pytest.fixture
def file(cells: tuple[Measurement, ...], tmp_path: Path) -> Path:
    """Their baseline."""
    save_baseline(tmp_path / "base.parquet", cells)
    return tmp_path / "base.parquet"


def assert_same(left: Measurement, right: Measurement) -> None:
    """All of them: labels, row and queries."""
    assert (left.cell_id, left.label, left.model, left.dataset) == (
        right.cell_id,
        right.label,
        right.model,
        right.dataset,
    )
    assert dict(left.row) == dict(right.row)
    assert left.queries is not None
    assert right.queries is not None
    assert left.queries.ids == right.queries.ids
    for name in ("identities", "cameras", "trials"):
        np.testing.assert_array_equal(getattr(left.queries, name), getattr(right.queries, name))
    assert left.queries.columns.keys() == right.queries.columns.keys()
    for name, values in left.queries.columns.items():
        np.testing.assert_array_equal(values, right.queries.columns[name])


def test_what_is_saved_reads_back(cells: tuple[Measurement, ...], file: Path) -> None:
    """Bit for bit, in its order; and the same cells give the same bytes."""
    found = read_baseline(file)
    assert len(found) == 3
    for left, right in zip(cells, found, strict=True):
        assert_same(left, right)
    before = file.read_bytes()
    save_baseline(file, found)
    assert file.read_bytes() == before
    assert set(compare(cells, found).counts) == {"same"}


def test_it_is_small(make_side: MakeSide, tmp_path: Path) -> None:
    """A few kB a cell, so that it can live in a repository; pandas opens it."""
    run = make_side(tmp_path / "many", [{"attack": f"a{place}"} for place in range(20)])
    save_baseline(tmp_path / "many.parquet", read_side(run))
    assert (tmp_path / "many.parquet").stat().st_size < 20 * 5_000
    frame = pq.read_table(tmp_path / "many.parquet").to_pandas()
    assert (len(frame), len(frame["ap_attacked"][0])) == (20, 72)


def test_only_what_is_done_is_a_bar(make_side: MakeSide, tmp_path: Path) -> None:
    """What failed or is missing is named and left out; a run with nothing done is refused."""
    failed = {"attack": "fna", "status": "failed", "reason": "a feature is not finite"}
    run = make_side(tmp_path / "run", [CELLS[0], failed, {"attack": "pgd", "status": "missing"}])
    change = save_baseline(tmp_path / "base.parquet", read_side(run))
    assert [what for _, what in change.left_out] == ["a feature is not finite", "missing"]
    assert [cell.row["attack"] for cell in read_baseline(tmp_path / "base.parquet")] == ["ama-ifgsm"]
    with pytest.raises(UserError, match="No cell is done"):
        save_baseline(tmp_path / "none.parquet", read_side(make_side(tmp_path / "none", [failed])))
    assert not (tmp_path / "none.parquet").exists()


def test_no_other_file_is_replaced(cells: tuple[Measurement, ...], tmp_path: Path) -> None:
    """Somebody's table under that name stands."""
    pq.write_table(pa.table({"a": [1]}), tmp_path / "mine.parquet")
    before = (tmp_path / "mine.parquet").read_bytes()
    with pytest.raises(UserError, match=r"is there and is no baseline; give another name, as --out FILE\.$"):
        save_baseline(tmp_path / "mine.parquet", cells)
    assert (tmp_path / "mine.parquet").read_bytes() == before


def test_an_update_replaces_adds_and_keeps(file: Path, make_side: MakeSide, tmp_path: Path) -> None:
    """It says what changed; a cell that failed lowers no bar; another model of its own label is added."""
    new: list[dict[str, Any]] = [
        {"attack": "ama-ifgsm", "lower": 4},
        {"attack": "pgd", "status": "failed", "reason": "out of memory"},
        {"attack": "fna"},
        {"model": "r50"},
    ]
    change = update_baseline(file, read_side(make_side(tmp_path / "new", new)))
    assert [label.split()[2] for label in change.added] == ["fna", "ama-ifgsm"]
    [(label, what)] = change.replaced
    assert label == "osnet mini ama-ifgsm linf 4/255 gallery"
    assert what == "mAP_attacked 49.94 -> 45.94"
    assert (change.n_kept, [why for _, why in change.left_out]) == (2, ["out of memory"])
    found = {(cell.model, cell.row["attack"], cell.row["goal"]): cell for cell in read_baseline(file)}
    assert len(found) == 5
    assert found["osnet", "pgd", "untargeted"].score("mAP_attacked") == pytest.approx(0.49944, abs=1e-5)
    assert found["osnet", "ama-ifgsm", "untargeted"].score("mAP_attacked") == pytest.approx(0.45944, abs=1e-5)


def test_an_update_replaces_what_would_not_compare(file: Path, make_side: MakeSide, tmp_path: Path) -> None:
    """A cell measured by another engine takes the old one's place, and the next comparison passes."""
    run = make_side(tmp_path / "new", [{**cell, "row": {"engine_version": 3}} for cell in CELLS])
    assert compare(read_baseline(file), read_side(run)).exit_code() == 6
    change = update_baseline(file, read_side(run))
    assert [what for _, what in change.replaced] == ["engine version 2 in BASE, 3 in NEW"] * 3
    assert compare(read_baseline(file), read_side(run)).exit_code() == 0


def test_an_update_from_nothing_leaves_the_file(file: Path, make_side: MakeSide, tmp_path: Path) -> None:
    """A run in which no cell is done, or whose file is torn, changes no byte."""
    before = file.read_bytes()
    failed = make_side(tmp_path / "failed", [{"status": "failed", "reason": "no"}])
    with pytest.raises(UserError, match="No cell is done"):
        update_baseline(file, read_side(failed))
    torn = make_side(tmp_path / "torn", CELLS)
    next((torn / "queries").iterdir()).write_bytes(b"PAR1")
    with pytest.raises(InvalidFileError, match="does not read back"):
        update_baseline(file, read_side(torn))
    assert file.read_bytes() == before


def rewritten(file: Path, change: Callable[[pa.Table], pa.Table], **meta: Any) -> Path:
    """The baseline with another content, written as anybody could."""
    table = pq.read_table(file)
    noted = {**json.loads(table.schema.metadata[b"robustreid"]), **meta}
    made = change(table.replace_schema_metadata(None))
    with pq.ParquetWriter(file, made.schema, store_schema=False) as writer:  # types are what any tool can write
        writer.write_table(made)
        writer.add_key_value_metadata({"robustreid": json.dumps(noted)})
    return file


def column(name: str, value: Callable[[Any], Any]) -> Callable[[pa.Table], pa.Table]:
    """A change of one column of the first row."""

    def change(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        values[0] = value(values[0])
        return table.set_column(
            table.column_names.index(name),
            BASELINE_SCHEMA.field(name),
            pa.array(values, BASELINE_SCHEMA.field(name).type),
        )

    return change


def repeated_text(table: pa.Table) -> pa.Table:
    """A reason of a megabyte, told once and repeated: little on disk, much in memory."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * len(table), pa.int32()), pa.array(["x" * 2**20]))
    return table.set_column(table.column_names.index("reason"), "reason", texts)


HOSTILE: dict[str, tuple[Callable[[pa.Table], pa.Table], dict[str, Any], str]] = {
    "newer schema": (lambda table: table, {"schema_version": 9}, "schema version 9, newer than"),
    "newer layout": (lambda table: table, {"baseline_version": 7}, "baseline version 7, newer than"),
    "no version": (lambda table: table, {"schema_version": "x"}, "is no baseline"),
    "endless version": (lambda table: table, {"schema_version": float("inf")}, "is no baseline"),
    "no column": (lambda table: table.drop_columns(["ap_clean"]), {}, "no column 'ap_clean' of type"),
    "another type": (lambda table: table.set_column(0, "label", pa.array([1] * len(table))), {}, "no column 'label'"),
    "a column twice": (lambda table: table.append_column("model", table["model"]), {}, "a column twice"),
    "a row twice": (lambda table: pa.concat_tables([table, table]), {}, "two rows for one cell"),
    "failed": (column("status", lambda _: "failed"), {}, "status 'failed', expected done"),
    "a path": (column("cell_id", lambda _: "../../x"), {}, "a row that lacks one of"),
    "no model": (column("model", lambda _: None), {}, "a row that lacks one of"),
    "epsilon": (column("epsilon", lambda _: float("nan")), {}, "the epsilon nan"),
    "NaN": (column("ap_attacked", lambda old: [float("nan"), *old[1:]]), {}, "NaN or infinite"),
    "null": (column("identity", lambda old: [None, *old[1:]]), {}, "that are no numbers"),
    "no queries": (column("query_id", lambda _: None), {}, "queries of different lengths"),
    "fewer": (column("ap_attacked", lambda old: old[1:]), {}, "queries of different lengths"),
    "too high": (column("mAP_attacked", lambda _: 1.7), {}, "1.7 for a mAP_attacked, expected a fraction"),
    "a better score": (column("mAP_attacked", lambda old: old - 0.2), {}, "others than its row is the mean of"),
    "better queries": (column("ap_clean", lambda old: [v + 1 for v in old]), {}, "outside [0, 1]"),
    "a long text": (repeated_text, {}, "a text of more than 65,536 characters"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_is_refused(file: Path, name: str) -> None:
    """In one sentence with exit code 4."""
    change, meta, said = HOSTILE[name]
    rewritten(file, change, **meta)
    with pytest.raises(InvalidFileError) as caught:
        decode(file.read_bytes(), file)
    assert said in str(caught.value)
    assert str(caught.value).endswith(".")


def test_claims_are_checked_before_anything_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many cells or queries for a baseline are refused by what the file says of itself."""
    for name in ("MAX_CELLS", "MAX_QUERIES", "MAX_UNPACKED"):
        with monkeypatch.context() as patched:
            patched.setattr(f"robustreid.leaderboards.gate.stored.{name}", 2)
            patched.setattr("robustreid.leaderboards.gate.stored._plain", None)
            with pytest.raises(InvalidFileError, match="more than"):
                decode(file.read_bytes(), file)
    with pytest.raises(InvalidFileError, match="more than 64 MiB"):
        decode(bytes(MAX_BYTES + 1), file)


def test_what_ends_its_reader_is_refused(file: Path) -> None:
    """A reader that aborts, asks for all memory or never comes back takes nothing else with it."""
    greedy = "from robustreid.leaderboards.gate import apart; apart._limit_memory(); bytes(2 * apart.MAX_MEMORY)"
    said = {
        "import os; os.abort()": "ended with code -6",
        "import sys; sys.exit(1)": "ended with code 1",
        greedy: "with code 1",
        "import time; time.sleep(600)": "took more than 2 s",
    }
    for code, what in said.items():
        seconds = 2.0 if "sleep" in code else 120.0
        with pytest.raises(InvalidFileError, match=f"is no baseline of this tool.*{what}"):
            decode_apart(file.read_bytes(), file, code=code, seconds=seconds)
    assert len(decode_apart(file.read_bytes(), file)) == len(CELLS)


@pytest.mark.slow
def test_no_damage_crashes(file: Path) -> None:
    """A flipped byte anywhere reads back as it was or is refused: nothing else is raised, no score is another."""
    content = file.read_bytes()
    scores = [cell.score("mAP_attacked") for cell in read_baseline(file)]
    draw = np.random.default_rng(7)
    refused = 0
    for _ in range(60):
        broken = bytearray(content)
        for place in draw.integers(len(broken), size=draw.choice([1, 1, 4, 64])):
            broken[place] = draw.integers(256)
        end = len(broken) if draw.random() < 0.7 else draw.integers(len(broken))
        file.write_bytes(bytes(broken[:end]))
        try:
            found = decode_apart(file.read_bytes(), file)
            assert [cell.score("mAP_attacked") for cell in found] == scores
        except InvalidFileError:
            refused += 1
    assert refused > 30


def test_a_file_of_another_kind_is_none(tmp_path: Path) -> None:
    """Empty, text, or a table of somebody else's."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), buffer)
    for content in (b"", b"PAR1", b"not parquet at all", buffer.getvalue()):
        with pytest.raises(InvalidFileError, match="is no baseline of this tool"):
            decode(content, tmp_path / "x.parquet")
