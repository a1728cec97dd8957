"""Exact ranking, chunked and without sorting: for every positive, what is nearer and what is tied."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...models.base import METRICS
from .similarity import fixed_point
from .spans import parts
from .ties import TieGroups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...models.base import Metric
    from .identities import IdentityRanks
    from .protocol import Labels, Protocol
    from .sides import Sides
    from .spans import Part

#: Similarities to positives are held for a whole chunk of queries; so many at most, if need be by taking fewer queries.
_POSITIVES = 2**19


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """All that scores need of a ranking; V of its queries are valid, that is, have a positive."""

    #: Tie groups with a positive; `groups.query` counts the valid queries, 0 to V - 1.
    groups: TieGroups
    #: (V,) int64: the place of each valid query among all queries, ascending.
    query_index: NDArray[np.int64]
    #: (V,) int64 >= 1: n, gallery images that are right answers.
    positives: NDArray[np.int64]
    #: (V,) int64 >= n: N, gallery images that are neither junk for the query nor hidden from it.
    images: NDArray[np.int64]
    #: How many queries there were; those without a positive were dropped.
    n_query: int
    #: How many gallery images there were, junk and hidden ones included.
    n_gallery: int
    #: How many identities the valid queries have.
    n_identity: int
    #: Where the protocol ranks identities: what ranks and Rank-k are then taken from.
    identities: IdentityRanks | None = None

    def __post_init__(self) -> None:
        if not len(self.query_index) == len(self.positives) == len(self.images) <= self.n_query:
            raise ValueError(
                f"expected three columns of one length of at most {self.n_query}, got {len(self.query_index)}, "
                f"{len(self.positives)} and {len(self.images)}"
            )
        found = np.bincount(self.groups.query, self.groups.tied_positives, minlength=len(self.positives))
        if not np.array_equal(found, self.positives):
            raise ValueError("expected every positive of every query in exactly one tie group")
        first = self.groups.tied_positives[self.groups.nearer_positives == 0]
        if self.identities and not np.array_equal(self.identities.tied_positives, first):
            raise ValueError("expected as many nearest positives among identities as among images")

    @property
    def n_query_valid(self) -> int:
        """How many queries have a positive."""
        return len(self.query_index)


def rank(
    query_features: NDArray[Any],
    gallery_features: NDArray[Any],
    query_labels: Labels,
    gallery_labels: Labels,
    protocol: Protocol,
    metric: Metric,
    *,
    chunk: int = 2048,
    gallery_chunk: int = 512,
    device: str = "cpu",
) -> Ranking:
    """The ranking of the gallery for each query.

    Args:
        query_features: (Q, D) float32 or float64; unit vectors (or zeros) for `cosine`, any finite for `euclidean`.
        gallery_features: (G, D), likewise.
        query_labels: of length Q.
        gallery_labels: of length G.
        protocol: says what is junk, what is hidden, and whether identities are ranked.
        metric: `cosine` or `euclidean`; see `fill_similarities`.
        chunk: queries compared at once, fewer where identities have many images. Only memory and time depend on it:
            chunk x (4 D + 4096 + 8 gallery_chunk) bytes.
        gallery_chunk: gallery images compared at once, likewise: 4 D bytes each. A GPU takes 16 times as many.
        device: where, as torch names it, of those that know float64; the result is the same on each.
    """
    if metric not in METRICS:
        raise ValueError(f"expected the metric 'cosine' or 'euclidean', got '{metric}'")
    if chunk < 1 or gallery_chunk < 1:
        raise ValueError(f"expected chunks of at least 1, got chunk {chunk} and gallery_chunk {gallery_chunk}")
    queries = fixed_point(query_features, "query", metric)
    gallery = fixed_point(gallery_features, "gallery", metric)
    _check_match(query_features, gallery_features, query_labels, gallery_labels)

    import torch

    from ..runtime import exact
    from . import devices
    from .identities import identity_ranks
    from .sides import Sides

    found = parts(query_labels, gallery_labels, protocol)
    positives, images = (np.zeros(len(query_labels), dtype=np.int64) for _ in range(2))
    for part in found:
        own = part.spans.own_stop - part.spans.own_start
        junk = part.spans.junk_stop - part.spans.junk_start
        positives[part.queries] = (own - junk)[part.queries]
        images[part.queries] = len(part.spans.rows) - junk[part.queries]
    valid = np.flatnonzero(positives > 0)
    sides = Sides(queries=queries, gallery=gallery, device=torch.device(device))
    with nullcontext() if devices.is_cpu(sides.device) else exact(sides.device):
        at_once = devices.at_once(gallery_chunk, sides.device)
        groups = _tie_groups(sides, found, valid, chunk=chunk, gallery_chunk=at_once)
        identities = (
            identity_ranks(sides, found, valid, gallery_labels.identities, chunk=chunk, gallery_chunk=at_once)
            if protocol.ranks_identities
            else None
        )
    return Ranking(
        groups=groups,
        query_index=valid,
        positives=positives[valid],
        images=images[valid],
        n_query=len(query_labels),
        n_gallery=len(gallery_labels),
        n_identity=len(np.unique(query_labels.identities[valid])),
        identities=identities,
    )


def _check_match(
    query_features: NDArray[Any], gallery_features: NDArray[Any], query_labels: Labels, gallery_labels: Labels
) -> None:
    if query_features.shape[1] != gallery_features.shape[1]:
        raise ValueError(
            f"expected features of one dimension, got {query_features.shape[1]} for the queries "
            f"and {gallery_features.shape[1]} for the gallery"
        )
    sides = (("query", query_features, query_labels), ("gallery", gallery_features, gallery_labels))
    for side, features, labels in sides:
        if len(features) != len(labels):
            raise ValueError(f"expected a label for each of {len(features)} {side} features, got {len(labels)}")


def _tie_groups(
    sides: Sides, found: list[Part], valid: NDArray[np.int64], *, chunk: int, gallery_chunk: int
) -> TieGroups:
    """The tie groups of all valid queries, part by part and chunk by chunk."""
    from .exhaustive import exhaustive_groups
    from .filtering import Chunk, filtered_groups

    several = [np.empty((5, 0), np.int64)]
    for part in found:
        for places in _chunks(part, valid, chunk):
            some = Chunk(sides=sides, spans=part.spans, places=places, rows=valid[places], gallery_chunk=gallery_chunk)
            groups = filtered_groups(some) if sides.is_approximable else None
            several.append(exhaustive_groups(some) if groups is None else groups)
    columns = np.concatenate(several, axis=1)
    query, nearer_images, nearer_positives, tied_images, tied_positives = columns[
        :, np.argsort(columns[0], kind="stable")
    ]
    return TieGroups(
        query=query,
        nearer_images=nearer_images,
        nearer_positives=nearer_positives,
        tied_images=tied_images,
        tied_positives=tied_positives,
    )


def _chunks(part: Part, valid: NDArray[np.int64], chunk: int) -> list[NDArray[np.int64]]:
    """Places of a part's queries among the valid ones, chunk by chunk, those of one identity side by side."""
    places = part.places_among(valid)
    own_start, own_stop = part.spans.own_start[valid[places]], part.spans.own_stop[valid[places]]
    longest = int((own_stop - own_start).max(initial=1))
    n_chunks = max(1, -(-len(places) // max(1, min(chunk, _POSITIVES // longest))))
    several = np.array_split(places[np.argsort(own_start, kind="stable")], n_chunks)
    return [some for some in several if len(some)]
