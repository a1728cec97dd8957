"""Protocols: which gallery images count for which query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...models.splits import N_SPLITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ...models.base import Modality


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """How each trial of a protocol draws one side: some images of each identity by each camera, seeded by its number.

    `random.Random(trial)` chooses as the public evaluation code does, in the order of identities, cameras and names.
    """

    side: Literal["query", "gallery"]
    #: Images of an identity by a camera; all where there are fewer.
    shots: int = 1


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A named, versioned rule for what counts for which query, and on how many trials.

    Junk is neither a right nor a wrong answer and leaves the ranking. What is not junk and not of the query's identity
    is a negative, distractors (Market's identity 0) included.
    """

    #: What a grid file and a row call it.
    name: str
    #: Raised whenever a score under this protocol can change.
    version: int
    #: Whether a query's own identity under its own camera is junk, query by query.
    same_camera_is_junk: bool
    #: Identities whose gallery images are junk for every query.
    junk_identities: frozenset[int] = frozenset()
    #: (query camera, gallery camera): all such gallery images, whoever they show, are left out for such queries.
    hidden_cameras: frozenset[tuple[int, int]] = frozenset()
    #: Whether ranks, and with them Rank-k, count identities rather than images: each only at its nearest image.
    ranks_identities: bool = False
    #: How many times one is scored; scores are means over trials.
    n_trials: int = 1
    #: How a trial draws its images; None where each takes all, or what the data set's own splits say.
    drawn: Drawn | None = None
    #: Whether each trial is a training and test partition of its own.
    has_splits: bool = False
    #: What the queries and the gallery were taken by; None where that makes no difference.
    modalities: tuple[Modality, Modality] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("expected a protocol with a name, got ''")
        if self.version < 1:
            raise ValueError(f"expected version >= 1 of protocol '{self.name}', got {self.version}")
        if self.n_trials < 1 or (self.drawn and self.has_splits):
            raise ValueError(f"expected trials of '{self.name}' that are either drawn or splits")


#: SYSU-MM01's cameras: 3 sees the place that 2 sees, so a query of the one never meets an image of the other.
_SYSU_HIDDEN = frozenset({(3, 2)})


#: Repetitions of every protocol that draws or splits.
_TRIALS = N_SPLITS


def _sysu(name: str, shots: int) -> Protocol:
    return Protocol(
        name=name,
        version=1,
        same_camera_is_junk=False,
        hidden_cameras=_SYSU_HIDDEN,
        ranks_identities=True,
        n_trials=_TRIALS,
        drawn=Drawn(side="gallery", shots=shots),
        modalities=("infrared", "visible"),
    )


def _splits(name: str, modalities: tuple[Modality, Modality] | None = None) -> Protocol:
    return Protocol(
        name=name, version=1, same_camera_is_junk=False, n_trials=_TRIALS, has_splits=True, modalities=modalities
    )


def _llcm(name: str, drawn: Literal["query", "gallery"], modalities: tuple[Modality, Modality]) -> Protocol:
    return Protocol(
        name=name,
        version=1,
        same_camera_is_junk=True,
        ranks_identities=True,
        n_trials=_TRIALS,
        drawn=Drawn(side=drawn),
        modalities=modalities,
    )


#: Market: Zheng et al., ICCV 2015, and the data set's own evaluation code; images of identity -1 are bad detections.
#: CUHK03-NP: Zhong et al., CVPR 2017. SYSU-MM01: Wu et al., ICCV 2017, and the public code of Ye et al. (AGW), TPAMI
#: 2021. RegDB: Nguyen et al., Sensors 2017. LLCM: Zhang and Wang, CVPR 2023: `llcm-v2i` is what its name says, and
#: `llcm-v2i-published` what the public code scores under that name: one infrared image a person and camera is looked
#: for among all visible images. Single-shot: Gray, Brennan, Tao, PETS 2007. CUHK01: Li, Zhao, Wang, ACCV 2012.
PROTOCOLS: Mapping[str, Protocol] = {
    found.name: found
    for found in (
        Protocol(name="market", version=1, same_camera_is_junk=True, junk_identities=frozenset({-1})),
        Protocol(name="cuhk03-np", version=1, same_camera_is_junk=True),
        _sysu("sysu-all", 1),
        _sysu("sysu-all-multi-shot", 10),
        _sysu("sysu-indoor", 1),
        _sysu("sysu-indoor-multi-shot", 10),
        _splits("regdb-v2t", ("visible", "infrared")),
        _splits("regdb-t2v", ("infrared", "visible")),
        _llcm("llcm-v2i", "gallery", ("visible", "infrared")),
        _llcm("llcm-i2v", "gallery", ("infrared", "visible")),
        _llcm("llcm-v2i-published", "query", ("infrared", "visible")),
        _splits("single-shot"),
        _splits("cuhk01"),
    )
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """Who is seen by which camera, image by image."""

    #: (N,) int64.
    identities: NDArray[np.int64]
    #: (N,) int64.
    cameras: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name, values in (("identities", self.identities), ("cameras", self.cameras)):
            _check_column(name, values)
        if len(self.identities) != len(self.cameras):
            raise ValueError(
                f"expected one camera for each identity, got {len(self.identities)} identities "
                f"and {len(self.cameras)} cameras"
            )

    def __len__(self) -> int:
        """How many images are labelled."""
        return len(self.identities)

    def part(self, places: NDArray[np.int64]) -> Labels:
        """Those of some of the images."""
        return Labels(identities=self.identities[places], cameras=self.cameras[places])


def _check_column(name: str, values: Any) -> None:
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype != np.int64:
        found = f"{values.dtype} of shape {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise ValueError(f"expected {name} as an array (N,) of int64, got {found}")
