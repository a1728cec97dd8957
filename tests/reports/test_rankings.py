"""Ranking lists: read with care, shown with their perturbation magnified."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from robustreid import InvalidFileError
from robustreid.reports.rankings import MAGNIFIED, ImageStore, RankedQuery, read_rankings


@pytest.fixture
def folder(ranked_run: Path, tmp_path: Path) -> Path:
    """A copy of a cell's images, to spoil."""
    (images,) = (ranked_run / "images").iterdir()
    return Path(shutil.copytree(images, tmp_path / images.name))


def read(folder: Path) -> tuple[tuple[RankedQuery, ...], dict[str, bytes]]:
    """The lists and the images."""
    store = ImageStore()
    found = read_rankings(folder, folder.name, store)
    return found.queries if found else (), store.files


def pixels(content: bytes) -> npt.NDArray[np.int64]:
    """(H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(content))).astype(np.int64)


def test_lists_and_images(folder: Path) -> None:
    """Order, labels and matches as stored; every image once; the difference around middle grey."""
    queries, files = read(folder)
    assert [query.query.identity for query in queries] == [1, 2]
    first = queries[0]
    assert [image.identity for image in first.before] == list(range(9, -1, -1))
    assert [image.is_match for image in first.after] == [False] * 9 + [True]
    assert first.after[3].attacked is None
    assert first.query.size == (8, 16)
    assert first.query.attacked is not None
    assert first.query.magnified is not None
    change = pixels(files[first.query.attacked]) - pixels(files[first.query.clean])
    assert np.array_equal(pixels(files[first.query.magnified]), np.clip(128 + MAGNIFIED * change, 0, 255))
    assert all(path.startswith("images/") and path.endswith(".png") for path in files)


def test_no_lists_no_page(tmp_path: Path) -> None:
    """A cell without the file has none."""
    assert read_rankings(tmp_path, "x", ImageStore()) is None


@pytest.mark.parametrize(
    "name", ["../outside.png", "/etc/passwd", "a/../../x.png", "linked.png", "absent.png", "rankings.json", 3, None]
)
def test_a_path_that_leads_elsewhere_is_refused(folder: Path, name: object) -> None:
    """Absolute, upward, through a link, to what is no image or is not there: the file is named."""
    Image.new("RGB", (8, 16)).save(folder.parent / "outside.png")
    (folder / "linked.png").symlink_to(folder.parent / "outside.png")
    content = json.loads((folder / "rankings.json").read_text())
    content["queries"][0]["after"][0]["clean_file"] = name
    (folder / "rankings.json").write_text(json.dumps(content))
    with pytest.raises(InvalidFileError, match=r"rankings\.json' does not read back"):
        read(folder)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content | {"version": 2},
        lambda content: content | {"cell_id": "other"},
        lambda content: content | {"is_drawn": 1},
        lambda content: content | {"queries": 1},
        lambda content: content | {"queries": [{}]},
        lambda content: content | {"queries": [content["queries"][0] | {"identity": "<b>"}]},
        lambda content: content | {"queries": [content["queries"][0] | {"before": [{"is_match": 1}]}]},
        lambda content: [],
    ],
)
def test_a_file_that_is_none_is_named(folder: Path, spoil: Callable[[Any], Any]) -> None:
    """Whatever is wrong with it."""
    file = folder / "rankings.json"
    file.write_text(json.dumps(spoil(json.loads(file.read_text()))))
    with pytest.raises(InvalidFileError, match=r"rankings\.json' does not read back"):
        read(folder)


def test_another_size_is_refused(folder: Path) -> None:
    """A difference needs two images of one size."""
    Image.new("RGB", (4, 4)).save(folder / "query" / "0001.png")
    with pytest.raises(InvalidFileError, match="to have the size of"):
        read(folder)


def test_what_hides_in_an_image_stays_behind(folder: Path) -> None:
    """Images are written anew: text and whatever else a file holds is not published."""
    file = folder / "query" / "0001.png"
    content = file.read_bytes()
    file.write_bytes(content + b"<script>hidden</script>")
    _, files = read(folder)
    assert not any(b"hidden" in content for content in files.values())
