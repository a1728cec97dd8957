"""Exact ranking, chunked: for every positive, what is nearer and what is tied.

Only images at least as near as a query's furthest positive are ever sorted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...models.base import METRICS
from .similarity import fill_similarities, fixed_point
from .ties import TieGroups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...models.base import Metric
    from .protocol import Labels, Protocol
    from .similarity import FixedPoint

#: Images at least as near as the furthest positive are sorted where there are at most so many for each distinct
#: similarity of a positive, and counted otherwise: 16 ns an image against 1.5 to 5 us a value.
_SORTED_PER_VALUE = 256
#: The similarities of one chunk of queries take no more than this, if need be by taking fewer queries.
_CHUNK_BYTES = 2**26


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """All that scores need of a ranking; V of its queries are valid, that is, have a positive."""

    #: Tie groups with a positive; `groups.query` counts the valid queries, 0 to V - 1.
    groups: TieGroups
    #: (V,) int64: the place of each valid query among all queries, ascending.
    query_index: NDArray[np.int64]
    #: (V,) int64 >= 1: n, gallery images that are right answers.
    positives: NDArray[np.int64]
    #: (V,) int64 >= n: gallery images that are not junk for the query.
    images: NDArray[np.int64]
    #: How many queries there were; those without a positive were dropped.
    n_query: int
    #: How many gallery images there were, junk included.
    n_gallery: int
    #: How many identities the valid queries have.
    n_identity: int

    def __post_init__(self) -> None:
        if not len(self.query_index) == len(self.positives) == len(self.images) <= self.n_query:
            raise ValueError(
                f"expected three columns of one length of at most {self.n_query}, got {len(self.query_index)}, "
                f"{len(self.positives)} and {len(self.images)}"
            )
        found = np.bincount(self.groups.query, self.groups.tied_positives, minlength=len(self.positives))
        if not np.array_equal(found, self.positives):
            raise ValueError("expected every positive of every query in exactly one tie group")

    @property
    def n_query_valid(self) -> int:
        """How many queries have a positive."""
        return len(self.query_index)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Spans:
    """The gallery in order of (identity, camera), where what concerns a query is a range [start, stop)."""

    #: (G,) int64: gallery rows in that order, without the images that are junk for every query.
    rows: NDArray[np.int64]
    #: (Q,) int64 each: the query's identity, and within it its junk.
    own_start: NDArray[np.int64]
    own_stop: NDArray[np.int64]
    junk_start: NDArray[np.int64]
    junk_stop: NDArray[np.int64]


def rank(
    query_features: NDArray[Any],
    gallery_features: NDArray[Any],
    query_labels: Labels,
    gallery_labels: Labels,
    protocol: Protocol,
    metric: Metric,
    *,
    chunk: int = 512,
    gallery_chunk: int = 1024,
) -> Ranking:
    """The ranking of the gallery for each query.

    Args:
        query_features: (Q, D) float32 or float64; unit vectors (or zeros) for `cosine`, any finite for `euclidean`.
        gallery_features: (G, D), likewise.
        query_labels: of length Q.
        gallery_labels: of length G.
        protocol: says what is junk.
        metric: `cosine` or `euclidean`; see `fill_similarities`.
        chunk: queries compared at once, fewer where chunk x G similarities would take more than 64 MiB. Only memory and
            time depend on it: 8 chunk D bytes, and 4 (cosine) or 8 (euclidean) chunk G bytes.
        gallery_chunk: gallery images converted at once, likewise: about 8 gallery_chunk (1.5 D + chunk) bytes.
    """
    if metric not in METRICS:
        raise ValueError(f"expected the metric 'cosine' or 'euclidean', got '{metric}'")
    if chunk < 1 or gallery_chunk < 1:
        raise ValueError(f"expected chunks of at least 1, got chunk {chunk} and gallery_chunk {gallery_chunk}")
    queries = fixed_point(query_features, "query", metric)
    gallery = fixed_point(gallery_features, "gallery", metric)
    _check_match(query_features, gallery_features, query_labels, gallery_labels)

    spans = _spans(query_labels, gallery_labels, protocol)
    junk = spans.junk_stop - spans.junk_start
    positives = spans.own_stop - spans.own_start - junk
    valid = np.flatnonzero(positives > 0)
    return Ranking(
        groups=_tie_groups(queries, gallery, spans, valid, chunk=chunk, gallery_chunk=gallery_chunk),
        query_index=valid,
        positives=positives[valid],
        images=len(spans.rows) - junk[valid],
        n_query=len(query_labels),
        n_gallery=len(gallery_labels),
        n_identity=len(np.unique(query_labels.identities[valid])),
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


def _spans(query_labels: Labels, gallery_labels: Labels, protocol: Protocol) -> _Spans:
    n_gallery = len(gallery_labels)
    identities = np.concatenate([gallery_labels.identities, query_labels.identities])
    cameras, camera = np.unique(np.concatenate([gallery_labels.cameras, query_labels.cameras]), return_inverse=True)
    first_key = np.unique(identities, return_inverse=True)[1] * len(cameras)
    key = first_key + camera

    junk_identities = np.array(sorted(protocol.junk_identities), dtype=np.int64)
    kept = np.flatnonzero(~np.isin(gallery_labels.identities, junk_identities))
    rows = kept[np.argsort(key[kept], kind="stable")]
    ordered = key[rows]
    own_start = np.searchsorted(ordered, first_key[n_gallery:])
    own_stop = np.searchsorted(ordered, first_key[n_gallery:] + len(cameras))
    junk_start = np.searchsorted(ordered, key[n_gallery:])
    junk_stop = np.searchsorted(ordered, key[n_gallery:], side="right")
    if not protocol.same_camera_is_junk:
        junk_stop = junk_start
    return _Spans(rows=rows, own_start=own_start, own_stop=own_stop, junk_start=junk_start, junk_stop=junk_stop)


def _tie_groups(
    queries: FixedPoint,
    gallery: FixedPoint,
    spans: _Spans,
    valid: NDArray[np.int64],
    *,
    chunk: int,
    gallery_chunk: int,
) -> TieGroups:
    """The tie groups of all valid queries, chunk by chunk."""
    dtype = np.float32 if queries.metric == "cosine" else np.float64
    affordable = _CHUNK_BYTES // max(1, len(spans.rows) * np.dtype(dtype).itemsize)
    chunk = max(1, min(chunk, affordable, len(valid)))
    similarities = np.empty((chunk, len(spans.rows)), dtype)
    parts = [np.empty((5, 0), np.int64)]
    for start in range(0, len(valid), chunk):
        chosen = valid[start : start + chunk]
        out = similarities[: len(chosen)]
        fill_similarities(queries, gallery, chosen, spans.rows, out=out, gallery_chunk=gallery_chunk)
        for place, (query, row) in enumerate(zip(chosen, out, strict=True), start):
            own_start, own_stop = spans.own_start[query], spans.own_stop[query]
            junk_start, junk_stop = spans.junk_start[query], spans.junk_stop[query]
            positives = np.concatenate([row[own_start:junk_start], row[junk_stop:own_stop]])
            row[junk_start:junk_stop] = -np.inf
            parts.append(_groups_of_query(place, row, positives))
    query, nearer_images, nearer_positives, tied_images, tied_positives = np.concatenate(parts, axis=1)
    return TieGroups(
        query=query,
        nearer_images=nearer_images,
        nearer_positives=nearer_positives,
        tied_images=tied_images,
        tied_positives=tied_positives,
    )


def _groups_of_query(place: int, row: NDArray[Any], positives: NDArray[Any]) -> NDArray[np.int64]:
    """Columns (5, T) int64 of one query's tie groups: query, C, P, N, y.

    Args:
        place: the query's number among the valid ones.
        row: (G,) similarities to all images, minus infinity for junk.
        positives: (n,) those of the positives, read from `row`.
    """
    values, tied_positives = np.unique(positives, return_counts=True)
    values, tied_positives = values[::-1], tied_positives[::-1]
    candidates = row[row >= values[-1]]
    is_sorted = len(candidates) <= _SORTED_PER_VALUE * len(values)
    nearer, reached = (_count_sorted if is_sorted else _count)(candidates, values)
    nearer_positives = np.cumsum(tied_positives) - tied_positives
    return np.stack([np.full_like(nearer, place), nearer, nearer_positives, reached - nearer, tied_positives])


def _count(row: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many of row (G,) are above, and how many at or above, each of values (T,); passes over the row."""
    above = [np.count_nonzero(row > value) for value in values]
    reached = [np.count_nonzero(row >= value) for value in values]
    return np.array(above, dtype=np.int64), np.array(reached, dtype=np.int64)


def _count_sorted(row: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What `_count` gives, by sorting the row once."""
    ordered = np.sort(row)
    above = len(row) - np.searchsorted(ordered, values, side="right")
    reached = len(row) - np.searchsorted(ordered, values, side="left")
    return above.astype(np.int64), reached.astype(np.int64)
