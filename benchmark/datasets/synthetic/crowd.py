"""The data set `synthetic`: which people are drawn, by which cameras, and the folder that keeps them.

The folder has Market-1501's layout and lies in the cache: deleting it costs the seconds it takes to draw it again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from .... import UserError
from ...progress import Reporter, staged
from ...store.files import file_system_errors
from ..cache import cache_folder
from ..market import TRAINING_FOLDER, read_layout
from ..retrieval import RetrievalSet
from .scene import HEIGHT, WIDTH, picture

#: Raised when a picture changes by one bit: numbers of different versions are not comparable.
VERSION = 1

#: People of the three kinds have numbers of their own, so that nobody, and no group, is in two of them.
FIRST_TRAINING_PERSON, FIRST_DISTRACTOR = 10_001, 20_001
#: Least and most of each number.
_BOUNDS = {
    "seed": (0, 2**32 - 1),
    "identities": (1, 9_990),
    "cameras": (2, 99),
    "shots": (1, 999),
    "distractors": (0, 9_999),
}

#: Before the pixels of a bitmap.
_HEADER_BYTES = 54
_FILE_BYTES = _HEADER_BYTES + HEIGHT * WIDTH * 3


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """One image: its path in the folder, and what decides it."""

    path: str
    person: int
    camera: int
    shot: int


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Who is drawn. Equal crowds are equal images, bit for bit, on every machine."""

    #: Another number, other people and other cameras.
    seed: int = 0
    #: People to be found; every one is seen by every camera.
    identities: int = 48
    cameras: int = 4
    #: Gallery images of a person by a camera (and in training, all images); a query is one more.
    shots: int = 1
    #: Gallery images of people whom nobody looks for, identity 0.
    distractors: int = 96

    def __post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise UserError(
                    f"The data set `synthetic` has {name} {value!r}; expected a whole number from {least} to {most}."
                )

    def retrieval(self) -> Iterator[_Picture]:
        """Queries, then the gallery: the first shot of a person by a camera is the query."""
        for person in range(1, self.identities + 1):
            for camera in range(1, self.cameras + 1):
                for shot in range(self.shots + 1):
                    folder = "bounding_box_test" if shot else "query"
                    yield _Picture(path=_path(folder, person, camera, shot), person=person, camera=camera, shot=shot)
        for index in range(self.distractors):
            person, camera = FIRST_DISTRACTOR + index, 1 + index % self.cameras
            yield _Picture(path=_path("bounding_box_test", 0, camera, index), person=person, camera=camera, shot=0)

    def training(self) -> Iterator[_Picture]:
        """As many other people, `shots` images of each by each camera; distractors have no place here."""
        for person in range(FIRST_TRAINING_PERSON, FIRST_TRAINING_PERSON + self.identities):
            for camera in range(1, self.cameras + 1):
                for shot in range(self.shots):
                    path = _path(TRAINING_FOLDER, person, camera, shot)
                    yield _Picture(path=path, person=person, camera=camera, shot=shot)


def read_synthetic(label: str, *, reporter: Reporter, **who: int) -> RetrievalSet:
    """The drawn retrieval set of a `Crowd`; takes a few milliseconds an image the first time, and none after that."""
    crowd = Crowd(**who)
    return read_layout(label, _drawn("test", label, crowd, tuple(crowd.retrieval()), reporter), "synthetic")


def training_folder(label: str, *, reporter: Reporter, **who: int) -> Path:
    """The folder that holds `bounding_box_train` with the training people of a `Crowd`."""
    crowd = Crowd(**{"distractors": 0, **who})
    return _drawn("train", label, crowd, tuple(crowd.training()), reporter)


def _path(folder: str, identity: int, camera: int, number: int) -> str:
    return f"{folder}/{identity:04d}_c{camera}s1_{number:06d}_00.bmp"


def _drawn(kind: str, label: str, crowd: Crowd, pictures: Sequence[_Picture], reporter: Reporter) -> Path:
    """The folder of a crowd in the cache: drawn beside its place and moved there whole.

    What cleans caches may take single files: a folder that is not whole would be another data set, so it is drawn anew.
    """
    who = json.dumps(asdict(crowd), sort_keys=True)
    name = f"v{VERSION}-{kind}-{hashlib.sha256(who.encode()).hexdigest()[:16]}"
    place = cache_folder() / "synthetic" / name
    if _is_whole(place, pictures):
        return place
    with file_system_errors(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            if _is_whole(place, pictures):
                return place
            part = place.with_name(f"{name}.{uuid.uuid4().hex}.part")
            try:
                with staged(reporter, f"drawing {label}", len(pictures)) as stage:
                    for shown in pictures:
                        file = part / shown.path
                        file.parent.mkdir(parents=True, exist_ok=True)
                        file.write_bytes(bitmap(picture(crowd.seed, shown.person, shown.camera, shown.shot)))
                        stage.advance(1)
                shutil.rmtree(place, ignore_errors=True)
                part.rename(place)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return place


def _is_whole(place: Path, pictures: Sequence[_Picture]) -> bool:
    """Whether a folder holds the files of these pictures, whole, and no others."""
    found = {path.relative_to(place).as_posix(): path.stat().st_size for path in place.rglob("*") if path.is_file()}
    return found == dict.fromkeys((shown.path for shown in pictures), _FILE_BYTES)


def bitmap(pixels: NDArray[np.uint8]) -> bytes:
    """A Windows bitmap of (H, W, 3) RGB: no compression, so that a library's version cannot change a byte of it.

    Source: BITMAPFILEHEADER and BITMAPINFOHEADER, 24 bits a pixel, rows from the bottom, blue first.
    """
    height, width, _ = pixels.shape
    rows = np.pad(pixels[::-1, :, ::-1].reshape(height, -1), ((0, 0), (0, -3 * width % 4))).tobytes()
    start = struct.pack("<2sIHHI", b"BM", _HEADER_BYTES + len(rows), 0, 0, _HEADER_BYTES)
    return start + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 0, 0, 0, 0) + rows
