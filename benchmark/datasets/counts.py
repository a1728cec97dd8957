"""What the field's data sets have in them as published, and the refusal of anything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ... import InvalidFileError
from ...attacks.neighbours import NOBODY
from .retrieval import Images, RetrievalSet

#: Where the 500k distractors lie that came after Market-1501.
LATER_FOLDER = "images"


@dataclass(frozen=True, kw_only=True)
class Count:
    """Images, and people on them; None where that was not published."""

    images: int | None
    identities: int | None

    def fits(self, found: Count) -> bool:
        """Whether what was found is this, as far as this says."""
        return self.images in {None, found.images} and self.identities in {None, found.identities}

    def __str__(self) -> str:
        said = [
            f"{number} {noun}" for number, noun in ((self.images, "images"), (self.identities, "identities")) if number
        ]
        return " of ".join(said)


@dataclass(frozen=True, kw_only=True)
class Official:
    """One data set as its authors published it."""

    title: str
    #: By part: query, gallery, train, and each of them `of a trial` where trials are splits.
    parts: Mapping[str, Count]
    #: All that took images of query and gallery.
    cameras: frozenset[int]
    #: Numbers that are told but were not traced to their source: nothing is refused for them.
    reported: Mapping[str, Count] = field(default_factory=dict)


def _of(images: int | None, identities: int | None) -> Count:
    return Count(images=images, identities=identities)


def _upto(last: int) -> frozenset[int]:
    return frozenset(range(1, last + 1))


def _cuhk03(train: int, gallery: int) -> Official:
    parts = {"query": _of(1400, 700), "gallery": _of(gallery, 700), "train": _of(train, 767)}
    return Official(title="CUHK03-NP", parts=parts, cameras=_upto(2))


def _sysu(cameras: frozenset[int], gallery: int | None = None) -> Official:
    return Official(
        title="SYSU-MM01",
        parts={"query": _of(3803, 96), "train, visible": _of(22258, 395), "train, infrared": _of(11909, 395)},
        cameras=cameras,
        reported={"gallery of a trial": _of(gallery, 96)} if gallery else {},
    )


def _llcm(query: int, gallery: int) -> Official:
    return Official(
        title="LLCM",
        parts={"query": _of(None, 351), "gallery": _of(None, 351)},
        cameras=_upto(9),
        reported={
            "query": _of(query, 351),
            "gallery": _of(gallery, 351),
            "train, visible": _of(16946, 713),
            "train, infrared": _of(13975, 713),
        },
    )


_INDOOR = frozenset({1, 2, 3, 6})
_HALF = _of(2060, 206)
_LLCM_VISIBLE, _LLCM_INFRARED = 8680, 7166
_REGDB = Official(
    title="RegDB",
    parts={"query of a trial": _HALF, "gallery of a trial": _HALF, "train of a trial": _of(4120, 206)},
    cameras=_upto(2),
)

#: By format, and where it matters by format and variant (boxes or protocol).
#: Market-1501: Zheng et al., ICCV 2015. DukeMTMC-reID: Zheng, Zheng, Yang, ICCV 2017. Occluded-Duke: its lists; Miao et
#: al., ICCV 2019. CUHK03-NP: Zhong et al., CVPR 2017. MSMT17: Wei et al., CVPR 2018. CUHK01: Li, Zhao, Wang, ACCV 2012.
#: VIPeR: Gray, Brennan, Tao, PETS 2007. SYSU-MM01: Wu et al., ICCV 2017; its training part: Gong et al., CMPS. RegDB:
#: Nguyen et al., Sensors 2017. LLCM: Zhang, Wang, CVPR 2023.
OFFICIAL: Mapping[str, Official] = {
    "market1501": Official(
        title="Market-1501",
        parts={"query": _of(3368, 750), "gallery": _of(19732, 750), "train": _of(12936, 751)},
        cameras=_upto(6),
    ),
    "dukemtmc": Official(
        title="DukeMTMC-reID",
        parts={"query": _of(2228, 702), "gallery": _of(17661, 1110), "train": _of(16522, 702)},
        cameras=_upto(8),
    ),
    "occluded-duke": Official(
        title="Occluded-Duke",
        parts={"query": _of(2210, 519), "gallery": _of(17661, 1110), "train": _of(15618, 702)},
        cameras=_upto(8),
    ),
    "cuhk03 detected": _cuhk03(7365, 5332),
    "cuhk03 labeled": _cuhk03(7368, 5328),
    "cuhk01": Official(title="CUHK01", parts={"query": _of(1942, 971), "gallery": _of(1942, 971)}, cameras=_upto(2)),
    "msmt17": Official(
        title="MSMT17",
        parts={"query": _of(11659, None), "gallery": _of(82161, None), "train": _of(30248, None)},
        cameras=_upto(15),
        reported={"query": _of(11659, 3060), "gallery": _of(82161, 3060), "train": _of(30248, 1041)},
    ),
    "sysu sysu-all": _sysu(_upto(6), 301),
    "sysu sysu-all-multi-shot": _sysu(_upto(6)),
    "sysu sysu-indoor": _sysu(_INDOOR, 112),
    "sysu sysu-indoor-multi-shot": _sysu(_INDOOR),
    "regdb": _REGDB,
    "llcm llcm-v2i": _llcm(_LLCM_VISIBLE, _LLCM_INFRARED),
    "llcm llcm-i2v": _llcm(_LLCM_INFRARED, _LLCM_VISIBLE),
    "llcm llcm-v2i-published": _llcm(_LLCM_INFRARED, _LLCM_VISIBLE),
    "viper": Official(title="VIPeR", parts={"query": _of(632, 632), "gallery": _of(632, 632)}, cameras=_upto(2)),
}


def official(layout: str, variant: str | None = None) -> Official | None:
    """What was published of a format; None for one that holds anything."""
    return OFFICIAL.get(f"{layout} {variant}") or OFFICIAL.get(layout)


def counted(images: Images) -> Count:
    """What is there; junk and distractors are nobody."""
    return Count(images=len(images), identities=len(set(images.identities.tolist()) - set(NOBODY)))


def parts_of(data: RetrievalSet) -> dict[str, list[Images]]:
    """The parts of a set by their names: both sides, those of each trial, and distractors that came later."""
    later = np.array([path.startswith(f"{LATER_FOLDER}/") for path in data.gallery.paths], dtype=bool)
    has_later = data.format == "market1501" and bool(later.any())
    trials = [data.of_trial(number) for number in range(len(data.trials))]
    return {
        "query": [data.query],
        "gallery": [data.gallery.part(np.flatnonzero(~later)) if has_later else data.gallery],
        "gallery, later distractors": [data.gallery.part(np.flatnonzero(later))] if has_later else [],
        "query of a trial": [trial.query for trial in trials],
        "gallery of a trial": [trial.gallery for trial in trials],
    }


def cameras_of(data: RetrievalSet) -> frozenset[int]:
    """All cameras of both sides."""
    return frozenset(data.query.cameras.tolist()) | frozenset(data.gallery.cameras.tolist())


def verify_part(published: Official, part: str, images: Images, place: Path) -> None:
    """InvalidFileError where a part has not what was published of it.

    Args:
        published: what was.
        part: its name; one of which nothing was published passes.
        images: what is there.
        place: where that lies, for the message.
    """
    expected, found = published.parts.get(part), counted(images)
    if expected and not expected.fits(found):
        raise InvalidFileError(
            f"{place} holds {found}, but {published.title} has {expected} there ({part}); restore the set, or give "
            f"`verify: false` for a part of it or another copy."
        )


def verify_sides(published: Official, data: RetrievalSet, where: Mapping[str, str] | None = None) -> None:
    """InvalidFileError where query, gallery or the cameras are not as published.

    Args:
        published: what was.
        data: the set.
        where: by side, the folder or list below its root that it comes from.
    """
    for part, found in parts_of(data).items():
        place = data.root / (where or {}).get(part.partition(" ")[0], "")
        for images in found if part in published.parts else ():
            verify_part(published, part, images, place)
    if (cameras := cameras_of(data)) != published.cameras:
        raise InvalidFileError(
            f"The images in {data.root} are by the cameras {numbers(cameras)}, but {published.title} has "
            f"{numbers(published.cameras)}; restore the set, or give `verify: false` for a part of it or another copy."
        )


def numbers(values: frozenset[int]) -> str:
    """Numbers as a list; one without gaps as `1 to 6`."""
    order = sorted(values)
    if len(order) > 2 and order == list(range(order[0], order[-1] + 1)):
        return f"{order[0]} to {order[-1]}"
    return ", ".join(map(str, order))
