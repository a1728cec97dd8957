"""The data set `synthetic`: which people are drawn, by which cameras, and the folder that keeps them.

The folder has Market-1501's layout and lies in the cache: deleting it costs the seconds it takes to draw it again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from .... import UserError
from ....models.base import MODALITIES
from ....models.registry import unknown
from ...evaluation import PROTOCOLS
from ...progress import Reporter, staged
from ...store.files import file_system_errors
from ..assembly import assembled, trials_of_halves
from ..cache import cache_folder
from ..retrieval import SIDE_NAMES, Images, RetrievalSet
from .infrared import INFRARED_VERSION, picture_infrared
from .scene import HEIGHT, WIDTH, picture
from .sites import FOLDERS, SITES, Cast, Picture

#: Raised when a picture changes by one bit: numbers of different versions are not comparable.
VERSION = 1

#: Of a site that has no numbers of its own.
_CAMERAS = 4
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
class Crowd:
    """Who is drawn. Equal crowds are equal images, bit for bit, on every machine."""

    #: Another number, other people and other cameras.
    seed: int = 0
    #: People to be found; every one is seen by every camera. A protocol with splits looks for half of them at a time.
    identities: int = 48
    #: By default 4, or as many as the protocol has.
    cameras: int | None = None
    #: Images of a person by a camera, by default as the `Site` says; a query is one more where it has no numbers.
    shots: int | None = None
    #: Gallery images of people whom nobody looks for, identity 0; by default as the `Site` says.
    distractors: int | None = None
    #: What the pictures are for: it decides the cameras, and which of them see infrared.
    protocol: str = "market"

    def __post_init__(self) -> None:
        if self.protocol not in SITES:
            raise unknown("protocol", str(self.protocol), SITES)
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not least <= value <= most):
                raise UserError(
                    f"The data set `synthetic` has {name} {value!r}; expected a whole number from {least} to {most}."
                )
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        """UserError where a number is not what the protocol is about."""
        site, under = SITES[self.protocol], f"Under protocol {self.protocol!r} the data set `synthetic`"
        if PROTOCOLS[self.protocol].has_splits and self.identities < 2:
            raise UserError(f"{under} looks for half of its people; expected `identities` of at least 2.")
        if site.numbers and self.cameras not in {None, len(site.numbers)}:
            raise UserError(f"{under} has {len(site.numbers)} cameras, not {self.cameras}; leave `cameras` out.")
        if site.has_fixed_shots and self.shots not in {None, site.shots}:
            raise UserError(
                f"{under} has {site.shots} image{'s' * (site.shots > 1)} of a person by a camera, not {self.shots}; "
                f"leave `shots` out."
            )
        if site.distractors is None and self.distractors:
            raise UserError(f"{under} takes no distractors, because it ranks people or splits them; leave them out.")

    @property
    def cast(self) -> Cast:
        """Who is seen how often, with what the protocol says where the crowd says nothing."""
        site = SITES[self.protocol]
        return Cast(
            protocol=self.protocol,
            identities=self.identities,
            cameras=len(site.numbers) or self.cameras or _CAMERAS,
            shots=self.shots or site.shots,
            distractors=(site.distractors or 0) if self.distractors is None else self.distractors,
        )

    def retrieval(self) -> Iterator[Picture]:
        """Queries and gallery."""
        return self.cast.retrieval()

    def training(self) -> Iterator[Picture]:
        """As many other people by all cameras of the site; distractors have no place here."""
        return self.cast.training()


def read_synthetic(label: str, *, reporter: Reporter, **who: Any) -> RetrievalSet:
    """The drawn retrieval set of a `Crowd`; takes a few milliseconds an image the first time, and none after that.

    Args:
        label: what the user calls it.
        reporter: told while it is drawn.
        **who: the fields of the `Crowd`.
    """
    crowd = Crowd(**who)
    pictures = tuple(crowd.retrieval())
    root = _drawn("test", label, crowd, pictures, reporter)
    query, gallery = (
        _images(shown for shown in pictures if shown.path.startswith(f"{FOLDERS[side]}/")) for side in SIDE_NAMES
    )
    rules = PROTOCOLS[crowd.protocol]
    halves = trials_of_halves(query, gallery, rules.n_trials) if rules.has_splits else None
    return assembled(label, "synthetic", root, query, gallery, protocol=crowd.protocol, trials=halves)


def read_training_synthetic(label: str, *, reporter: Reporter, **who: Any) -> tuple[Path, Images]:
    """The training people of a `Crowd`: the folder that holds `bounding_box_train`, and who is on its images.

    Nobody of them is in the retrieval set, in none of its splits. The images are in the order of their paths, and say
    which of them are infrared.
    """
    crowd = Crowd(**who)
    pictures = tuple(crowd.training())
    # The default crowd's name is older than protocols, and says that nobody else is there.
    named = replace(crowd, distractors=who.get("distractors", 0))
    return _drawn("train", label, named, pictures, reporter), _images(pictures)


def _images(pictures: Iterable[Picture]) -> Images:
    shown = sorted(pictures, key=lambda one: one.path)
    columns = [(one.identity, one.camera, MODALITIES.index(one.modality)) for one in shown]
    identities, cameras, modalities = np.array(columns, dtype=np.int64).T
    return Images(paths=tuple(one.path for one in shown), identities=identities, cameras=cameras, modalities=modalities)


def _drawn(kind: str, label: str, crowd: Crowd, pictures: Sequence[Picture], reporter: Reporter) -> Path:
    """The folder of a crowd in the cache: drawn beside its place and moved there whole.

    What cleans caches may take single files: a folder that is not whole would be another data set, so it is drawn anew.
    """
    name = f"v{VERSION}-{kind}-{_digest(crowd, pictures)}"
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
                        file.write_bytes(bitmap(_pixels(crowd.seed, shown)))
                        stage.advance(1)
                shutil.rmtree(place, ignore_errors=True)
                part.rename(place)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return place


def _digest(crowd: Crowd, pictures: Sequence[Picture]) -> str:
    """What a folder is called by: who is drawn. Protocols that need the same pictures share them."""
    if crowd.protocol == "market":
        who: Any = {name: value for name, value in asdict(crowd.cast).items() if name != "protocol"}
        who |= {"seed": crowd.seed}
    else:
        pictured = ((one.path, one.person, one.shot, one.modality) for one in pictures)
        who = [INFRARED_VERSION, crowd.seed, *pictured]
    return hashlib.sha256(json.dumps(who, sort_keys=True).encode()).hexdigest()[:16]


def _pixels(seed: int, shown: Picture) -> NDArray[np.uint8]:
    draw = picture_infrared if shown.modality == "infrared" else picture
    return draw(seed, shown.person, shown.camera, shown.shot)


def _is_whole(place: Path, pictures: Sequence[Picture]) -> bool:
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
