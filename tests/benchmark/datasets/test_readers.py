"""What each reader says of the images of its set: who, by which camera, in what light, and which trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid import InvalidFileError, UserError
from robustreid.benchmark.datasets import cuhk, msmt17
from robustreid.benchmark.datasets.assembly import PERSON_ZERO, halves
from robustreid.benchmark.datasets.retrieval import RetrievalSet

Drawn = Callable[[str], Path]


@pytest.mark.parametrize("layout", ["market1501", "dukemtmc", "occluded-duke"])
def test_the_market_family(layouts: Any, drawn: Drawn, layout: str) -> None:
    """Both sides, junk and distractors among them; no trials but the one of everything."""
    root = drawn(layout)
    data = layouts.opened(root, layout)
    for folder, images in (("query", data.query), ("bounding_box_test", data.gallery)):
        truth = {}
        for path in layouts.files(root, f"{folder}/*.jpg"):
            who, camera = path.split("/")[1].split("_")[:2]
            truth[path] = (int(who), int(camera[1]), "visible")
        assert layouts.labels(images) == truth
    assert (data.trials, data.protocol.name, data.format, data.root) == ((), "market", layout, root)


def test_the_distractors_that_came_later(layouts: Any, drawn: Drawn) -> None:
    """They are nobody, whatever their names say, and belong to the gallery only when asked for."""
    root = drawn("market1501_500k")
    plain, wide = layouts.opened(root, "market1501"), layouts.opened(root, "market1501", with_500k=True)
    added = {path: who for path, who in layouts.labels(wide.gallery).items() if path.startswith("images/")}
    assert len(wide.gallery) - len(plain.gallery) == len(added) == 5
    assert {who for who, _, _ in added.values()} == {0}
    assert {camera for _, camera, _ in added.values()} == {1, 2, 3, 4, 6}
    assert layouts.labels(plain.gallery).items() <= layouts.labels(wide.gallery).items()
    with pytest.raises(UserError, match="has no folder 'images'"):
        layouts.opened(drawn("market1501"), "market1501", with_500k=True)


@pytest.mark.parametrize("boxes", ["detected", "labeled"])
def test_cuhk03_is_the_same_by_both_routes(layouts: Any, drawn: Drawn, boxes: str) -> None:
    """Folders and indices tell the same people and cameras apart; people of two pairs of cameras are never one."""
    by_folder, by_mat = (layouts.opened(drawn(name), "cuhk03", boxes=boxes) for name in ("cuhk03", "cuhk03_mat"))
    for one, other in ((by_folder.query, by_mat.query), (by_folder.gallery, by_mat.gallery)):
        assert [Path(path).name for path in one.paths] == [Path(path).name for path in other.paths]
        assert one.cameras.tolist() == other.cameras.tolist() == [int(Path(p).name[6]) for p in one.paths]
        assert len(set(zip(one.identities.tolist(), other.identities.tolist(), strict=True))) == 3
        assert len(set(one.identities.tolist())) == len({Path(path).name[:5] for path in one.paths}) == 3
    assert all(path.startswith(f"{boxes}/") for path in by_folder.paths)
    assert all(path.startswith(f"images_{boxes}/") for path in by_mat.paths)
    assert by_mat.protocol.name == "cuhk03-np"


def test_cuhk03_in_the_manner_of_market(layouts: Any, copied: Callable[..., Path]) -> None:
    """The published folders name files so; the default is the detected boxes."""
    root = copied("cuhk03")
    file = root / "detected/query/1_003_1_01.png"
    file.rename(file.with_name("0003_c1_1.png"))
    assert layouts.labels(layouts.opened(root, "cuhk03").query)["detected/query/0003_c1_1.png"] == (3, 1, "visible")
    file.with_name("0003_c1_1.png").rename(file.with_name("who.png"))
    with pytest.raises(InvalidFileError, match=r"who.png' does not say who is on it; expected a name such as 1_001"):
        layouts.opened(root, "cuhk03")


def test_a_mat_that_cannot_be_read(layouts: Any, copied: Callable[..., Path]) -> None:
    """MATLAB 7.3, no MATLAB at all, without the fields, without the images: a sentence each."""
    root = copied("cuhk03_mat")
    mat = root / "cuhk03_new_protocol_config_detected.mat"
    (root / "images_detected").rename(root / "elsewhere")
    with pytest.raises(UserError, match=r"holds 'cuhk03_new_protocol_config_detected.mat' but not the images"):
        layouts.opened(root, "cuhk03")
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    mat.write_bytes(header.ljust(1024, b"\0"))
    with pytest.raises(UserError, match=r"MATLAB 7.3 file, which needs h5py; give the folder that holds CUHK03-NP"):
        layouts.opened(root, "cuhk03")
    mat.write_bytes(b"<html>")
    with pytest.raises(InvalidFileError, match="is no readable MATLAB file"):
        layouts.opened(root, "cuhk03")
    cuhk._loaded(root / "cuhk03_new_protocol_config_labeled.mat")
    from scipy.io import savemat  # type: ignore[import-untyped]

    savemat(mat, {"filelist": [1]})
    with pytest.raises(InvalidFileError, match="is not CUHK03's new protocol"):
        layouts.opened(root, "cuhk03")


def check_msmt17(layouts: Any, root: Path, data: RetrievalSet) -> None:
    """Person by the list, camera by the third part of the name; person 0 is somebody."""
    for name, images in (("query", data.query), ("gallery", data.gallery)):
        lines = [line.split() for line in (root / f"list_{name}.txt").read_text().splitlines()]
        folder = next(f for f in ("mask_test_v2", "test") if (root / f).is_dir())
        truth = {
            f"{folder}/{path}": (int(who) or PERSON_ZERO, int(Path(path).name.split("_")[2]), "visible")
            for path, who in lines
        }
        assert layouts.labels(images) == truth


def test_msmt17(drawn: Drawn, layouts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """V2 and V1; a reader that takes another number of the name for the camera is caught."""
    root = drawn("msmt17")
    check_msmt17(layouts, root, layouts.opened(root, "msmt17"))
    layouts.msmt17(tmp_path / "v1", ("train", "test"))
    check_msmt17(layouts, tmp_path / "v1", layouts.opened(tmp_path / "v1", "msmt17"))
    for wrong in (0, 1):
        monkeypatch.setattr(msmt17, "_CAMERA", wrong)
        with pytest.raises(AssertionError):
            check_msmt17(layouts, root, layouts.opened(root, "msmt17"))
    monkeypatch.setattr(msmt17, "_CAMERA", 3)
    with pytest.raises(InvalidFileError, match=r"list_query.txt', line 1: .* does not say which camera took it"):
        layouts.opened(root, "msmt17")


def test_msmt17_in_two_versions(layouts: Any, tmp_path: Path) -> None:
    """Side by side one has to be chosen, and in one folder they cannot be."""
    for name, folders in (("MSMT17_V1", ("train", "test")), ("MSMT17_V2", ("mask_train_v2", "mask_test_v2"))):
        layouts.msmt17(tmp_path / name, folders)
    with pytest.raises(UserError, match="holds MSMT17_V1 and MSMT17_V2; give one of them as `root`"):
        layouts.opened(tmp_path, "msmt17")
    (tmp_path / "MSMT17_V1/test").rename(tmp_path / "MSMT17_V2/test")
    with pytest.raises(UserError, match="holds both mask_test_v2 and test"):
        layouts.opened(tmp_path / "MSMT17_V2", "msmt17")
    with pytest.raises(UserError, match=r"has neither test/ nor mask_test_v2/; expected list_query.txt"):
        layouts.opened(tmp_path / "MSMT17_V1", "msmt17")


@pytest.mark.parametrize(("layout", "n_people"), [("viper", 12), ("cuhk01", 11)])
def test_random_splits(layouts: Any, drawn: Drawn, layout: str, n_people: int) -> None:
    """Ten halves of the people, on both sides alike; of an odd number one more is tested on; person 0 is somebody."""
    root = drawn(layout)
    data = layouts.opened(root, layout)
    for images, folder, camera in ((data.query, "cam_a", 1), (data.gallery, "cam_b", 2)):
        if layout == "viper":
            truth = {
                path: (int(path.split("/")[1][:3]) or PERSON_ZERO, camera, "visible")
                for path in layouts.files(root, f"{folder}/*.bmp")
            }
        else:
            shots = (1, 2) if camera == 1 else (3, 4)
            truth = {
                f"campus/{who:04d}{shot:03d}.png": (who, camera, "visible") for who in range(1, 12) for shot in shots
            }
        assert layouts.labels(images) == truth
    tested = []
    for trial in data.trials:
        people = set(data.query.identities[trial.query].tolist())
        assert people == set(data.gallery.identities[trial.gallery].tolist())
        assert len(people) == (n_people + 1) // 2
        tested.append(frozenset(people))
    assert len(set(tested)) == len(tested) == 10


def test_halves_are_those_of_the_field() -> None:
    """485 and 486 of CUHK01's people, 316 twice of VIPeR's; the same for everybody, another trial others."""
    for count, sizes in ((971, (485, 486)), (632, (316, 316))):
        learnt, tested = halves(range(1, count + 1), 3)
        assert (len(learnt), len(tested)) == sizes
        assert sorted(learnt + tested) == list(range(1, count + 1))
        assert halves(reversed(range(1, count + 1)), 3) == (learnt, tested)
        assert halves(range(1, count + 1), 4) != (learnt, tested)


@pytest.mark.parametrize(
    ("layout", "name", "told"),
    [
        ("cuhk01", "campus/0001005.png", "expected a name such as 0001001.png"),
        ("cuhk01", "campus/001001.png", "expected a name such as 0001001.png"),
        ("viper", "cam_a/who_45.bmp", "expected a name such as 000_45.bmp"),
    ],
)
def test_a_name_that_says_nothing(layouts: Any, copied: Callable[..., Path], layout: str, name: str, told: str) -> None:
    """The file is named."""
    root = copied(layout)
    (root / name).touch()
    with pytest.raises(InvalidFileError, match=rf"{name}' does not say who is on it; {told}"):
        layouts.opened(root, layout)
