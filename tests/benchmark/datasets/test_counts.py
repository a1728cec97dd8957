"""Published counts: what they are, that a whole set passes, and that any other is refused unless that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from robustreid import InvalidFileError
from robustreid.benchmark.datasets import counts
from robustreid.benchmark.datasets.catalogue import open_dataset
from robustreid.benchmark.datasets.counts import OFFICIAL, counted

#: (images, identities) of query, gallery, train, and the number of cameras, from the sources that `counts` names.
PUBLISHED = {
    "market1501": ((3368, 750), (19732, 750), (12936, 751), 6),
    "dukemtmc": ((2228, 702), (17661, 1110), (16522, 702), 8),
    "occluded-duke": ((2210, 519), (17661, 1110), (15618, 702), 8),
    "cuhk03 detected": ((1400, 700), (5332, 700), (7365, 767), 2),
    "cuhk03 labeled": ((1400, 700), (5328, 700), (7368, 767), 2),
    "cuhk01": ((1942, 971), (1942, 971), None, 2),
    "msmt17": ((11659, None), (82161, None), (30248, None), 15),
    "viper": ((632, 632), (632, 632), None, 2),
    "sysu sysu-all": ((3803, 96), None, None, 6),
    "sysu sysu-indoor": ((3803, 96), None, None, 4),
    "llcm llcm-v2i": ((None, 351), (None, 351), None, 9),
    "regdb": (None, None, None, 2),
}


def test_what_was_published() -> None:
    """Number by number."""
    for name, (*parts, n_cameras) in PUBLISHED.items():
        found = OFFICIAL[name]
        assert len(found.cameras) == n_cameras
        for part, expected in zip(("query", "gallery", "train"), parts, strict=True):
            count = found.parts.get(part)
            assert (None if count is None else (count.images, count.identities)) == expected
    half = counts.Count(images=2060, identities=206)
    assert OFFICIAL["regdb"].parts["query of a trial"] == OFFICIAL["regdb"].parts["gallery of a trial"] == half
    assert OFFICIAL["regdb"].parts["train of a trial"] == counts.Count(images=4120, identities=206)
    for name in ("sysu-all", "sysu-indoor", "sysu-all-multi-shot", "sysu-indoor-multi-shot"):
        assert OFFICIAL[f"sysu {name}"].parts["train, visible"] == counts.Count(images=22258, identities=395)
        assert OFFICIAL[f"sysu {name}"].parts["train, infrared"] == counts.Count(images=11909, identities=395)
    assert OFFICIAL["sysu sysu-indoor"].cameras == {1, 2, 3, 6}


def touch(root: Path, paths: Iterable[str]) -> None:
    """Empty files: readers go by names."""
    made = set()
    for path in paths:
        file = root / path
        if file.parent not in made:
            file.parent.mkdir(parents=True, exist_ok=True)
            made.add(file.parent)
        file.touch()


def spread(n_images: int, n_people: int) -> list[tuple[int, int]]:
    """(person from 1, number of the image) so often."""
    return [(1 + index % n_people, index) for index in range(n_images)]


def whole_duke(root: Path) -> None:
    """By name."""
    for folder, n_images, n_people in (("query", 2228, 702), ("bounding_box_test", 17661, 1110)):
        touch(root, (f"{folder}/{who:04d}_c{1 + n % 8}_f{n:07d}.jpg" for who, n in spread(n_images, n_people)))


def whole_cuhk03(root: Path) -> None:
    """The detected boxes."""
    for folder, n_images in (("query", 1400), ("bounding_box_test", 5332)):
        named = (f"{1 + who % 5}_{who:03d}_{1 + n % 2}_{n:02d}.png" for who, n in spread(n_images, 700))
        touch(root, (f"detected/{folder}/{name}" for name in named))


def whole_sysu(root: Path) -> None:
    """The people tested on; 96 of them, 3,803 images in infrared."""
    touch(root, (f"cam{3 + 3 * (n % 2)}/{who:04d}/{n:04d}.jpg" for who, n in spread(3803, 96)))
    touch(root, (f"cam{camera}/{who:04d}/0001.jpg" for who in range(1, 97) for camera in (1, 2, 4, 5)))
    (root / "exp").mkdir()
    (root / "exp/test_id.txt").write_text(",".join(map(str, range(1, 97))))


def whole_llcm(root: Path) -> None:
    """The people tested on, one image each by each camera."""
    for word, cameras in (("vis", range(1, 10)), ("nir", (1, 2, 4, 5, 6, 7, 8, 9))):
        touch(root, (f"test_{word}/cam{camera}/{who:04d}/1.jpg" for who in range(1, 352) for camera in cameras))
    (root / "idx").mkdir()
    (root / "idx/test_id.txt").write_text(",".join(map(str, range(1, 352))))


def whole_cuhk01(root: Path) -> None:
    """All of it."""
    touch(root, (f"campus/{who:04d}{shot:03d}.png" for who in range(1, 972) for shot in range(1, 5)))


def whole_viper(root: Path) -> None:
    """All of it."""
    touch(root, (f"{folder}/{who:03d}_45.bmp" for who in range(632) for folder in ("cam_a", "cam_b")))


def whole_regdb(root: Path) -> None:
    """412 people, ten images each in both kinds of light."""
    paths = {
        word: [[f"{word}/{who}/{shot}_{who}.bmp" for shot in range(10)] for who in range(1, 413)]
        for word in ("Visible", "Thermal")
    }
    (root / "idx").mkdir(parents=True)
    for word, people in paths.items():
        touch(root, (path for found in people for path in found))
        for number in range(1, 11):
            for part, half in (
                ("test", people[number : number + 206]),
                ("train", people[:number] + people[number + 206 :]),
            ):
                lines = [f"{path} {label}" for label, found in enumerate(half) for path in found]
                (root / f"idx/{part}_{word.lower()}_{number}.txt").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("layout", "write", "gone"),
    [
        pytest.param("dukemtmc", whole_duke, "query/0001_c1_f0000000.jpg", marks=pytest.mark.slow),
        ("cuhk03", whole_cuhk03, "detected/bounding_box_test/2_001_1_00.png"),
        ("cuhk01", whole_cuhk01, "campus/0001003.png"),
        ("viper", whole_viper, "cam_b/000_45.bmp"),
        ("sysu", whole_sysu, "cam3/0001/0000.jpg"),
        ("llcm", whole_llcm, None),
        ("regdb", whole_regdb, None),
    ],
)
def test_a_whole_set_passes_and_a_part_is_refused(
    layout: str, write: Callable[[Path], None], gone: str | None, tmp_path: Path
) -> None:
    """One image less is told with both counts, and `verify: false` takes it."""
    write(tmp_path)
    data = open_dataset("whole", layout, tmp_path)
    assert len(data.paths) > 1000
    if gone is not None:
        (tmp_path / gone).unlink()
    elif layout == "llcm":
        (tmp_path / "idx/test_id.txt").write_text(",".join(map(str, range(1, 351))))
    else:
        file = tmp_path / "idx/test_thermal_4.txt"
        file.write_text("\n".join(file.read_text().splitlines()[:-1]))
    with pytest.raises(InvalidFileError, match=r"holds \d+ images of \d+ identities, but .* has .*`verify: false`"):
        open_dataset("part", layout, tmp_path)
    part = open_dataset("part", layout, tmp_path, {"verify": False})
    assert len(part.paths) < len(data.paths) or layout == "regdb"


@pytest.mark.parametrize(
    ("layout", "variant"),
    [
        (name.partition(" ")[0], name.partition(" ")[2])
        for name in OFFICIAL
        if "multi" not in name and "label" not in name
    ],
)
def test_other_cameras_are_refused(
    layout: str, variant: str, drawn: Callable[[str], Path], layouts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own counts as the published ones a small set passes; with a camera more among those it does not."""
    options = {"protocol": variant} if layout in {"sysu", "llcm"} else {}
    root = drawn(layout)
    data = layouts.opened(root, layout, **options)
    own = {name: counted(found[0]) for name, found in counts.parts_of(data).items() if found and "later" not in name}
    cameras = counts.cameras_of(data)
    name = f"{layout} {variant}".strip()
    for known, passes in ((cameras, True), (cameras | {99}, False), (cameras - {1}, False)):
        published = counts.Official(title="The set", parts=own, cameras=known)
        monkeypatch.setitem(OFFICIAL, name, published)
        if passes:
            assert open_dataset("x", layout, root, options).paths == data.paths
        else:
            with pytest.raises(InvalidFileError, match=r"are by the cameras .*, but The set has .*`verify: false`"):
                open_dataset("x", layout, root, options)


@pytest.mark.parametrize(
    ("layout", "part"), [("market1501", "train"), ("msmt17", "train"), ("sysu", "train, infrared")]
)
def test_training_images_are_counted_too(
    layout: str, part: str, drawn: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, layouts: Any
) -> None:
    """Where they are there."""
    root = drawn(layout)
    data = layouts.opened(root, layout)
    name = "sysu sysu-all" if layout == "sysu" else layout
    wrong = {part: counts.Count(images=7777, identities=None)}
    published = counts.Official(title="The set", parts=wrong, cameras=counts.cameras_of(data))
    monkeypatch.setitem(OFFICIAL, name, published)
    with pytest.raises(InvalidFileError, match=rf"but The set has 7777 images there \({part}\)"):
        open_dataset("x", layout, root)


def test_numbers_without_gaps_are_a_range() -> None:
    """As people say them."""
    assert [counts.numbers(frozenset(v)) for v in ({1, 2, 3}, {1, 2}, {1, 2, 3, 6})] == ["1 to 3", "1, 2", "1, 2, 3, 6"]
