"""What happens to data sets on disks: none of it changes what is read, or else one sentence says what to do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid import InvalidFileError, UserError
from robustreid.benchmark.datasets.check import check_dataset
from robustreid.benchmark.datasets.decoded import decode
from robustreid.benchmark.datasets.manifest import read_manifest
from robustreid.benchmark.datasets.retrieval import RetrievalSet
from robustreid.benchmark.datasets.training import SPLIT, read_training

FORMATS = (
    *("market1501", "dukemtmc", "occluded-duke", "cuhk03", "cuhk01", "msmt17"),
    *("viper", "sysu", "regdb", "llcm", "table"),
)
#: What the authors' archives unpack to.
FOLDERS = {
    "market1501": "Market-1501-v15.09.15",
    "dukemtmc": "DukeMTMC-reID",
    "occluded-duke": "Occluded_Duke",
    "cuhk03": "cuhk03-np",
    "cuhk01": "CUHK01",
    "msmt17": "MSMT17_V2",
    "viper": "VIPeR",
    "sysu": "SYSU-MM01",
    "regdb": "RegDB",
    "llcm": "LLCM",
}
LISTED = ("msmt17", "regdb", "table", "cuhk03_mat")

Copied = Callable[..., Path]


def content(data: RetrievalSet) -> Any:
    """All that a set says, suffixes in small letters."""
    sides = [
        ([path.lower() for path in side.paths], *(column.tolist() for column in (side.identities, side.cameras)))
        for side in (data.query, data.gallery)
    ]
    light = [side.modalities.tolist() for side in (data.query, data.gallery)]
    return sides, light, [(trial.query.tolist(), trial.gallery.tolist()) for trial in data.trials]


def in_another_folder(root: Path, layout: str, layouts: Any) -> None:
    """One folder too many, of any name."""
    whole = root.with_name("whole")
    root.rename(whole)
    (root / "data").mkdir(parents=True)
    whole.rename(root / "data/unpacked")
    (root / "__MACOSX").mkdir()
    (root / "readme.txt").touch()


def among_others(root: Path, layout: str, layouts: Any) -> None:
    """The authors' folder, beside others."""
    whole = root.with_name("whole")
    root.rename(whole)
    (root / "another").mkdir(parents=True)
    whole.rename(root / FOLDERS[layout])


def litter(root: Path, layout: str, layouts: Any) -> None:
    """What Windows and macOS leave in every folder."""
    for folder in [root, *(place for place in root.rglob("*") if place.is_dir())]:
        for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._0001_c1s1_1.jpg", ".hidden.png"):
            (folder / name).touch()


def in_capitals(root: Path, layout: str, layouts: Any) -> None:
    """Suffixes in other letters than lists have."""
    for file in [file for file in root.rglob("*") if file.suffix in {".jpg", ".png", ".bmp"}]:
        file.rename(file.with_suffix(file.suffix.upper()))


def lists_of_windows(root: Path, layout: str, layouts: Any) -> None:
    """A byte order mark, carriage returns, blank lines at the end; in lists of paths also backslashes."""
    for file in [file for file in root.rglob("*") if file.suffix in {".txt", ".csv"}]:
        text = file.read_text(encoding="utf-8")
        text = text if file.suffix == ".csv" else text.replace("/", "\\")
        file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n \r\n\r\n")


def links_in_circles(root: Path, layout: str, layouts: Any) -> None:
    """Folders that link to themselves and to what is above them."""
    for folder in [root, *(place for place in root.rglob("*") if place.is_dir() and not place.is_symlink())]:
        (folder / "loop").symlink_to(folder, target_is_directory=True)
        (folder / "circle").symlink_to("circle")


def linked(root: Path, layout: str, layouts: Any) -> None:
    """Every image a link to a store elsewhere."""
    store = root.with_name("store")
    store.mkdir()
    for number, file in enumerate([f for f in root.rglob("*") if f.suffix in {".jpg", ".png", ".bmp"}]):
        file.rename(store / str(number))
        file.symlink_to(store / str(number))


HARMLESS = (in_another_folder, among_others, litter, in_capitals, lists_of_windows, links_in_circles, linked)


@pytest.mark.parametrize(
    ("layout", "accident"),
    [
        (layout, accident)
        for layout in FORMATS
        for accident in HARMLESS
        # A table is named itself, or is the only one in its folder.
        if layout != "table" or accident not in {in_another_folder, among_others}
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_accidents_change_nothing(layout: str, accident: Callable[..., None], copied: Copied, layouts: Any) -> None:
    """The same people, cameras and trials, in the test part and in the training part."""
    root = copied(layout)
    given = {"trial": 2} if layout in SPLIT else {}
    whole, learnt = content(layouts.opened(root, layout)), read_training(layout, root, given)
    accident(root, layout, layouts)
    assert content(layouts.opened(root, layout)) == whole
    found = read_training(layout, root, given)
    assert found.identities.tolist() == learnt.identities.tolist()
    assert all((root / path).is_file() for path in found.paths)


@pytest.mark.parametrize("layout", FORMATS)
def test_folders_of_any_alphabet(layout: str, copied: Copied, layouts: Any) -> None:
    """And nothing is written beside or below a data set: it may be on a medium that cannot be written."""
    root = copied(layout, "\u00fcber \u4eba [re-ID] \u05d0\U0001f6b6")
    before = {file: file.stat().st_mtime_ns for file in sorted(root.rglob("*"))}
    places = [root, *(place for place in before if place.is_dir())]
    for place in places:
        place.chmod(0o555)
    try:
        data = layouts.opened(root, layout)
        assert all((data.root / path).is_file() for path in data.paths)
        assert not [found for found in check_dataset(layout, root, UNVERIFIED[layout]) if found.severity == "error"]
    finally:
        for place in places:
            place.chmod(0o755)
    assert {file: file.stat().st_mtime_ns for file in sorted(root.rglob("*"))} == before


UNVERIFIED: dict[str, dict[str, bool]] = {layout: {"verify": False} for layout in FORMATS} | {"table": {}}


@pytest.mark.parametrize("layout", FORMATS)
def test_a_cut_off_image_is_named(layout: str, copied: Copied, layouts: Any) -> None:
    """The set opens, since names say it all; decoding tells the file, and so does `check`."""
    root = copied(layout)
    data = layouts.opened(root, layout)
    file = data.root / data.gallery.paths[-1]
    file.write_bytes(file.read_bytes()[:-40] if file.suffix != ".bmp" else file.read_bytes()[:-4000])
    assert content(layouts.opened(root, layout)) == content(data)
    with pytest.raises(InvalidFileError, match="is not a readable image") as caught:
        decode(data, read_manifest(data))
    assert file.name in str(caught.value)
    told = [found.text for found in check_dataset(layout, root, UNVERIFIED[layout]) if found.severity == "error"]
    assert len(told) == 1
    assert str(file) in told[0]


@pytest.mark.parametrize("name", LISTED)
def test_listed_but_absent(name: str, copied: Copied, layouts: Any) -> None:
    """How many, and the first; `check` goes on with the others."""
    layout = name.partition("_")[0]
    root = copied(name)
    data = layouts.opened(root, layout)
    for path in data.gallery.paths[:2]:
        (data.root / path).unlink()
    with pytest.raises(InvalidFileError, match=r"names [12] images that are not there, the first is") as caught:
        layouts.opened(root, layout)
    assert any(Path(path).name in str(caught.value) for path in data.gallery.paths[:2])
    findings = check_dataset(layout, root, UNVERIFIED[layout])
    told = [found.text for found in findings if found.severity == "error"]
    assert told
    assert all("are not there" in text for text in told)
    assert any(found.text.startswith("files: all") for found in findings)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("target", ["nowhere.jpg", "self"])
def test_a_link_that_leads_nowhere_is_named(layout: str, target: str, copied: Copied, layouts: Any) -> None:
    """Gone, or in a circle; `check` says it beside everything else."""
    root = copied(layout)
    data = layouts.opened(root, layout)
    file = data.root / data.query.paths[0]
    file.unlink()
    file.symlink_to(file.name if target == "self" else target)
    reason = "Too many levels of symbolic links" if target == "self" else "No such file or directory"
    with pytest.raises(InvalidFileError, match=f"cannot be read: {reason}; restore it or remove it") as caught:
        layouts.opened(root, layout)
    assert file.name in str(caught.value)
    told = [found.text for found in check_dataset(layout, root, UNVERIFIED[layout]) if found.severity == "error"]
    assert any(reason in text and file.name in text for text in told)


@pytest.mark.parametrize("layout", [name for name in FORMATS if name != "table"])
def test_no_such_layout(layout: str, layouts: Any, tmp_path: Path) -> None:
    """No folder, an empty one, one of another set, one that links to itself without end."""
    with pytest.raises(UserError, match=r"there is no folder '.*absent'; give the folder that holds"):
        layouts.opened(tmp_path / "absent", layout)
    for number, others in enumerate([(), ("one", "two"), ("exp2",)]):
        root = tmp_path / str(number)
        for other in others:
            (root / other).mkdir(parents=True)
        root.mkdir(exist_ok=True)
        if others == ("exp2",):
            (root / "exp2/again").symlink_to(root, target_is_directory=True)
        with pytest.raises(UserError, match="; expected "):
            layouts.opened(root, layout)


@pytest.mark.parametrize(
    ("layout", "name"),
    [("sysu", "exp/test_id.txt"), ("regdb", "idx/test_thermal_7.txt"), ("llcm", "idx/test_id.txt")],
)
def test_a_list_that_is_no_list(layout: str, name: str, copied: Copied, layouts: Any) -> None:
    """Absent, empty, of words, no text: each says which list, and what was expected."""
    root = copied(layout)
    for text, told in (
        (b"", "expected|restore"),
        (b"\xff\xfe1,2", "is no UTF-8 text"),
        (b"a, b\n", "line 1: expected"),
    ):
        (root / name).write_bytes(text)
        with pytest.raises(InvalidFileError, match=told) as caught:
            layouts.opened(root, layout)
        assert name.replace("/", os.sep) in str(caught.value)
    (root / name).unlink()
    with pytest.raises(UserError, match=f"There is no list '.*{Path(name).name}', which comes with the data set"):
        layouts.opened(root, layout)


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_name_that_is_no_text(copied: Copied, layouts: Any) -> None:
    """Named as well as can be, since no report could print it."""
    root = copied("market1501")
    try:
        shutil.copy(
            root / "query/0001_c1s1_000001_00.jpg", os.fsdecode(os.fsencode(root) + b"/query/0001_c1s1_\xff.jpg")
        )
    except OSError:
        pytest.skip("this file system refuses such names")
    with pytest.raises(InvalidFileError, match=r"The name of '0001_c1s1_.*' in '.*query' is no UTF-8 text"):
        layouts.opened(root, "market1501")


def test_a_folder_called_like_an_image(copied: Copied, layouts: Any) -> None:
    """Is no image that can be passed over: the set would be smaller without a word."""
    root = copied("sysu")
    (root / "cam3/0007/more.jpg").mkdir()
    with pytest.raises(InvalidFileError, match=r"more.jpg' cannot be read: Is a directory; restore it or remove it"):
        layouts.opened(root, "sysu")
