"""Protocols: which gallery images count for which query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A named, versioned rule for junk: images that are neither right nor wrong answers and leave the ranking.

    What is not junk and not of the query's identity is a negative, distractors (Market's identity 0) included.
    """

    #: What a grid file and a row call it.
    name: str
    #: Raised whenever a score under this protocol can change.
    version: int
    #: Whether a query's own identity under its own camera is junk, query by query.
    same_camera_is_junk: bool
    #: Identities whose gallery images are junk for every query.
    junk_identities: frozenset[int]

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("expected a protocol with a name, got ''")
        if self.version < 1:
            raise ValueError(f"expected version >= 1 of protocol '{self.name}', got {self.version}")


#: Market: Zheng et al., ICCV 2015, and the data set's own evaluation code; images of identity -1 are bad detections.
PROTOCOLS: Mapping[str, Protocol] = {
    "market": Protocol(name="market", version=1, same_camera_is_junk=True, junk_identities=frozenset({-1})),
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


def _check_column(name: str, values: Any) -> None:
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype != np.int64:
        found = f"{values.dtype} of shape {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise ValueError(f"expected {name} as an array (N,) of int64, got {found}")
