"""`robustreid data ls | check | stats | sample`: what they print, which exit code they give, what they write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from robustreid.benchmark.datasets.catalogue import FORMATS
from robustreid.benchmark.datasets.contact_sheet import CELL, cell_left, cell_top
from robustreid.benchmark.datasets.faces import head_size, loose_height
from robustreid.benchmark.datasets.synthetic.crowd import read_synthetic
from robustreid.benchmark.progress import Silent

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Call = Callable[..., subprocess.CompletedProcess[str]]

MINE = ("mini", "--format", "folder", "--root", "mini")
DRAWN = ("synthetic", "-o", "identities=2", "-o", "distractors=0")


def test_the_list_says_terms_and_status(call: Call) -> None:
    """Every format with its facts; what its authors withdrew says so, as text and as JSON."""
    records = json.loads(call("data", "ls", "--json").stdout)
    assert [record["name"] for record in records] == FORMATS.names()
    assert all(record["summary"] and record["terms"] and record["status"] for record in records)
    by_name = {record["name"]: record for record in records}
    assert by_name["dukemtmc"]["status"].startswith("withdrawn")
    assert by_name["synthetic"]["status"] == "available"
    text = call("data", "ls").stdout
    assert [line.split()[0] for line in text.splitlines() if not line.startswith(" ")] == FORMATS.names()
    paragraph = text[text.index("\ndukemtmc ") :].split("\n    ")
    assert any(line.split() == ["status:", *by_name["dukemtmc"]["status"].split()] for line in paragraph)


def test_a_whole_set_passes(call: Call) -> None:
    """Exit code 0, a line a finding, then terms and status; JSON has the same findings."""
    done = call("data", "check", *MINE)
    assert done.returncode == 0, done.stdout
    *findings, terms, status = done.stdout.splitlines()
    assert {line.split()[0] for line in findings} <= {"ok", "warning"}
    assert (terms, status) == ("terms: your own", "status: available")
    records = json.loads(call("data", "check", *MINE, "--json").stdout)
    assert [f"{record['severity']:<7}  {record['text']}" for record in records] == findings
    assert {record["name"] for record in records} == {"mini"}


def test_a_broken_image_is_an_error(call: Call, bench: Path) -> None:
    """Exit code 4, and the file is named; as JSON too."""
    file = bench / "mini" / "query" / "0002_c1s1_000001_00.png"
    file.write_bytes(file.read_bytes()[:60])
    done = call("data", "check", *MINE)
    assert done.returncode == 4
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("error")]
    assert "0002_c1s1_000001_00.png" in line
    assert call("data", "check", *MINE, "--json").returncode == 4


def test_a_withdrawn_set_says_so(call: Call) -> None:
    """In the findings, and on the line of its status; a part of it has not the published counts."""
    done = call("data", "check", "dukemtmc", "--root", "mini")
    assert done.returncode == 4
    assert "DukeMTMC-reID was withdrawn" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("status: withdrawn")
    assert any(line.startswith("error") and "published" in line for line in done.stdout.splitlines())


def test_statistics_of_a_drawn_set(call: Call) -> None:
    """Needs no root; the protocol and other options decide who is in it."""
    done = call("data", "stats", *DRAWN, "--protocol", "llcm-v2i", "--json")
    (found,) = json.loads(done.stdout)
    assert done.returncode == 0
    assert (found["name"], found["protocol"], found["images"]) == ("synthetic", "llcm-v2i", 2 * (4 + 3) * 3)
    assert found["sides"]["gallery"]["modalities"] == ["infrared"]
    text = call("data", "stats", *DRAWN).stdout
    assert text.startswith("synthetic: 16 images of 2 people by 4 cameras; protocol market (version 1), 1 trial\n")


def cell(sheet: NDArray[np.uint8], row: int, column: int) -> NDArray[np.uint8]:
    """One query image of a sheet, (192, 96, 3)."""
    top, left = cell_top(row), cell_left("query", column)
    return sheet[top : top + CELL[0], left : left + CELL[1]]


def enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image as large as a cell."""
    return np.asarray(Image.fromarray(pixels).resize(CELL[::-1], Image.Resampling.BICUBIC))


def head_is_kept(shown: NDArray[np.uint8], original: NDArray[np.uint8]) -> bool:
    """Whether the head region of a cell follows that of the original closely enough to know somebody by it."""
    height, _ = head_size(shown)
    height -= 4  # the seam is drawn from both sides when the image is enlarged
    one, other = (
        np.diff(np.asarray(pixels[:height], dtype=np.float64), 2, axis=1).ravel() for pixels in (shown, original)
    )
    return float(np.linalg.norm(one)) > 0.2 * float(np.linalg.norm(other))


@pytest.fixture
def as_folder(bench: Path) -> Path:
    """Drawn people as a folder of somebody's: to the tool they are real."""
    data = read_synthetic("x", reporter=Silent(), identities=2, distractors=0)
    (bench / "people").symlink_to(data.root)
    return bench / "people"


def test_heads_of_real_people_are_gone(call: Call, bench: Path, as_folder: Path) -> None:
    """By default; with --show-faces, and of drawn people, they are there.

    Planted: the very check that passes the blurred sheet rejects the one with faces.
    """
    folder = ("people", "--format", "folder", "--root", "people", "--people", "2")
    for out, words in (
        ("blurred.png", folder),
        ("faces.png", (*folder, "--show-faces")),
        ("drawn.png", DRAWN),
    ):
        done = call("data", "sample", *words, "--out", out)
        assert (done.returncode, done.stdout) == (0, f"{out}\n"), done.stderr
    blurred, faces, drawn = (np.asarray(Image.open(bench / f"{n}.png")) for n in ("blurred", "faces", "drawn"))
    for row, person in enumerate((1, 2)):
        for column, camera in enumerate((1, 2, 3, 4)):
            file = as_folder / "query" / f"{person:04d}_c{camera}s1_000000_00.bmp"
            original = enlarged(np.asarray(Image.open(file)))
            assert not head_is_kept(cell(blurred, row, column), original)
            assert head_is_kept(cell(faces, row, column), original)
            assert head_is_kept(cell(drawn, row, column), original)
            below = loose_height(original) + 4
            assert np.array_equal(cell(blurred, row, column)[below:], original[below:])


def test_a_sheet_tells_the_terms_and_is_never_overwritten(call: Call, bench: Path) -> None:
    """Terms on standard error; the default name; a second time exit code 2 and the same file."""
    done = call("data", "sample", *MINE, "--people", "1")
    assert (done.returncode, done.stdout) == (0, "mini-sample.png\n")
    assert "terms: your own\nstatus: available\n" in done.stderr
    before = (bench / "mini-sample.png").read_bytes()
    again = call("data", "sample", *MINE)
    assert (again.returncode, again.stdout) == (2, "")
    assert "is there already and stays as it is" in again.stderr
    assert (bench / "mini-sample.png").read_bytes() == before
    call("data", "sample", *MINE, "--people", "1", "--out", "twice.png")
    assert (bench / "twice.png").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("stats", "synthetik"), "Unknown data set 'synthetik'. Did you mean 'synthetic'?"),
        (("stats", "mini", "--format", "foldr", "--root", "mini"), "Unknown data set format 'foldr'. Did you mean"),
        (("stats", "market1501"), "needs a `root`"),
        (("stats", "synthetic", "--root", "mini"), "takes no `root`"),
        (("stats", *MINE, "-o", "identities=2"), "takes no `identities`"),
        (("stats", "synthetic", "-o", "identities"), "is not KEY=VALUE"),
        (("stats", "synthetic", "-o", "seed=1", "-o", "seed=2"), "'seed' is given twice"),
        (("stats", "synthetic", "--protocol", "sysu-al"), "Did you mean 'sysu-all'?"),
        (("stats", "synthetic", "--protocol", "market", "-o", "protocol=cuhk01"), "The protocol is given twice"),
        (("stats", "synthetic", "--protocol", "sysu-all", "-o", "distractors=2"), "takes no distractors"),
        (("check", "synthetic"), "there is nothing to check"),
        (("check", "mini", "--format", "folder", "--root", "nowhere"), "nowhere"),
        (("sample", "mini", "--format", "folder", "--root", "nowhere"), "nowhere"),
    ],
)
def test_wrong_requests_are_one_sentence(refused: Callable[..., str], arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2, nothing on standard output, nothing written."""
    assert said in refused(2, "data", *arguments)


def test_an_image_that_does_not_decode_leaves_no_sheet(call: Call, bench: Path) -> None:
    """Exit code 4, the file is named."""
    for file in (bench / "mini" / "query").iterdir():
        file.write_bytes(file.read_bytes()[:60])
    done = call("data", "sample", *MINE)
    assert (done.returncode, done.stdout) == (4, "")
    assert "is not a readable image" in done.stderr
    assert not (bench / "mini-sample.png").exists()


@pytest.mark.parametrize("name", ["ls", "check", "stats", "sample"])
def test_every_help_of_data_teaches(call: Call, name: str) -> None:
    """Examples, a command a line, and what each exit code means."""
    text = call("data", name, "--help").stdout
    assert f"\n    robustreid data {name}" in text
    assert "Exit codes: 0" in text
