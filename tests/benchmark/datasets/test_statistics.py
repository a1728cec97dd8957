"""Counts of a retrieval set, against counts made by hand on a set with junk, distractors and two modalities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from robustreid.benchmark.datasets.manifest import read_manifest
from robustreid.benchmark.datasets.market import read_folder
from robustreid.benchmark.datasets.statistics import statistics_of, statistics_text
from robustreid.benchmark.datasets.synthetic.crowd import read_synthetic
from robustreid.benchmark.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

#: Names by folder, and the size of each image.
FILES = {
    "query/0001_c1s1_000001_00.png": (16, 8),
    "query/0002_c2s1_000001_00.png": (16, 8),
    "bounding_box_test/0001_c2s1_000001_00.png": (20, 8),
    "bounding_box_test/0001_c2s1_000002_00.png": (10, 10),
    "bounding_box_test/0001_c3s1_000001_00.png": (40, 30),
    "bounding_box_test/0002_c1s1_000001_00.png": (16, 8),
    "bounding_box_test/0003_c1s1_000001_00.png": (16, 8),
    "bounding_box_test/0000_c1s1_000001_00.png": (16, 8),
    "bounding_box_test/0000_c1s1_000002_00.png": (16, 8),
    "bounding_box_test/-1_c1s1_000001_00.png": (16, 8),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Those files."""
    for name, size in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((*size, 3), dtype=np.uint8)).save(tmp_path / name)
    return tmp_path


def test_everything_is_counted(root: Path) -> None:
    """People without junk and distractors; images a camera add up; sizes by area."""
    data = read_folder("mine", root)
    found = statistics_of(data, read_manifest(data))
    query, gallery = found["sides"]["query"], found["sides"]["gallery"]
    assert (found["name"], found["images"], found["identities"], found["cameras"]) == ("mine", 10, 3, 3)
    assert (query["images"], query["identities"], query["junk"], query["distractors"]) == (2, 2, 0, 0)
    assert (gallery["images"], gallery["identities"], gallery["junk"], gallery["distractors"]) == (8, 3, 1, 2)
    assert gallery["images_a_person"] == {"min": 1, "median": 1.0, "max": 3}
    assert gallery["cameras"] == [
        {"camera": 1, "modality": "visible", "images": 5},
        {"camera": 2, "modality": "visible", "images": 2},
        {"camera": 3, "modality": "visible", "images": 1},
    ]
    assert found["sizes"] == {"smallest": [10, 10], "median": [16, 8], "largest": [40, 30], "shapes": 4}
    assert found["trials"]["count"] == 1
    assert found["trials"]["gallery"] == {"min": 8, "median": 8.0, "max": 8}


@pytest.mark.parametrize(
    ("protocol", "sides", "trial"),
    [
        ("llcm-i2v", (("infrared", 18), ("visible", 24)), (18, 8)),
        ("sysu-all", (("infrared", 12), ("visible", 24)), (12, 8)),
        ("regdb-v2t", (("visible", 10), ("infrared", 10)), (5, 5)),
    ],
)
def test_trials_and_modalities_are_said(
    protocol: str, sides: tuple[tuple[str, int], tuple[str, int]], trial: tuple[int, int]
) -> None:
    """Of drawn sets of two people."""
    data = read_synthetic("drawn", reporter=Silent(), protocol=protocol, identities=2)
    found = statistics_of(data, read_manifest(data))
    seen = [(*found["sides"][name]["modalities"], found["sides"][name]["images"]) for name in ("query", "gallery")]
    assert tuple(seen) == sides
    sizes = [found["trials"][name] for name in ("query", "gallery")]
    assert [(size["min"], size["max"]) for size in sizes] == [(count, count) for count in trial]
    assert (found["protocol"], found["trials"]["count"]) == (protocol, 10)


def test_the_text_says_the_same(root: Path) -> None:
    """Every number of the table, a line a camera."""
    data = read_folder("mine", root)
    lines = statistics_text(statistics_of(data, read_manifest(data))).splitlines()
    assert lines[0] == "mine: 10 images of 3 people by 3 cameras; protocol market (version 1), 1 trial"
    assert lines[1] == "height x width: smallest 10 x 10, median 16 x 8, largest 40 x 30; 4 shapes"
    rows = {line.split("  ")[0]: line.split() for line in lines}
    assert rows["distractors"][-2:] == ["0", "2"]
    assert " ".join(rows["images a person"]) == "images a person 1 1 to 3, median 1"
    assert [line.split() for line in lines[-3:]] == [
        ["1", "visible", "1", "5"],
        ["2", "visible", "1", "2"],
        ["3", "visible", "0", "1"],
    ]
