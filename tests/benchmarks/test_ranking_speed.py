"""How long ranking takes beside a full argsort and beside the product alone; nothing here asserts a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from robustreid.benchmark.evaluation import PROTOCOLS, Labels, rank, score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    FloatArray = NDArray[Any]
    Features = tuple[FloatArray, FloatArray, Labels, Labels]

N_QUERY, N_GALLERY, DIMENSION, CHUNK = 512, 4096, 512, 256


@pytest.fixture(scope="module")
def features() -> Features:
    """Unit features (Q, D) and (G, D) float32 of 160 noisy identities, and their labels."""
    random = np.random.default_rng(1)
    centres = random.standard_normal((161, DIMENSION), dtype=np.float32)
    sides = []
    for size, lowest in ((N_QUERY, 1), (N_GALLERY, 0)):
        identities = random.integers(lowest, 161, size)
        values = random.standard_normal((size, DIMENSION), dtype=np.float32) + 0.4 * centres[identities]
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        sides.append((values, Labels(identities=identities, cameras=random.integers(0, 6, size))))
    (q, query_labels), (g, gallery_labels) = sides
    return q, g, query_labels, gallery_labels


def products(q: FloatArray, g: FloatArray, dtype: str) -> Iterator[tuple[int, int, FloatArray]]:
    """The chunked product alone, converted chunk by chunk."""
    for start in range(0, len(q), CHUNK):
        part = q[start : start + CHUNK].astype(dtype, copy=False)
        for place in range(0, len(g), 1024):
            yield start, place, part @ g[place : place + 1024].astype(dtype, copy=False).T


def by_argsort(q: FloatArray, g: FloatArray, query_labels: Labels, gallery_labels: Labels) -> float:
    """Step mAP by sorting the whole gallery for each query; ties fall as they fall."""
    precisions = []
    for start in range(0, len(q), CHUNK):
        similarities = q[start : start + CHUNK] @ g.T
        for query, order in enumerate(np.argsort(-similarities, axis=1), start):
            identity = gallery_labels.identities[order] == query_labels.identities[query]
            junk = identity & (gallery_labels.cameras[order] == query_labels.cameras[query])
            ranks = np.flatnonzero(identity[~junk]) + 1
            if len(ranks):
                precisions.append((np.arange(1, len(ranks) + 1) / ranks).mean())
    return float(np.mean(precisions))


def test_ranking(benchmark: Any, features: Features) -> None:
    """Our ranking with its scores, at a reduced size."""
    ranking = benchmark.pedantic(lambda: rank(*features, PROTOCOLS["market"], "cosine", chunk=CHUNK), rounds=3)
    _, scores = score(ranking)
    assert by_argsort(*features) == pytest.approx(scores.mAP.value, abs=1e-4)
    assert 0.1 < scores.mAP.value < 0.99


def test_full_argsort(benchmark: Any, features: Features) -> None:
    """The usual way: sort the gallery for each query."""
    assert 0 < benchmark.pedantic(lambda: by_argsort(*features), rounds=3) < 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bare_product(benchmark: Any, features: Features, dtype: str) -> None:
    """The product in chunks and nothing else: the floor; float64 is what exact similarities need."""
    count = benchmark.pedantic(lambda: sum(tile.size for *_, tile in products(*features[:2], dtype)), rounds=3)
    assert count == N_QUERY * N_GALLERY
