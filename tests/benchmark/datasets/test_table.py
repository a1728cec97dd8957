"""Tables that say who is on which image: columns under several names, and errors that name row and column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from robustreid import InvalidFileError, UserError
from robustreid.benchmark.datasets.catalogue import open_dataset
from robustreid.benchmark.datasets.training import read_training

Rows = list[dict[str, Any]]


@pytest.fixture
def rows(layouts: Any, tmp_path: Path) -> Rows:
    """What a table says; the images are there."""
    found: Rows = layouts.rows(tmp_path)
    return found


def write_parquet(file: Path, rows: Rows) -> Path:
    """With whole numbers as numbers."""
    parquet.write_table(pa.Table.from_pylist(rows), file)
    return file


def renamed(rows: Rows, **names: str) -> Rows:
    """Columns under other names."""
    return [{names.get(key, key): value for key, value in row.items()} for row in rows]


def test_both_kinds_of_files(rows: Rows, layouts: Any, tmp_path: Path) -> None:
    """Commas, semicolons, tabs and parquet say the same; the file or its folder; columns under their other names."""
    layouts.write_csv(tmp_path / "a.csv", rows)
    truth = layouts.labels(open_dataset("x", "table", tmp_path).query)
    assert truth == {f"images/query/{who}_1.png": (who, 1, "visible") for who in (11, 12, 13)}
    layouts.write_csv(tmp_path / "b.csv", renamed(rows, identity="person_id", camera="camera_id"), ";")
    layouts.write_csv(tmp_path / "c.CSV", renamed(rows, identity="PID", camera=" camid "), "\t")
    write_parquet(tmp_path / "d.parquet", rows)
    for name in ("a.csv", "b.csv", "c.CSV", "d.parquet"):
        data = open_dataset("x", "table", tmp_path / name)
        assert layouts.labels(data.query) == truth
        assert {modality for _, _, modality in layouts.labels(data.gallery).values()} == {"infrared"}
        assert (data.root, data.protocol.name, data.trials) == (tmp_path, "market", ())
        assert read_training("table", tmp_path / name).identities.tolist() == [1, 1, 2, 2]
    with pytest.raises(
        UserError, match=r"expected one .csv or .parquet file in '.*', found a.csv, b.csv, c.CSV, d.par"
    ):
        open_dataset("x", "table", tmp_path)
    with pytest.raises(UserError, match=r"there is no table '.*e.csv'; give a .csv or .parquet file"):
        open_dataset("x", "table", tmp_path / "e.csv")
    with pytest.raises(UserError, match=r"expected one .csv or .parquet file in '.*images', found none"):
        open_dataset("x", "table", tmp_path / "images")


def test_protocols(rows: Rows, layouts: Any, tmp_path: Path) -> None:
    """Any that needs no splits; one that names modalities needs them, row by row."""
    file = layouts.write_csv(tmp_path / "a.csv", rows)
    data = open_dataset("x", "table", file, {"protocol": "llcm-v2i"})
    assert (data.protocol.name, len(data.trials)) == ("llcm-v2i", 10)
    with pytest.raises(InvalidFileError, match=r"a.csv', row 6, column modality: expected infrared \(each query image"):
        open_dataset("x", "table", file, {"protocol": "sysu-all"})
    with pytest.raises(UserError, match=r"expected `protocol` as one of market, .*, got 'regdb-v2t'"):
        open_dataset("x", "table", file, {"protocol": "regdb-v2t"})
    without = [{key: value for key, value in row.items() if key != "modality"} for row in rows]
    data = open_dataset("x", "table", layouts.write_csv(tmp_path / "b.csv", without))
    assert not data.query.modalities.any()
    assert not data.gallery.modalities.any()


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("identity", "someone", r"row 3, column identity: expected a whole number from -1, got 'someone'"),
        ("identity", "1.5", r"row 3, column identity: expected a whole number from -1, got '1.5'"),
        ("identity", "-2", r"row 3, column identity"),
        ("identity", "9" * 30, r"row 3, column identity"),
        ("camera", "", r"row 3, column camera: expected a whole number from 0, got ''"),
        ("camera", "-1", r"row 3, column camera"),
        ("split", "test", r"row 3, column split: expected train or query or gallery, got 'test'"),
        ("modality", "thermal", r"row 3, column modality: expected visible or infrared, got 'thermal'"),
        ("path", " ", r"row 3, column path: expected a path"),
        ("path", "/etc/1.png", r"row 3, column path: expected a path below the data set's folder, got '/etc/1.png'"),
        ("path", "C:\\1.png", r"row 3, column path"),
        ("path", "a/../../1.png", r"row 3, column path"),
        ("path", "images/train/1_1.png", r"row 3, column path: expected each image once in split train"),
    ],
)
def test_a_wrong_value_is_told_by_row(
    rows: Rows, layouts: Any, tmp_path: Path, column: str, value: str, told: str
) -> None:
    """As a spreadsheet counts rows: the header is the first."""
    rows[1][column] = value
    with pytest.raises(InvalidFileError, match=rf"^'.*a.csv', {told}"):
        open_dataset("x", "table", layouts.write_csv(tmp_path / "a.csv", rows))


@pytest.mark.parametrize("column", [[1, 2, None], [1.0, 1.5, 2.0], [True, True, False], ["1", "2", "x"]])
def test_parquet_counts_rows_from_one(rows: Rows, tmp_path: Path, column: list[Any]) -> None:
    """It has no header row; what is empty or of another type is told likewise."""
    spoilt = [{**row, "identity": who} for row, who in zip(rows[:3], column, strict=True)]
    with pytest.raises(InvalidFileError, match=r"a.parquet', row [123], column identity: expected a whole number"):
        open_dataset("x", "table", write_parquet(tmp_path / "a.parquet", spoilt))


def test_wrong_tables(rows: Rows, layouts: Any, tmp_path: Path) -> None:
    """Columns that are absent or there twice, rows that end early, no text, no parquet, no queries."""
    file = tmp_path / "a.csv"

    def told(pattern: str, of: Path = file) -> None:
        with pytest.raises(UserError, match=pattern):
            open_dataset("x", "table", of)

    layouts.write_csv(file, renamed(rows, identity="who"))
    told(
        r"a.csv' has no column identity or person_id or pid; expected path, .*, got path, who, camera, split, modality"
    )
    layouts.write_csv(file, [{**row, "pid": 1} for row in rows])
    told("has several columns for identity; keep one of them")
    file.write_text("path,identity,camera,split\nimages/train/1_1.png,1,1\n")
    told(r"row 2, column split: expected a value, got 'none'")
    file.write_text("")
    told(r"has no column path; expected .* got nothing")
    file.write_bytes(b"path,identity,camera,split\n\xff,1,1,query\n")
    told("is no UTF-8 text")
    file.write_text('path,identity,camera,split\n"a.png,1,1,query\n')
    told("is no CSV")
    layouts.write_csv(file, [row for row in rows if row["split"] != "query"])
    told("holds no query images")
    layouts.write_csv(file, [row for row in rows if row["split"] != "train"])
    with pytest.raises(UserError, match="has no rows whose split is train"):
        read_training("table", file)
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    told("is no readable parquet file", tmp_path / "b.parquet")


def test_images_that_are_absent(rows: Rows, copied: Callable[..., Path]) -> None:
    """How many, and the first."""
    root = copied("table")
    for name in ("11_2.png", "12_2.png"):
        (root / "images/gallery" / name).unlink()
    with pytest.raises(
        InvalidFileError, match=r"people.csv' names 2 images that are not there, the first is '.*11_2.pn"
    ):
        open_dataset("x", "table", root)


def test_junk_and_distractors(rows: Rows, layouts: Any, tmp_path: Path) -> None:
    """-1 and 0 mean what they mean for Market-1501."""
    rows[-1]["identity"], rows[-3]["identity"] = -1, 0
    data = open_dataset("x", "table", layouts.write_csv(tmp_path / "a.csv", rows))
    assert sorted(data.gallery.identities.tolist()) == [-1, 0, 11]
