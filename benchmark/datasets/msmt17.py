"""MSMT17 (Wei et al., CVPR 2018), V1 and the V2 with masked faces: two folders and four lists.

People of the two folders are numbered apart, each from 0.
"""

from __future__ import annotations

from pathlib import Path

from ... import InvalidFileError, UserError
from .assembly import Row, assembled, collected, person, present
from .counts import OFFICIAL, verify_part, verify_sides
from .listing import Layout, Tree, is_folder
from .lists import number_in, read_list
from .retrieval import Images, RetrievalSet

_LISTS = {"query": "list_query.txt", "gallery": "list_gallery.txt", "train": "list_train.txt"}
#: (training, test) of V2 and of V1.
_FOLDERS = (("mask_train_v2", "mask_test_v2"), ("train", "test"))
#: Which part of `0000_001_03_0303morning_0028_1.jpg` is the camera.
_CAMERA = 2

MSMT17 = Layout(
    title="MSMT17",
    folder_names=("MSMT17_V2", "MSMT17_V1", "MSMT17"),
    signs=(("list_query.txt", "list_gallery.txt"),),
    expected="list_query.txt, list_gallery.txt and list_train.txt beside train/ and test/, or mask_train_v2/ and "
    "mask_test_v2/",
)


def read_msmt17(label: str, root: Path, *, verify: bool = True) -> RetrievalSet:
    """MSMT17, V1 or V2, under Market-1501's rules.

    Args:
        label: what the user calls it.
        root: the folder that holds the lists.
        verify: whether other counts than the published ones are refused.

    Raises:
        UserError: no such folder or list.
        InvalidFileError: other counts than the official set has, images that are listed but absent, or a name that
            does not say which camera.
    """
    place = MSMT17.find(label, root)
    tree = Tree(place)
    query, gallery = (
        collected(present(tree, _listed(place, part), place / _LISTS[part])) for part in ("query", "gallery")
    )
    data = assembled(label, "msmt17", place, query, gallery, protocol="market")
    if verify:
        published = OFFICIAL["msmt17"]
        verify_sides(published, data, _LISTS)
        if (place / _LISTS["train"]).is_file():
            verify_part(published, "train", collected(_listed(place, "train")), place / _LISTS["train"])
    return data


def training_msmt17(root: Path) -> Images:
    """The images of `list_train.txt`: published models learn from those, and not from `list_val.txt`."""
    place = MSMT17.find("msmt17", root)
    return collected(present(Tree(place), _listed(place, "train"), place / _LISTS["train"]))


def _listed(root: Path, part: str) -> list[Row]:
    file = root / _LISTS[part]
    folder = _folder(root, 0 if part == "train" else 1)
    rows = []
    for line in read_list(file):
        fields = line.path.rpartition("/")[2].split("_")
        camera = number_in(fields[_CAMERA]) if len(fields) > _CAMERA else None
        if camera is None:
            raise InvalidFileError(
                f"{str(file)!r}, line {line.number}: {line.path!r} does not say which camera took it; expected a name "
                f"such as 0000_001_03_0303morning_0028_1.jpg, whose third part is the camera."
            )
        rows.append(Row(f"{folder}/{line.path}", person(line.label), camera))
    return rows


def _folder(root: Path, place: int) -> str:
    names = [pair[place] for pair in _FOLDERS]
    found = [name for name in names if is_folder(root / name)]
    if not found:
        raise UserError(f"{str(root)!r} has neither {names[1]}/ nor {names[0]}/; expected {MSMT17.expected}.")
    if len(found) > 1:
        raise UserError(f"{str(root)!r} holds both {' and '.join(found)}; keep V1 and V2 in folders of their own.")
    return found[0]
