"""CUHK03 under the new protocol (Zhong et al., CVPR 2017), and CUHK01 (Li, Zhao, Wang, ACCV 2012)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import InvalidFileError, UserError
from ..evaluation import PROTOCOLS
from .assembly import Row, assembled, collected, everybody, halves, joined, places, present, trials_of_halves
from .counts import OFFICIAL, official, verify_part, verify_sides
from .listing import Layout, Tree, image_names, is_folder
from .market import NAME, TRAINING_FOLDER
from .retrieval import Images, RetrievalSet

_FOLDERS = {"query": "query", "gallery": "bounding_box_test", "train": TRAINING_FOLDER}
_INDICES = {"query": "query_idx", "gallery": "gallery_idx", "train": "train_idx"}
#: Pair of cameras, person among those whom that pair saw, camera of the pair, image.
_ORIGINAL = re.compile(r"([0-9]{1,2})_([0-9]{1,3})_([12])_[0-9]+(?![0-9])")
#: More people than any pair of cameras saw.
_A_PAIR = 1000
_MAT = "cuhk03_new_protocol_config_{boxes}.mat"

CUHK03 = Layout(
    title="CUHK03-NP",
    folder_names=("cuhk03-np", "cuhk03", "cuhk03_release"),
    signs=(
        ("detected/query",),
        ("labeled/query",),
        (_MAT.format(boxes="detected"),),
        (_MAT.format(boxes="labeled"),),
    ),
    expected="detected/ or labeled/, each with bounding_box_train/, bounding_box_test/ and query/; or "
    "cuhk03_new_protocol_config_detected.mat beside the extracted images",
)
CUHK01 = Layout(
    title="CUHK01", folder_names=("CUHK01",), signs=(("campus",),), expected="campus/ with files such as 0001001.png"
)
#: Images 1 and 2 of a person are by the one camera, 3 and 4 by the other.
_CAMPUS_NAME = re.compile(r"([0-9]{4})([0-9]{3})")
_CAMPUS_CAMERAS = {1: 1, 2: 1, 3: 2, 4: 2}


def read_cuhk03(label: str, root: Path, *, boxes: str = "detected", verify: bool = True) -> RetrievalSet:
    """CUHK03-NP, from folders in Market-1501's manner or from the published `.mat` beside the extracted images.

    Args:
        label: what the user calls it.
        root: the folder that holds `detected` and `labeled`, or the `.mat`.
        boxes: `detected` or `labeled`.
        verify: whether other counts than the published ones are refused.

    Raises:
        UserError: nothing of that kind is there.
        InvalidFileError: other counts than the official set has, a name that does not say who, or images that are
            named but absent.
    """
    place = CUHK03.find(label, root)
    query, gallery = (_part(place, boxes, part) for part in ("query", "gallery"))
    data = assembled(label, "cuhk03", place, query, gallery, protocol="cuhk03-np")
    published = official("cuhk03", boxes)
    if verify and published:
        verify_sides(published, data)
        if is_folder(place / boxes / TRAINING_FOLDER) or not is_folder(place / boxes / _FOLDERS["query"]):
            verify_part(published, "train", _part(place, boxes, "train"), place)
    return data


def training_cuhk03(root: Path, *, boxes: str = "detected") -> Images:
    """What is learnt from; arguments and errors as for `read_cuhk03`."""
    return _part(CUHK03.find("cuhk03", root), boxes, "train")


def _part(root: Path, boxes: str, part: str) -> Images:
    folder = f"{boxes}/{_FOLDERS[part]}"
    if is_folder(root / folder):
        return collected(_named(root, folder))
    mat = root / _MAT.format(boxes=boxes)
    if mat.exists():
        return collected(_of_mat(root, mat, part))
    raise UserError(f"{str(root)!r} has neither a folder {folder!r} nor {mat.name!r}; expected {CUHK03.expected}.")


def _named(root: Path, folder: str) -> list[Row]:
    return [Row(f"{folder}/{name}", *_who(root / folder / name)) for name in image_names(root / folder)]


def _who(file: Path) -> tuple[int, int]:
    """Identity and camera from a name of the original set, or one in Market-1501's manner."""
    if match := NAME.match(file.name):
        return int(match.group(1)), int(match.group(2))
    if match := _ORIGINAL.match(file.name):
        pair, who, camera = map(int, match.groups())
        return _A_PAIR * pair + who, camera
    raise InvalidFileError(
        f"{str(file)!r} does not say who is on it; expected a name such as 1_001_1_01.png (pair of cameras, person, "
        f"camera, image) or 0001_c1_1.png; rename or remove it."
    )


def _of_mat(root: Path, mat: Path, part: str) -> list[Row]:
    """The images of a part by the published file; its labels are identities, its indices count from 1."""
    content = _loaded(mat)
    try:
        names = [str(name[0]) for name in content["filelist"].ravel()]
        identities: NDArray[np.int64] = content["labels"].ravel().astype(np.int64)
        indices: NDArray[np.int64] = content[_INDICES[part]].ravel().astype(np.int64) - 1
        chosen = [(names[index], int(identities[index])) for index in indices.tolist() if index >= 0]
    except (KeyError, IndexError, AttributeError, ValueError, TypeError) as error:
        raise InvalidFileError(
            f"{str(mat)!r} is not CUHK03's new protocol ({type(error).__name__}: {error}); expected filelist, labels, "
            f"train_idx, query_idx and gallery_idx; get it again."
        ) from error
    folder = _folder_of(root, mat, names)
    rows = [Row(f"{folder}{name}", who, _who(Path(name))[1]) for name, who in chosen]
    return present(Tree(root), rows, mat)


def _loaded(mat: Path) -> dict[str, Any]:
    from scipy.io import loadmat  # type: ignore[import-untyped]

    try:
        content: dict[str, Any] = loadmat(mat)
    except NotImplementedError:
        raise UserError(
            f"{str(mat)!r} is a MATLAB 7.3 file, which needs h5py; give the folder that holds CUHK03-NP as images "
            f"instead: cuhk03-np/{{detected,labeled}}/{{bounding_box_train,bounding_box_test,query}}."
        ) from None
    except Exception as error:
        raise InvalidFileError(f"{str(mat)!r} is no readable MATLAB file ({error}); get it again.") from error
    return content


def _folder_of(root: Path, mat: Path, names: list[str]) -> str:
    """Where the extracted images are, with a slash at the end: beside the `.mat`, or under one folder there."""
    boxes = mat.stem.rpartition("_")[2]
    known = (f"images_{boxes}", boxes, "images", f"cuhk03_release/images_{boxes}", f"cuhk03_release/{boxes}")
    wanted = set(names)
    for folder in (*known, "."):
        try:
            there = set(image_names(root / folder))
        except FileNotFoundError:
            continue
        if there & wanted or {name.lower() for name in there} & {name.lower() for name in wanted}:
            return "" if folder == "." else f"{folder}/"
    raise UserError(
        f"{str(root)!r} holds {mat.name!r} but not the images that it names, such as {names[0] if names else '?'!r}; "
        f"extract cuhk03_release to {known[0]}/ beside it, or give the folders of cuhk03-np."
    )


def read_cuhk01(label: str, root: Path, *, verify: bool = True) -> RetrievalSet:
    """CUHK01: ten random splits into 485 people to learn from and 486 to test on; camera 1 asks, camera 2 answers.

    Args:
        label: what the user calls it.
        root: the folder that holds `campus`.
        verify: whether other counts than the published ones are refused.

    Raises:
        UserError: no such folder.
        InvalidFileError: other counts than the official set has, or a name that does not say who.
    """
    place = CUHK01.find(label, root)
    query, gallery = _campus(place)
    trials = trials_of_halves(query, gallery, PROTOCOLS["cuhk01"].n_trials)
    data = assembled(label, "cuhk01", place, query, gallery, protocol="cuhk01", trials=trials)
    if verify:
        verify_sides(OFFICIAL["cuhk01"], data, {"query": "campus", "gallery": "campus"})
    return data


def training_cuhk01(root: Path, *, trial: int) -> Images:
    """The people of a split, from 1, who are learnt from."""
    images = joined(*_campus(CUHK01.find("cuhk01", root)))
    return images.part(places(images, halves(everybody(images), trial - 1)[0]))


def _campus(root: Path) -> tuple[Images, Images]:
    sides: dict[int, list[Row]] = {1: [], 2: []}
    for name in image_names(root / "campus"):
        match = _CAMPUS_NAME.fullmatch(name.rpartition(".")[0])
        camera = _CAMPUS_CAMERAS.get(int(match.group(2))) if match else None
        if match is None or camera is None:
            raise InvalidFileError(
                f"{str(root / 'campus' / name)!r} does not say who is on it; expected a name such as 0001001.png "
                f"(person 1 to 9999, image 001 to 004); rename or remove it."
            )
        sides[camera].append(Row(f"campus/{name}", int(match.group(1)), camera))
    return collected(sides[1]), collected(sides[2])
