"""Faces on pages: real people are blurred past recovery unless somebody asks otherwise, drawn ones are as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from robustreid.benchmark.api import run
from robustreid.benchmark.cli import main
from robustreid.benchmark.datasets.catalogue import DRAWN
from robustreid.benchmark.datasets.faces import head_size, loose_height
from robustreid.reports import datasets
from robustreid.reports.rankings import MAGNIFIED, read_rankings
from robustreid.reports.site import build_site

Pixels = NDArray[np.uint8]
GRID = """name: faces
models: [tiny]
datasets: [{data}]
attacks: [ama-fgsm]
epsilons: [8/255]
side: [query]
"""


def ranked(folder: Path, data: str) -> Path:
    """A run that keeps the lists of two people."""
    grid = folder / "grid.yml"
    grid.write_text(GRID.format(data=data))
    return Path(run(grid, folder / "run", keep_images=2).path)


@pytest.fixture(scope="module")
def real_run(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of twelve people of Market-1501, in a folder of their own."""
    folder = tmp_path_factory.mktemp("real")
    for name in ("query", "bounding_box_test"):
        (folder / "data" / name).mkdir(parents=True)
        found = sorted((real_data / "market1501-mini" / name).glob("[0-9]*.jpg"))
        people = sorted({file.name[:4] for file in found} - {"0000"})[:12]
        for file in found:
            if file.name[:4] in people and (name == "query" or file.name[5:9] in {"c1s1", "c2s1", "c3s1"}):
                (folder / "data" / name / file.name).symlink_to(file)
    return ranked(folder, f"{{name: mine, format: folder, root: '{folder / 'data'}'}}")


@pytest.fixture(scope="module")
def drawn_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of people whom the package draws, under a label that says otherwise."""
    data = "{name: market1501, format: synthetic, identities: 6, distractors: 0}"
    return ranked(tmp_path_factory.mktemp("drawn"), data)


class Recorder:
    """In place of a site's images: keeps what is put there by the order in which it comes."""

    def __init__(self) -> None:
        self.shown: list[bytes] = []

    def add(self, content: bytes) -> str:
        self.shown.append(content)
        return f"images/{len(self.shown)}.png"


def originals(folder: Path) -> list[Pixels]:
    """Every image that a cell's lists name, in the order in which pages take them: clean, attacked, magnified."""

    def pixels(name: str) -> Pixels:
        return np.asarray(Image.open(folder / name).convert("RGB"))

    found = []
    for query in json.loads((folder / "rankings.json").read_text())["queries"]:
        for entry in (query, *query["before"], *query["after"]):
            clean = pixels(entry["clean_file"])
            found.append(clean)
            if entry["attacked_file"]:
                attacked = pixels(entry["attacked_file"])
                change = attacked.astype(np.int64) - clean
                found += [attacked, np.clip(128 + MAGNIFIED * change, 0, 255).astype(np.uint8)]
    return found


def images_of(site: Path, folder: Path) -> Iterator[tuple[Pixels, Pixels]]:
    """What a site shows, beside the original."""
    page = next((site / "rankings").glob("*.html")).read_text()
    by_path = {f"images/{file.name}": np.asarray(Image.open(file)) for file in (site / "images").iterdir()}
    assert all(path in page for path in by_path)
    remaining = list(by_path.values())
    for original in originals(folder):
        height = loose_height(original)
        # Below the head nothing changes, so that tells which of the shown ones it became.
        same = [
            shown
            for shown in remaining
            if shown.shape == original.shape and np.array_equal(shown[height:], original[height:])
        ]
        assert same
        yield same[0], original


def detail(region: Pixels) -> NDArray[np.float64]:
    """How colours bend from pixel to pixel: large where there are edges, small in smooth shades."""
    return np.diff(region.astype(np.float64), 2, axis=1)


def faces_shown(site: Path, folder: Path) -> int:
    """On how many images of a site details of the head are left."""
    count = 0
    for shown, original in images_of(site, folder):
        height, _ = head_size(original)
        one, other = detail(shown[:height]), detail(original[:height])
        likeness = float(np.corrcoef(one.ravel(), other.ravel())[0, 1]) if one.std() else 0.0
        assert other.std() > 4  # grey levels: there is something to hide
        count += bool(one.std() > max(0.1 * other.std(), 1.5) or likeness > 0.2)  # rounding alone comes to 0.9
    return count


def cell_folder(run_path: Path) -> Path:
    """Where the images of its only cell lie."""
    (folder,) = (run_path / "images").iterdir()
    return folder


def test_heads_of_real_people_are_gone(real_run: Path, tmp_path: Path) -> None:
    """Clean, attacked and magnified, on every list; the page says so."""
    folder = cell_folder(real_run)
    assert json.loads((folder / "rankings.json").read_text())["is_drawn"] is False
    site = build_site([real_run], tmp_path / "site").parent
    assert len(originals(folder)) > 20
    assert faces_shown(site, folder) == 0
    page = next((site / "rankings").glob("*.html")).read_text()
    assert "Heads are blurred" in page
    assert "Faces are shown" not in page


def test_an_unblurred_page_is_seen(real_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: the same check finds a face on every image of a site that forgets to blur."""
    monkeypatch.setattr("robustreid.reports.rankings.blurred", lambda pixels: pixels)
    site = build_site([real_run], tmp_path / "site").parent
    folder = cell_folder(real_run)
    assert faces_shown(site, folder) == len(originals(folder))


def test_somebody_can_ask_for_faces(real_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line, for their own use; the page warns."""
    out = tmp_path / "site"
    assert main(["report", str(real_run), "--out", str(out), "--show-faces"]) == 0
    folder = cell_folder(real_run)
    assert faces_shown(out, folder) == len(originals(folder))
    assert "never publish it" in next((out / "rankings").glob("*.html")).read_text()
    capsys.readouterr()
    assert main(["report", "--help"]) == 0
    assert "never for publication" in " ".join(capsys.readouterr().out.split())


def test_drawn_people_are_as_they_are(drawn_run: Path, tmp_path: Path) -> None:
    """Whatever their set is called; nothing about faces is said."""
    site = build_site([drawn_run], tmp_path / "site").parent
    assert all(np.array_equal(shown, original) for shown, original in images_of(site, cell_folder(drawn_run)))
    page = next((site / "rankings").glob("*.html")).read_text()
    assert "Heads are blurred" not in page
    assert "Faces are shown" not in page


@pytest.mark.parametrize(
    "change",
    [
        lambda content: {k: v for k, v in content.items() if k != "is_drawn"},
        lambda content: {**content, "is_drawn": False},
    ],
)
def test_a_file_that_does_not_say_is_about_real_people(
    drawn_run: Path, tmp_path: Path, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> None:
    """As those of older runs are."""
    folder = shutil.copytree(cell_folder(drawn_run), tmp_path / cell_folder(drawn_run).name)
    file = folder / "rankings.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    store: Any = Recorder()
    found = read_rankings(folder, folder.name, store)
    assert found is not None
    assert found.faces == "blurred"
    assert len(store.shown) == len(originals(folder))


def test_the_drawn_format_is_the_catalogues() -> None:
    """Pages need no torch, so they name it themselves."""
    assert {datasets._DRAWN} == set(DRAWN)
