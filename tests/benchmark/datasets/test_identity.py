"""What a cell knows a set by: images, and labels and splits where paths do not say them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from robustreid.benchmark.datasets.catalogue import open_dataset
from robustreid.benchmark.datasets.opening import DatasetRequest, open_sets
from robustreid.benchmark.progress import Silent

ROWS = ["a.png,1,1,query", "b.png,1,2,gallery", "c.png,2,1,gallery", "d.png,2,2,query"]


@pytest.fixture
def known_by(tmp_path: Path) -> Callable[[list[str]], str]:
    """A function that gives the digest of a table's set."""
    random = np.random.default_rng(0)
    for name in "abcd":
        Image.fromarray(random.integers(0, 256, (8, 4, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")

    def digest(rows: list[str], protocol: str = "market") -> str:
        (tmp_path / "table.csv").write_text("\n".join(["path,identity,camera,split,modality", *rows]))
        request = DatasetRequest(label="t", format="table", root=tmp_path / "table.csv", options={"protocol": protocol})
        sets, _ = open_sets([request], workers=1, reporter=Silent())
        return sets["t"].ref.sha256

    return digest


def _rows(**changes: str) -> list[str]:
    return [f"{changes.get(row[0], row)},visible" if row.count(",") == 3 else row for row in ROWS]


def test_a_label_is_part_of_a_table(known_by: Callable[[list[str]], str]) -> None:
    """Another person, camera, side or modality of an image is another set; another order of the rows is not."""
    whole = known_by(_rows())
    assert known_by(_rows()[::-1]) == whole
    others = [
        _rows(c="c.png,1,1,gallery"),
        _rows(c="c.png,2,2,gallery"),
        _rows(c="c.png,2,1,query"),
        [*_rows()[:3], "d.png,2,2,query,infrared"],
    ]
    assert len({whole, *map(known_by, others)}) == 5


def test_splits_are_part_of_a_set_that_has_them() -> None:
    """The same images in other splits are another problem."""
    data = open_dataset("d", "synthetic", None, {"protocol": "single-shot", "identities": 4})
    assert replace(data, trials=data.trials[::-1]).label_digest != data.label_digest
    assert replace(data, trials=()).label_digest != data.label_digest
