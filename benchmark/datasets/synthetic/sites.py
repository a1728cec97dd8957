"""Where drawn people are seen: the cameras of each protocol, which of them see infrared, and who is on which image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ....models.base import MODALITIES, Modality
from ...evaluation import PROTOCOLS
from ..market import TRAINING_FOLDER
from ..retrieval import SIDE_NAMES, SideName

#: People of the three kinds have numbers of their own, so that nobody, and no group, is in two of them.
FIRST_TRAINING_PERSON, FIRST_DISTRACTOR = 10_001, 20_001

FOLDERS: Mapping[SideName, str] = {"query": "query", "gallery": "bounding_box_test"}


@dataclass(frozen=True, kw_only=True)
class Site:
    """The cameras of a protocol, and how often each of them sees somebody."""

    #: Numbers of the cameras that see colours, and of those that see infrared; a camera may be both. None: all cameras
    #: see colours, there are as many as the crowd says, and its queries are seen by all of them.
    cameras: Mapping[Modality, tuple[int, ...]] | None = None
    #: Those of them whose images are on a side; None: all of the side's modality.
    sides: Mapping[SideName, tuple[int, ...]] | None = None
    #: Images of a person by a camera, unless the crowd says how many.
    shots: int = 1
    #: Whether the protocol is about so many shots and no others.
    has_fixed_shots: bool = False
    #: Gallery images of nobody, unless the crowd says how many; None: the protocol has no place for them.
    distractors: int | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """Its cameras, ascending; empty where the crowd says how many there are."""
        return tuple(sorted({number for numbers in (self.cameras or {}).values() for number in numbers}))

    def of_side(self, side: SideName, protocol: str) -> tuple[Modality, tuple[int, ...]]:
        """What the images of a side are taken by: a modality, and cameras of a site that has numbers."""
        modalities = PROTOCOLS[protocol].modalities
        modality = modalities[SIDE_NAMES.index(side)] if modalities else MODALITIES[0]
        cameras = (self.cameras or {}).get(modality, ())
        return modality, cameras if self.sides is None else self.sides[side]


_SYSU: Mapping[Modality, tuple[int, ...]] = {"visible": (1, 2, 4, 5), "infrared": (3, 6)}
_INDOOR: Mapping[SideName, tuple[int, ...]] = {"query": (3, 6), "gallery": (1, 2)}
_REGDB = Site(cameras={"visible": (1,), "infrared": (2,)}, shots=5)
_LLCM = Site(cameras={"visible": (1, 2, 3, 4), "infrared": (1, 2, 4)}, shots=3)
_PAIR: Mapping[Modality, tuple[int, ...]] = {"visible": (1, 2)}
_FROM_1_TO_2: Mapping[SideName, tuple[int, ...]] = {"query": (1,), "gallery": (2,)}

#: A multi-shot trial draws ten images of a person by a camera: of fewer than eleven all trials would be one.
_MORE_THAN_DRAWN = 12

#: By the name of the protocol.
SITES: Mapping[str, Site] = {
    "market": Site(distractors=96),
    "cuhk03-np": Site(distractors=0),
    "sysu-all": Site(cameras=_SYSU, shots=3),
    "sysu-all-multi-shot": Site(cameras=_SYSU, shots=_MORE_THAN_DRAWN),
    "sysu-indoor": Site(cameras=_SYSU, sides=_INDOOR, shots=3),
    "sysu-indoor-multi-shot": Site(cameras=_SYSU, sides=_INDOOR, shots=_MORE_THAN_DRAWN),
    "regdb-v2t": _REGDB,
    "regdb-t2v": _REGDB,
    "llcm-v2i": _LLCM,
    "llcm-i2v": _LLCM,
    "llcm-v2i-published": _LLCM,
    "single-shot": Site(cameras=_PAIR, sides=_FROM_1_TO_2, shots=1, has_fixed_shots=True),
    "cuhk01": Site(cameras=_PAIR, sides=_FROM_1_TO_2, shots=2, has_fixed_shots=True),
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image: its path in the folder, and what decides it."""

    path: str
    #: Whom a path names; 0 is nobody.
    identity: int
    #: Who is drawn.
    person: int
    camera: int
    shot: int
    modality: Modality


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who is seen how often by how many cameras, every number known."""

    protocol: str
    identities: int
    cameras: int
    shots: int
    distractors: int

    def retrieval(self) -> Iterator[Picture]:
        """Queries and gallery.

        Where the crowd says how many cameras there are, the first shot of a person by each of them is the query.
        """
        site = SITES[self.protocol]
        for person in range(1, self.identities + 1):
            if site.cameras is None:
                for camera in range(1, self.cameras + 1):
                    for shot in range(self.shots + 1):
                        yield _picture(FOLDERS["gallery" if shot else "query"], person, camera, shot)
                continue
            for side in SIDE_NAMES:
                modality, cameras = site.of_side(side, self.protocol)
                for camera in cameras:
                    for shot in range(self.shots):
                        yield _picture(FOLDERS[side], person, camera, shot, modality)
        for index in range(self.distractors):
            person, camera = FIRST_DISTRACTOR + index, 1 + index % self.cameras
            path = _path(FOLDERS["gallery"], 0, camera, index, "visible")
            yield Picture(path=path, identity=0, person=person, camera=camera, shot=0, modality="visible")

    def training(self) -> Iterator[Picture]:
        """As many other people, `shots` images of each by each camera of the site; no distractors."""
        seen: Mapping[Modality, tuple[int, ...]] = SITES[self.protocol].cameras or {
            "visible": tuple(range(1, self.cameras + 1))
        }
        for person in range(FIRST_TRAINING_PERSON, FIRST_TRAINING_PERSON + self.identities):
            for modality, cameras in seen.items():
                for camera in cameras:
                    for shot in range(self.shots):
                        yield _picture(TRAINING_FOLDER, person, camera, shot, modality)


def _picture(folder: str, person: int, camera: int, shot: int, modality: Modality = "visible") -> Picture:
    path = _path(folder, person, camera, shot, modality)
    return Picture(path=path, identity=person, person=person, camera=camera, shot=shot, modality=modality)


def _path(folder: str, identity: int, camera: int, number: int, modality: Modality) -> str:
    """A name in Market-1501's layout: the two modalities of a camera are its sequences 1 and 2."""
    return f"{folder}/{identity:04d}_c{camera}s{1 + MODALITIES.index(modality)}_{number:06d}_00.bmp"
