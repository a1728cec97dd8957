"""Which gallery images concern a query: those it is compared with, its identity's, and the junk among them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .protocol import Labels, Protocol


@dataclass(frozen=True, kw_only=True)
class Run:
    """Queries [start, stop) of some that are of one identity, whose images in the gallery are [own_start, own_stop)."""

    start: int
    stop: int
    own_start: int
    own_stop: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Spans:
    """The gallery in order of (identity, camera), where what concerns a query is a range [start, stop)."""

    #: (G,) int64: gallery rows in that order, without the images that are junk for, or hidden from, every query.
    rows: NDArray[np.int64]
    #: (Q,) int64 each: the query's identity, and within it its junk.
    own_start: NDArray[np.int64]
    own_stop: NDArray[np.int64]
    junk_start: NDArray[np.int64]
    junk_stop: NDArray[np.int64]

    def runs(self, queries: NDArray[np.int64]) -> list[Run]:
        """Runs of queries (R,), R >= 1, among which those of one identity, and of none else, are side by side."""
        own_start, own_stop = self.own_start[queries], self.own_stop[queries]
        changes = np.flatnonzero(np.diff(own_start)) + 1
        return [
            Run(start=start, stop=stop, own_start=int(own_start[start]), own_stop=int(own_stop[start]))
            for start, stop in pairwise([0, *changes.tolist(), len(queries)])
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Queries from which the same cameras are hidden: they are compared with one and the same gallery."""

    #: (P,) int64, ascending: which queries.
    queries: NDArray[np.int64]
    #: Of all queries, among what is not hidden from these.
    spans: Spans

    def places_among(self, queries: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of the given queries (V,) are in this part."""
        return np.flatnonzero(np.isin(queries, self.queries))


def parts(query_labels: Labels, gallery_labels: Labels, protocol: Protocol) -> list[Part]:
    """All queries, each in one part; a protocol that hides no camera has one."""
    present = set(gallery_labels.cameras.tolist())
    cameras, camera = np.unique(query_labels.cameras, return_inverse=True)
    hidden = [
        frozenset(other for own, other in protocol.hidden_cameras if own == each and other in present)
        for each in cameras.tolist()
    ]
    found = []
    for some in dict.fromkeys(hidden):
        queries = np.flatnonzero(np.array([each == some for each in hidden])[camera])
        found.append(Part(queries=queries, spans=spans(query_labels, gallery_labels, protocol, hidden=some)))
    return found


def spans(
    query_labels: Labels, gallery_labels: Labels, protocol: Protocol, *, hidden: frozenset[int] = frozenset()
) -> Spans:
    """The spans of all queries in a gallery without the images of the `hidden` cameras."""
    n_gallery = len(gallery_labels)
    identities = np.concatenate([gallery_labels.identities, query_labels.identities])
    cameras, camera = np.unique(np.concatenate([gallery_labels.cameras, query_labels.cameras]), return_inverse=True)
    first_key = np.unique(identities, return_inverse=True)[1] * len(cameras)
    key = first_key + camera

    junk_identities = np.array(sorted(protocol.junk_identities), dtype=np.int64)
    hidden_cameras = np.array(sorted(hidden), dtype=np.int64)
    is_left_out = np.isin(gallery_labels.identities, junk_identities) | np.isin(gallery_labels.cameras, hidden_cameras)
    kept = np.flatnonzero(~is_left_out)
    rows = kept[np.argsort(key[kept], kind="stable")]
    ordered = key[rows]
    own_start = np.searchsorted(ordered, first_key[n_gallery:])
    own_stop = np.searchsorted(ordered, first_key[n_gallery:] + len(cameras))
    junk_start = np.searchsorted(ordered, key[n_gallery:])
    junk_stop = np.searchsorted(ordered, key[n_gallery:], side="right")
    if not protocol.same_camera_is_junk:
        junk_stop = junk_start
    return Spans(rows=rows, own_start=own_start, own_stop=own_stop, junk_start=junk_start, junk_stop=junk_stop)
