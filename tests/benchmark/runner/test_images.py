"""Kept images: 8 bit, inside the budget as whole grey levels, and listed in a manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

#: epsilon as asked for -> the largest whole number of grey levels inside it.
LEVELS = {"5/255": 5, "2.5/255": 2, "0.5/255": 0, "0.0314": 8}


def _pixels(file: Path) -> NDArray[np.int64]:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"), dtype=np.int64)


def largest_change(folder: Path, data: Path) -> int:
    """By how many grey levels the kept images of a cell differ from the files of the set, at most."""
    manifest = json.loads((folder / "manifest.json").read_text())
    return max(
        int(np.abs(_pixels(folder / entry["file"]) - _pixels(data / entry["image_id"])).max())
        for entry in manifest["images"]
    )


@pytest.fixture(scope="module")
def ran(
    crowd: Path,
    tiny: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """A run that keeps the first three images a side, of a set that starts with junk and distractors."""
    attacks = [{"name": "pgd", "steps": 2}, "noise", "ama-mifgsm"]
    exclude = [{"attack": "ama-mifgsm", "epsilon": "0.5/255"}, {"attack": "pgd", "side": "both"}]
    grid = grid_file(tiny, crowd, attacks=attacks, epsilons=list(LEVELS), side=["gallery", "both"], exclude=exclude)
    return run(grid, tmp_path_factory.mktemp("images") / "run", batch_size=32, keep_images=3)


def test_kept_images_are_8_bit_and_inside_the_budget(ran: Any, crowd: Path) -> None:
    """The PNG differs from the decoded file by at most epsilon in whole grey levels, and reaches it."""
    reached: dict[int, int] = {}
    for row in ran.rows.to_dict("records"):
        levels = LEVELS[{0.0314: "0.0314"}.get(row["epsilon"], f"{row['epsilon'] * 255:g}/255")]
        change = largest_change(ran.path / "images" / row["cell_id"], crowd)
        assert change <= levels, row["attack"]
        assert row["linf_max"] <= row["epsilon"] + 1e-6
        reached[levels] = max(reached.get(levels, 0), change)
    assert all(change == levels for levels, change in reached.items())


def test_the_manifest_lists_what_was_kept(ran: Any, crowd: Path) -> None:
    """The first three attacked images of each side by id, file, side and digest; junk and distractors are not."""
    for row in ran.rows.to_dict("records"):
        folder = ran.path / "images" / row["cell_id"]
        entries = json.loads((folder / "manifest.json").read_text())["images"]
        sides = ["gallery"] if row["side"] == "gallery" else ["gallery", "query"]
        assert [entry["side"] for entry in entries] == [side for side in sides for _ in range(3)]
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
        assert {entry["file"] for entry in entries} <= files
        assert (files == {entry["file"] for entry in entries}) is (row["side"] == "both")  # others have lists as well
        for entry in entries:
            assert set(entry) == {"image_id", "file", "side", "sha256"}
            assert hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
            assert (crowd / entry["image_id"]).exists()
            with Image.open(folder / entry["file"]) as image:
                assert (image.format, image.mode, image.size) == ("PNG", "RGB", (64, 128))
        shown = [entry["image_id"] for entry in entries if entry["side"] == "gallery"]
        names = sorted(file.name for file in (crowd / "bounding_box_test").iterdir())
        people = [f"bounding_box_test/{name}" for name in names if name[:4] not in {"0000", "-1_c"}]
        assert shown == people[:3]


def test_nothing_is_kept_unless_asked(
    crowd: Path, tiny: Path, grid_file: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    """No folder and no manifest without --keep-images; keeping them changes no result."""
    grid = grid_file(tiny, crowd, attacks=["ama-fgsm"])
    without = run(grid, tmp_path / "without")
    assert not (without.path / "images").exists()
    assert without.table() == run(grid, tmp_path / "with", keep_images=2).table()


def test_images_at_the_models_own_size(
    crowd: Path, tiny: Path, grid_file: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    """Perturbed at the model's input, the kept image has that size, and the budget holds around the resized image."""
    ran = run(grid_file(tiny, crowd, perturb_at="input"), tmp_path / "run", keep_images=1)
    clean = run(grid_file(tiny, crowd, perturb_at="input", epsilons=["0"]), tmp_path / "clean", keep_images=1)
    pictures = []
    for one in (ran, clean):
        (row,) = one.rows.to_dict("records")
        (entry,) = json.loads((one.path / "images" / row["cell_id"] / "manifest.json").read_text())["images"]
        pictures.append(_pixels(one.path / "images" / row["cell_id"] / entry["file"]))
    assert pictures[0].shape == (32, 16, 3)
    assert np.abs(pictures[0] - pictures[1]).max() == 2


def test_images_are_kept_after_an_interruption(
    crowd: Path,
    tiny: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    interrupted: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Batches that were finished without keeping images are done again where images are wanted now."""
    grid = grid_file(tiny, crowd)
    out = interrupted(grid, tmp_path / "run", 2)
    ran = run(grid, out, keep_images=20)
    whole = run(grid, tmp_path / "whole", keep_images=20)
    assert ran.table() == whole.table()
    kept = [
        {path.relative_to(one.path): path.read_bytes() for path in (one.path / "images").rglob("*") if path.is_file()}
        for one in (ran, whole)
    ]
    assert len(kept[0]) > 20
    assert kept[0] == kept[1]
