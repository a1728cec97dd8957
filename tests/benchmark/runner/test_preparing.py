"""Images that somebody attacked elsewhere score as the attack that made them did, or are refused as a whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from robustreid import InvalidFileError, UserError
from robustreid.benchmark.config.grid import load_grid
from robustreid.benchmark.prepared import check_prepared, read_prepared
from robustreid.benchmark.progress import Silent
from robustreid.benchmark.runner.preparing import score_prepared
from robustreid.benchmark.runtime import Settings

SETTINGS = Settings(device="cpu", batch_size=16)


@pytest.fixture(scope="module")
def made(
    crowd: Path, tiny: Path, grid_file: Any, run: Any, ran_at: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """An attack that was run here with all of its images kept: what a finder would send."""
    grid = grid_file(tiny, crowd, side="query")
    ran = run(grid, tmp_path_factory.mktemp("made") / "run", keep_images=100)
    row = ran.row(status="done")
    return {"grid": grid, "row": row, "folder": ran.path / "images" / row["cell_id"], "ran_at": ran_at}


@pytest.fixture
def sent(made: dict[str, Any], tmp_path: Path) -> Path:
    """A copy of the images, to spoil."""
    return shutil.copytree(made["folder"], tmp_path / "sent")


def change(folder: Path, edit: Callable[[np.ndarray], Any], place: int = 0) -> str:
    """Edit the pixels of one image, with its digest made anew: the finder's own doing. The image's id."""
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["images"][place]
    file = folder / entry["file"]
    with Image.open(file) as image:
        pixels = np.array(image)
    Image.fromarray(edit(pixels)).save(file)
    entry["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(entry["image_id"])


def listed(folder: Path, **changes: Any) -> None:
    """Change the first entry of a manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["images"][0] |= changes
    (folder / "manifest.json").write_text(json.dumps(manifest))


def scored(made: dict[str, Any], folder: Path, out: Path) -> dict[str, Any]:
    """The row of the images in a folder."""
    score_prepared(load_grid(made["grid"]), read_prepared(folder), "A. Finder", out, SETTINGS, Silent())
    return dict(made["ran_at"](out).row(status="done"))


def test_the_same_images_have_the_same_scores(made: dict[str, Any], sent: Path, tmp_path: Path) -> None:
    """Bit for bit those of the attack that made them, which lowered the score."""
    row = scored(made, sent, tmp_path / "run")
    before = made["row"]
    assert before["mAP_attacked"] < before["mAP_clean"]
    same = ("mAP_clean", "mAP_attacked", "rank1_attacked", "mINP_attacked", "n_attacked", "n_query")
    assert {name: row[name] for name in same} == {name: before[name] for name in same}
    assert json.loads(row["attack_params"])["finder"] == "A. Finder"
    assert row["flags"].tolist() == []
    assert (row["backwards"], row["linf_max"]) == (0, pytest.approx(2 / 255, abs=1e-6))


def test_what_was_not_prepared_stays_clean(made: dict[str, Any], sent: Path, tmp_path: Path) -> None:
    """With one image of all, the score lies between clean and attacked."""
    manifest = json.loads((sent / "manifest.json").read_text())
    manifest["images"] = manifest["images"][:1]
    (sent / "manifest.json").write_text(json.dumps(manifest))
    row = scored(made, sent, tmp_path / "run")
    assert made["row"]["mAP_attacked"] < row["mAP_attacked"] <= row["mAP_clean"]


def not_an_image(folder: Path) -> None:
    """Put text in the place of an image, under its own digest."""
    (folder / "x.png").write_bytes(b"<script>")
    listed(folder, file="x.png", sha256=hashlib.sha256(b"<script>").hexdigest())


def push(pixels: np.ndarray) -> np.ndarray:
    """A pixel moved by 3 counts more, which the radius of 2/255 does not allow."""
    moved = pixels.astype(np.int64)
    moved[5, 5, 0] += 5 if moved[5, 5, 0] < 128 else -5
    return moved.astype(np.uint8)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "one pixel beyond the radius": (lambda folder: change(folder, push), "beyond the radius 2/255"),
    "another size": (lambda folder: change(folder, lambda pixels: pixels[:-1]), "expected the clean image's size"),
    "grey": (lambda folder: change(folder, lambda pixels: pixels[:, :, 0]), "8-bit RGB PNG"),
    "another file": (lambda folder: listed(folder, sha256="0" * 64), "not the file of its manifest"),
    "a stranger's image": (
        lambda folder: listed(folder, image_id="query/9999_c1s1_000001_00.jpg"),
        "is no query image",
    ),
    "a path outside": (lambda folder: listed(folder, file="../../../etc/passwd"), "expected a file inside the folder"),
    "an absolute path": (lambda folder: listed(folder, file="/etc/passwd"), "expected a file inside the folder"),
    "two sides": (lambda folder: listed(folder, side="gallery"), "images of 2 sides"),
    "no side": (lambda folder: listed(folder, side="both"), "no manifest of attacked images"),
    "no digest": (lambda folder: listed(folder, sha256="abc"), "no manifest of attacked images"),
    "no PNG": (not_an_image, "no whole PNG"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "no manifest of attacked images"),
    "nested without end": (
        lambda folder: (folder / "manifest.json").write_text('{"images":' + "[" * 100_000),
        "no manifest of attacked images",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_as_a_whole(made: dict[str, Any], sent: Path, tmp_path: Path, case: str) -> None:
    """One sentence, and nothing written."""
    spoil, words = REFUSED[case]
    spoil(sent)
    with pytest.raises(InvalidFileError, match=words):
        scored(made, sent, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_link_is_not_followed(made: dict[str, Any], sent: Path, tmp_path: Path) -> None:
    """What a manifest names may lead nowhere else."""
    manifest = json.loads((sent / "manifest.json").read_text())
    file = sent / manifest["images"][0]["file"]
    outside = file.rename(tmp_path / "outside.png")
    file.symlink_to(outside)
    with pytest.raises(InvalidFileError, match="leads outside"):
        scored(made, sent, tmp_path / "run")


def test_the_other_side_is_refused(made: dict[str, Any], sent: Path, grid_file: Any, tiny: Path, crowd: Path) -> None:
    """Queries are no answer where galleries are attacked."""
    grid = load_grid(grid_file(tiny, crowd, side="gallery"))
    with pytest.raises(UserError, match="of the query side"):
        score_prepared(grid, read_prepared(sent), "F", sent / "run", SETTINGS, Silent())
    assert made["row"]["side"] == "query"


def test_a_finder_needs_a_name(made: dict[str, Any], sent: Path) -> None:
    """What pages show is no markup."""
    with pytest.raises(InvalidFileError, match="is no name"):
        score_prepared(load_grid(made["grid"]), read_prepared(sent), "<b>", sent / "run", SETTINGS, Silent())


def test_a_careless_check_would_be_noticed(sent: Path, crowd: Path) -> None:
    """The planted bug: a check that looks at the mean change accepts what one pixel gives away."""
    from fractions import Fraction

    from robustreid.attacks.threat import Threat
    from robustreid.benchmark.datasets.market import read_folder

    data = read_folder("d", crowd)
    threat = Threat(norm="linf", epsilon=Fraction(2, 255))
    before = read_prepared(sent)
    clean = {}
    for name in before.files:
        with Image.open(crowd / name) as image:
            clean[name] = np.asarray(image.convert("RGB"))
    assert check_prepared(before, data, clean, threat) == pytest.approx(2 / 255)
    name = change(sent, push)
    found = read_prepared(sent)
    change_of = np.abs(found.pixels(name).astype(float) - clean[name]) / 255
    assert change_of.mean() <= float(threat.epsilon) < change_of.max()
    with pytest.raises(InvalidFileError, match="beyond the radius"):
        check_prepared(found, data, clean, threat)
