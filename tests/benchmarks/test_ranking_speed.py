"""How long ranking with scores takes beside the bare product, and beside the usual sort; nothing here asserts a time.

The bare product is that of all features in float32, by the faster of two libraries: what no exact search can do
without. The usual way is that of torchreid and its kin: distances in float32, `argsort` of the gallery for each query,
then a loop over queries that takes junk out and adds up average precision and hits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from robustreid.benchmark.evaluation import PROTOCOLS, Labels, rank, score

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    FloatArray = NDArray[Any]
    Features = tuple[FloatArray, FloatArray, Labels, Labels]

#: Queries, gallery images and identities: Market-1501's, and a third of them; numbers a feature: ResNet-50's.
FULL, REDUCED = (3368, 19_732, 751), (1123, 6577, 250)
DIMENSION, N_CAMERAS, CHUNK = 2048, 6, 512
#: How an image of the gallery lies to those of its identity: as a trained model has them; driven to the far end by an
#: attack; or anywhere between both, among the others, as a weak attack leaves them.
WEIGHTS = {"clean": (1.0, 1.0), "attacked": (-1.0, -1.0), "half attacked": (-1.0, 1.0)}


def features_of(shape: tuple[int, int, int], kind: str) -> Features:
    """Unit features (Q, 2048) and (G, 2048) float32 and their labels.

    Directions have unequal variances, so that similarities to others spread by about 0.1, as a trained model's do.
    """
    random = np.random.default_rng(1)
    n_query, n_gallery, n_identity = shape
    deviations = ((1 + np.arange(DIMENSION) / 16) ** -0.75).astype("f4")
    centres = random.standard_normal((n_identity + 1, DIMENSION), dtype="f4")
    sides = []
    for count, lowest, weights in ((n_query, 1, (1.0, 1.0)), (n_gallery, 0, WEIGHTS[kind])):
        identities = random.integers(lowest, n_identity + 1, count)
        values = random.standard_normal((count, DIMENSION), dtype="f4")
        for start in range(0, count, CHUNK):
            rows = values[start : start + CHUNK]
            weight = random.uniform(*weights, (len(rows), 1)).astype("f4")
            rows += weight * centres[identities[start : start + CHUNK]]
            rows *= deviations
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        sides.append((values, Labels(identities=identities, cameras=random.integers(0, N_CAMERAS, count))))
    (queries, query_labels), (gallery, gallery_labels) = sides
    return queries, gallery, query_labels, gallery_labels


def by_sorting(queries: FloatArray, gallery: FloatArray, query_labels: Labels, gallery_labels: Labels) -> Any:
    """Step mAP and hits at rank 1, 5, 10, 20 by sorting the whole gallery for each query; ties fall as they fall."""
    precisions, hits = [], []
    for start in range(0, len(queries), CHUNK):
        distances = 2 - 2 * (queries[start : start + CHUNK] @ gallery.T)
        for query, order in enumerate(np.argsort(distances, axis=1), start):
            is_own = gallery_labels.identities[order] == query_labels.identities[query]
            is_junk = is_own & (gallery_labels.cameras[order] == query_labels.cameras[query])
            ranks = np.flatnonzero(is_own[~is_junk]) + 1
            if len(ranks):
                precisions.append((np.arange(1, len(ranks) + 1) / ranks).mean())
                hits.append([ranks[0] <= cutoff for cutoff in (1, 5, 10, 20)])
    return np.concatenate([[np.mean(precisions)], np.mean(hits, axis=0)])


def in_numpy(queries: FloatArray, gallery: FloatArray) -> None:
    """The product alone, by NumPy, chunk by chunk into the same memory."""
    out = np.empty((CHUNK, len(gallery)), "f4")
    for start in range(0, len(queries), CHUNK):
        part = queries[start : start + CHUNK]
        np.matmul(part, gallery.T, out=out[: len(part)])


def in_torch(queries: FloatArray, gallery: FloatArray) -> None:
    """The same by PyTorch."""
    left, right = torch.from_numpy(queries), torch.from_numpy(gallery)
    out = torch.empty(CHUNK, len(gallery))
    for start in range(0, len(left), CHUNK):
        part = left[start : start + CHUNK]
        torch.mm(part, right.T, out=out[: len(part)])


def compare(duel: Any, shape: tuple[int, int, int], kind: str, *, has_bars: bool, rounds: int) -> None:
    """Rank and score beside its peers, which find the same where nothing ties.

    The bar of 1.35 times the bare product is a ratio of 0.741.
    """
    features = features_of(shape, kind)
    peers: dict[str, Callable[[], Any]] = {
        "float32 product, NumPy": lambda: in_numpy(*features[:2]),
        "float32 product, PyTorch": lambda: in_torch(*features[:2]),
        "full sort": lambda: by_sorting(*features),
    }
    (_, scores), found = duel(
        lambda: score(rank(*features, PROTOCOLS["market"], "cosine")),
        peers,
        title=f"rank and score {shape[0]} x {shape[1]} x {DIMENSION}, {kind}",
        bar=dict(zip(peers, (0.741, 0.741, 1.5), strict=True)) if has_bars else None,
        rounds=rounds,
    )
    ours = [scores.mAP.value, scores.rank1.value, scores.rank5.value, scores.rank10.value, scores.rank20.value]
    assert ours == pytest.approx(found["full sort"], abs=1e-3)
    assert scores.mAP.pessimistic > scores.mAP.optimistic - 1e-3


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_third_of_market(duel: Any, kind: str) -> None:
    """A third of the queries and of the gallery, where the product, which grows as their product, counts for less."""
    compare(duel, REDUCED, kind, has_bars=False, rounds=3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WEIGHTS)
def test_the_shape_of_market(duel: Any, kind: str) -> None:
    """Market-1501's own shape; the bars are for what is near or far, and not for all between."""
    compare(duel, FULL, kind, has_bars=kind != "half attacked", rounds=5)
