"""VIPeR (Gray, Brennan, Tao, PETS 2007): two cameras, one image of each person by each; random halves of the people."""

from __future__ import annotations

from pathlib import Path

from ... import InvalidFileError
from ..evaluation import PROTOCOLS
from .assembly import Row, assembled, collected, everybody, halves, joined, person, places, trials_of_halves
from .counts import OFFICIAL, verify_sides
from .listing import Layout, image_names
from .lists import number_in
from .retrieval import Images, RetrievalSet

_FOLDERS = {"query": "cam_a", "gallery": "cam_b"}
_CAMERAS = {"cam_a": 1, "cam_b": 2}

VIPER = Layout(
    title="VIPeR",
    folder_names=("VIPeR", "VIPeR.v1.0"),
    signs=(("cam_a", "cam_b"),),
    expected="cam_a/ and cam_b/ with files such as 000_45.bmp",
)


def read_viper(label: str, root: Path, *, verify: bool = True) -> RetrievalSet:
    """VIPeR: ten random splits into 316 people to learn from and 316 to test on; camera a asks, camera b answers.

    Args:
        label: what the user calls it.
        root: the folder that holds `cam_a` and `cam_b`.
        verify: whether other counts than the published ones are refused.

    Raises:
        UserError: no such folder.
        InvalidFileError: other counts than the official set has, or a name that does not say who.
    """
    place = VIPER.find(label, root)
    query, gallery = (_side(place, folder) for folder in _FOLDERS.values())
    trials = trials_of_halves(query, gallery, PROTOCOLS["single-shot"].n_trials)
    data = assembled(label, "viper", place, query, gallery, protocol="single-shot", trials=trials)
    if verify:
        verify_sides(OFFICIAL["viper"], data, _FOLDERS)
    return data


def training_viper(root: Path, *, trial: int) -> Images:
    """The people of a split, from 1, who are learnt from."""
    place = VIPER.find("viper", root)
    images = joined(*(_side(place, folder) for folder in _FOLDERS.values()))
    return images.part(places(images, halves(everybody(images), trial - 1)[0]))


def _side(root: Path, folder: str) -> Images:
    rows = []
    for name in image_names(root / folder):
        number = number_in(name.partition("_")[0])
        if number is None:
            raise InvalidFileError(
                f"{str(root / folder / name)!r} does not say who is on it; expected a name such as 000_45.bmp (person, "
                f"angle); rename or remove it."
            )
        rows.append(Row(f"{folder}/{name}", person(number), _CAMERAS[folder]))
    return collected(rows)
