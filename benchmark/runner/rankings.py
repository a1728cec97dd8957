"""Ranking lists: the nearest gallery images of a few queries, by the same similarities and junk rules as the scores.

A list can be filled in parts, in any order: what is among the nearest of all is among the nearest of every part of
them that it is in. So an image that has left a list never comes back, and an attacked image that ends in one was in
it when its batch was done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...attacks.references import Selection
from ...models.base import Metric
from ..datasets.retrieval import RetrievalSet, SideName
from ..evaluation import is_left_out
from ..evaluation.similarity import FixedPoint, fill_similarities, fixed_point

#: How many images a list has at most.
LENGTH = 10
#: Gallery images that are compared at once.
_CHUNK = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Nearest:
    """The nearest of the gallery images that S queries have been shown so far.

    Nearest first by the rounded similarities of the evaluation; among equal ones the order of the gallery decides. Junk
    is left out.
    """

    data: RetrievalSet
    #: (S,) places of the queries among all queries.
    queries: NDArray[np.int64]
    #: (S, D) their features.
    features: FixedPoint
    #: (S, n <= LENGTH) similarities in grid steps, and places in the gallery; minus infinity for junk.
    similarities: NDArray[np.float64]
    places: NDArray[np.int64]

    def __len__(self) -> int:
        """How many queries there are."""
        return len(self.queries)

    def row(self, number: int) -> list[int]:
        """The list of one query, 0 <= number < S: places in the gallery, nearest first."""
        found: list[int] = self.places[number][np.isfinite(self.similarities[number])].tolist()
        return found

    def members(self) -> frozenset[int]:
        """The places of all images that are in a list."""
        return frozenset(self.places[np.isfinite(self.similarities)].tolist())

    def among(self, places: NDArray[np.int64], features: NDArray[np.float32]) -> Nearest:
        """The lists after further gallery images, at `places` (G,) and with `features` (G, D), none shown before."""
        found = self
        for start in range(0, len(places), _CHUNK):
            found = found._with(places[start : start + _CHUNK], features[start : start + _CHUNK])
        return found

    def _with(self, places: NDArray[np.int64], features: NDArray[np.float32]) -> Nearest:
        new = np.empty((len(self), len(places)))
        gallery = fixed_point(features, "gallery", self.features.metric)
        rows = np.arange(len(self)), np.arange(len(places))
        fill_similarities(self.features, gallery, *rows, out=new, gallery_chunk=_CHUNK)
        new[is_junk(self.data, self.queries, places)] = -np.inf
        similarities = np.concatenate([self.similarities, new], axis=1)
        everyone = np.concatenate([self.places, np.broadcast_to(places, new.shape)], axis=1)
        order = np.lexsort((everyone, -similarities), axis=1)[:, :LENGTH]
        return replace(
            self,
            similarities=np.take_along_axis(similarities, order, axis=1),
            places=np.take_along_axis(everyone, order, axis=1),
        )


def nobody_near(
    data: RetrievalSet, queries: NDArray[np.int64], features: NDArray[np.float32], metric: Metric
) -> Nearest:
    """Empty lists of the `queries` (S,) of a set, which have `features` (S, D)."""
    return Nearest(
        data=data,
        queries=queries,
        features=fixed_point(features, "query", metric),
        similarities=np.empty((len(queries), 0)),
        places=np.empty((len(queries), 0), dtype=np.int64),
    )


def is_junk(data: RetrievalSet, queries: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(S, G): which gallery images at `places` (G,) stand in no list of which of the `queries` (S,).

    Junk, what the protocol hides from a query, and, where there are trials, what the first one leaves out.
    """
    junk = is_left_out(data.protocol, data.query.labels.part(queries), data.gallery.labels.part(places))
    return junk | ~np.isin(places, data.trials[0].gallery) if data.trials else junk


def is_match(data: RetrievalSet, queries: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(S, G): which gallery images at `places` (G,) have the identity of which of the `queries` (S,)."""
    matches: NDArray[np.bool_] = data.query.identities[queries][:, None] == data.gallery.identities[places]
    return matches


def shown_queries(data: RetrievalSet, side: SideName, selection: Selection, count: int) -> NDArray[np.int64]:
    """The places of the queries whose lists are shown: the first of each of the first `count` people.

    Only valid ones, that is, with a right answer; on side `query` only attacked ones. Where there are trials, the first
    one's.
    """
    gallery = np.arange(len(data.gallery))
    shown: dict[int, int] = {}
    candidates = selection.attacked if side == "query" else np.arange(len(data.query))
    for query in np.intersect1d(candidates, data.trials[0].query) if data.trials else candidates:
        if len(shown) == count:
            break
        one, person = np.array([query]), int(data.query.identities[query])
        if person not in shown and (is_match(data, one, gallery) & ~is_junk(data, one, gallery)).any():
            shown[person] = int(query)
    return np.array(list(shown.values()), dtype=np.int64)
