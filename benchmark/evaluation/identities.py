"""Ranks among identities, each placed at its nearest image: what SYSU-MM01 and LLCM count Rank-k on.

The public evaluation code walks the ranked images and keeps the first of each identity; the rank is that of the query's
own. Junk and hidden images are left out first. Every identity counts as one, distractors (0) too, as in that code: the
sets that are scored so have none.

Ties. Let v be the nearest positive's similarity, y the positives at v, D the other identities that have an image nearer
than v, and m_j the images at v of the j-th other identity that has some there and none nearer. Only the order of
those images decides. Give each of them an arrival time, uniform in [0, 1] and independent: their order is then uniform.
The first positive arrives at t with density y (1-t)^(y-1), and until then identity j has come with probability
1 - (1-t)^m_j, independently of the others. So
    the expected rank is 1 + D + sum over j of m_j / (m_j + y);
    the chance of rank k or better is the integral over t of the density times the chance that at most k - 1 - D of
    these have come: a polynomial of degree y - 1 + sum m_j at most, which Gauss-Legendre integrates.
Where everything ties the own identity is first with chance n/N, that of a random order of images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from math import ceil, log2
from typing import TYPE_CHECKING, Any

import numpy as np

from .similarity import fill_similarities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .sides import Sides
    from .spans import Part

#: All similarities of some queries take no more than this, if need be of fewer queries.
_BYTES = 2**25
#: Gauss-Legendre's nodes a panel: exact for polynomials of degree 63.
_NODES = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentityRanks:
    """Where the own identity of each of V valid queries stands among identities, and with which it ties."""

    #: (V,) int64 >= 0: D, other identities with an image nearer than the nearest positive.
    nearer: NDArray[np.int64]
    #: (V,) int64 >= 1: y, positives as near as the nearest.
    tied_positives: NDArray[np.int64]
    #: (J,) int64, ascending: a query for each other identity whose nearest image is as near as that.
    query: NDArray[np.int64]
    #: (J,) int64 >= 1: m, how many of this identity's images are.
    tied_images: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.nearer) != len(self.tied_positives) or len(self.query) != len(self.tied_images):
            raise ValueError(
                f"expected columns (V,), (V,), (J,) and (J,), got lengths {[*map(len, vars(self).values())]}"
            )
        if (self.nearer < 0).any() or (self.tied_positives < 1).any() or (self.tied_images < 1).any():
            raise ValueError("expected 0 or more nearer identities, and 1 or more images of each that is tied")

    def optimistic(self) -> IdentityRanks:
        """The own identity before those it ties with."""
        nobody = np.empty(0, dtype=np.int64)
        return replace(self, query=nobody, tied_images=nobody)

    def pessimistic(self) -> IdentityRanks:
        """The own identity after those it ties with."""
        return replace(self.optimistic(), nearer=self.nearer + self._tied())

    def ranks(self) -> NDArray[np.float64]:
        """(V,) the expected rank of each query's own identity, from 1."""
        before = self.tied_images / (self.tied_images + self.tied_positives[self.query])
        found = self.nearer.astype(np.float64) + 1.0
        found += np.bincount(self.query, before, minlength=len(found))
        return found

    def hits(self, cutoffs: Sequence[int]) -> list[NDArray[np.float64]]:
        """(V,) for each cutoff: the chance that the own identity is among so many first ones."""
        tied = self._tied()
        # How many of the tied identities may come before the own one.
        allowed = np.array(cutoffs)[:, None] - 1 - self.nearer
        hit = (allowed >= tied).astype(np.float64)
        is_open = (allowed >= 0) & (allowed < tied)
        starts = np.cumsum(tied) - tied
        known: dict[tuple[int, bytes], NDArray[np.float64]] = {}
        for query in np.flatnonzero(is_open.any(axis=0)):
            images = np.sort(self.tied_images[starts[query] : starts[query] + tied[query]])
            positives = int(self.tied_positives[query])
            key = positives, images.tobytes()
            if key not in known:
                known[key] = np.minimum(np.cumsum(_come_before(positives, images, max(cutoffs))), 1.0)
            chosen = is_open[:, query]
            hit[chosen, query] = known[key][allowed[chosen, query]]
        return list(hit)

    def _tied(self) -> NDArray[np.int64]:
        """(V,) with how many other identities each query's own is tied."""
        return np.bincount(self.query, minlength=len(self.nearer)).astype(np.int64)


def identity_ranks(
    sides: Sides,
    parts: Sequence[Part],
    valid: NDArray[np.int64],
    identities: NDArray[np.int64],
    *,
    chunk: int,
    gallery_chunk: int,
) -> IdentityRanks:
    """The ranks among identities, from all exact similarities.

    Args:
        sides: all queries and the whole gallery.
        parts: all queries.
        valid: (V,) those with a positive, ascending.
        identities: (G,) of the gallery.
        chunk: queries compared at once, at most.
        gallery_chunk: gallery images compared at once.
    """
    nearer, tied_positives = np.zeros((2, len(valid)), dtype=np.int64)
    found = [np.empty((2, 0), dtype=np.int64)]
    dtype = np.float32 if sides.queries.metric == "cosine" else np.float64
    for part in parts:
        spans, every = part.spans, part.places_among(valid)
        starts = _starts(identities[spans.rows])
        at_once = min(chunk, max(1, _BYTES // max(1, len(spans.rows) * np.dtype(dtype).itemsize)))
        similarities = np.empty((min(at_once, len(every)), len(spans.rows)), dtype)
        for start in range(0, len(every), at_once):
            places = every[start : start + at_once]
            rows, out = valid[places], similarities[: len(places)]
            fill_similarities(
                sides.queries, sides.gallery, rows, spans.rows,
                out=out, gallery_chunk=gallery_chunk, multiply=sides.multiply,
            )  # fmt: skip
            for row, query in zip(out, rows, strict=True):
                row[spans.junk_start[query] : spans.junk_stop[query]] = -np.inf
            own = np.searchsorted(starts, spans.own_start[rows])
            nearer[places], tied_positives[places], query, tied_images = _compared(out, starts, own)
            found.append(np.stack([places[query], tied_images]))
    query, tied_images = np.concatenate(found, axis=1)
    order = np.argsort(query, kind="stable")
    return IdentityRanks(
        nearer=nearer, tied_positives=tied_positives, query=query[order], tied_images=tied_images[order]
    )


def _starts(identities: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each identity of a sorted column (G,) starts."""
    is_first = np.ones(len(identities), dtype=bool)
    is_first[1:] = identities[1:] != identities[:-1]
    return np.flatnonzero(is_first)


def _compared(
    similarities: NDArray[Any], starts: NDArray[np.int64], own: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """D (B,), y (B,), and of each other identity that is tied the query and m, (J,) each.

    Args:
        similarities: (B, G) by identity, minus infinity for junk.
        starts: (I,) where each identity starts.
        own: (B,) which identity each query has.
    """
    here = np.arange(len(own))
    nearest = np.maximum.reduceat(similarities, starts, axis=1)
    value = nearest[here, own][:, None]
    is_tied = nearest == value
    tied_images = np.add.reduceat(similarities == value, starts, axis=1, dtype=np.int64)
    positives = tied_images[here, own]
    is_tied[here, own] = False
    query, other = np.nonzero(is_tied)
    return np.count_nonzero(nearest > value, axis=1), positives, query, tied_images[query, other]


def _come_before(positives: int, images: NDArray[np.int64], length: int) -> NDArray[np.float64]:
    """(length,) the chance that exactly 0, 1 ... of other identities come before the first positive.

    Args:
        positives: y >= 1.
        images: (J,) m of each identity.
        length: how many chances.
    """
    nodes, weights = _quadrature(positives - 1 + int(images.sum()))
    absence = np.log1p(-nodes)
    chances = np.zeros((length, len(nodes)))
    chances[0] = weights * positives * np.exp((positives - 1) * absence)
    for m in images.tolist():
        arrived = chances[:-1] * -np.expm1(m * absence)
        chances *= np.exp(m * absence)
        chances[1:] += arrived
    found: NDArray[np.float64] = chances.sum(axis=1)
    return found


@lru_cache(maxsize=64)
def _quadrature(degree: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights (K,) on [0, 1] for `_come_before`, whose integrand is a polynomial of a degree.

    Up to degree 63 one panel, which is exact. Beyond, most happens within a few 1/degree of 0: the first panel ends at
    32/degree or before, and each further one is as long as all before it. On the Bernstein ellipse of parameter 4
    around such a panel |1-t| <= 1, so that 32 nodes leave an error of about 4^-64 times the integrand there (Trefethen,
    Approximation Theory and Approximation Practice, 2013, chapter 19).
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    n_doubled = 0 if degree < 2 * _NODES else ceil(log2(degree / _NODES))
    ends = [0.0, *(2.0**-power for power in range(n_doubled, -1, -1))]
    panels = [
        (start + (1 + nodes) / 2 * (stop - start), weights / 2 * (stop - start)) for start, stop in pairwise(ends)
    ]
    return np.concatenate([panel[0] for panel in panels]), np.concatenate([panel[1] for panel in panels])
