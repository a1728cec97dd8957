"""A similarity is a function of its two features and of nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from robustreid.benchmark.evaluation import GRID, PROTOCOLS, Labels, NonFiniteFeatureError, rank
from robustreid.benchmark.evaluation.similarity import fill_similarities, fixed_point

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from robustreid.models.base import Metric

    FloatArray = NDArray[Any]

RANDOM = np.random.default_rng(20)


def unit(features: FloatArray) -> FloatArray:
    """Rows of length one, float32."""
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(np.float32)


def similarities(queries: FloatArray, gallery: FloatArray, metric: Metric, gallery_chunk: int = 1024) -> FloatArray:
    """All of them, in grid steps."""
    out = np.empty((len(queries), len(gallery)))
    sides = fixed_point(queries, "query", metric), fixed_point(gallery, "gallery", metric)
    fill_similarities(*sides, np.arange(len(queries)), np.arange(len(gallery)), out=out, gallery_chunk=gallery_chunk)
    return out


@pytest.mark.parametrize("scale", [1e-2, 1.0, 37.0, 1e4])
def test_values_are_the_definitions_within_a_step(scale: float) -> None:
    """Cosine is q.g and euclidean is -|q-g|^2, in steps of 2^-20 or the rounding of features, whichever is larger."""
    queries, gallery = RANDOM.standard_normal((9, 77)), RANDOM.standard_normal((31, 77))
    cosine = unit(queries).astype(np.float64) @ unit(gallery).T.astype(np.float64)
    assert cosine * GRID == pytest.approx(similarities(unit(queries), unit(gallery), "cosine"), abs=0.6)

    queries, gallery = (queries * scale).astype(np.float32), (gallery * scale).astype(np.float32)
    squared = ((queries[:, None].astype(np.float64) - gallery[None]) ** 2).sum(axis=2)
    tolerance = 0.6 + 1e-7 * GRID * squared.max()
    assert -squared * GRID == pytest.approx(similarities(queries, gallery, "euclidean"), abs=tolerance)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dimension", [1, 3, 17, 129, 512, 2048])
def test_equal_gallery_rows_tie_bit_by_bit(metric: Metric, dimension: int) -> None:
    """A gallery collapsed to one random vector ties exactly for each query, whatever the shape of the product."""
    row = unit(RANDOM.standard_normal((1, dimension)))
    queries = unit(RANDOM.standard_normal((33, dimension)))
    if metric == "euclidean":
        row, queries = row * np.float32(23.7), queries * RANDOM.uniform(0.1, 90, (33, 1)).astype(np.float32)
    whole = similarities(queries, np.repeat(row, 403, axis=0), metric)
    assert (whole == whole[:, :1]).all()
    for gallery_chunk in (1, 2, 3, 67, 100, 402):
        assert np.array_equal(whole, similarities(queries, np.repeat(row, 403, axis=0), metric, gallery_chunk))
    one_by_one = [similarities(queries[i : i + 1], row, metric)[0, 0] for i in range(33)]
    assert np.array_equal(whole[:, 0], one_by_one)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_order_and_memory_layout_change_nothing(metric: Metric) -> None:
    """Permuted, strided, Fortran-ordered and float64 copies of the same features give the same bits."""
    queries, gallery = unit(RANDOM.standard_normal((20, 130))), unit(RANDOM.standard_normal((301, 130)))
    expected = similarities(queries, gallery, metric)
    order = RANDOM.permutation(301)
    assert np.array_equal(expected[:, order], similarities(queries, gallery[order], metric))
    strided = np.repeat(gallery, 2, axis=0)[::2]
    for other in (np.asfortranarray(gallery), strided, gallery.astype(np.float64)):
        assert np.array_equal(expected, similarities(queries, other, metric))
    assert np.array_equal(expected, similarities(gallery, queries, metric).T)


def test_kernels_and_threads_change_nothing() -> None:
    """The same bits come out of other OpenBLAS kernels and thread counts, in processes of their own."""
    program = (
        "import hashlib, numpy as np\n"
        "from robustreid.benchmark.evaluation import *\n"
        "r = np.random.default_rng(3)\n"
        "q, g = (r.standard_normal((n, 300)).astype('f4') for n in (40, 500))\n"
        "g[100:] = g[0]\n"
        "q, g = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, g))\n"
        "l = [Labels(identities=r.integers(0, 5, n), cameras=r.integers(0, 2, n)) for n in (40, 500)]\n"
        "for metric in ('cosine', 'euclidean'):\n"
        "    t = rank(q, g, *l, PROTOCOLS['market'], metric).groups\n"
        "    print(hashlib.sha256(np.stack([*vars(t).values()]).tobytes()).hexdigest(), t.tied_images.max())\n"
    )
    settings: list[dict[str, str]] = [{}, {"OPENBLAS_CORETYPE": "Haswell"}, {"OPENBLAS_NUM_THREADS": "1"}]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | setting, capture_output=True, text=True, check=True
        ).stdout
        for setting in settings
    }
    assert len(outputs) == 1
    assert int(outputs.pop().split()[1]) > 300  # the collapsed part does tie


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("side", "rows"), [("query", 2), ("gallery", 3)])
def test_features_that_are_not_finite_are_refused(metric: Metric, value: float, side: str, rows: int) -> None:
    """The message names the side and counts its rows; junk rows count too."""
    features = {"query": unit(RANDOM.standard_normal((4, 8))), "gallery": unit(RANDOM.standard_normal((5, 8)))}
    features[side][:rows, 3] = value
    query, gallery = (Labels(identities=np.full(n, -1), cameras=np.zeros(n, np.int64)) for n in (4, 5))
    with pytest.raises(NonFiniteFeatureError, match=f"{side} features.* in {rows} of {len(features[side])} rows"):
        rank(features["query"], features["gallery"], query, gallery, PROTOCOLS["market"], metric)


def test_features_too_large_to_square_are_refused() -> None:
    """Float64 features whose norm overflows cannot be compared."""
    with pytest.raises(NonFiniteFeatureError, match="overflow in 1 of 1 rows"):
        fixed_point(np.full((1, 2), 1e200), "query", "euclidean")


def test_raw_features_are_refused_for_cosine() -> None:
    """Forgetting to normalise is an error, not another ranking."""
    with pytest.raises(ValueError, match="query features of norm 2 to 3 in 2 of 3 rows"):
        fixed_point(np.diag([1.0, 2.0, 3.0]), "query", "cosine")


@pytest.mark.parametrize("features", [np.zeros(3), np.zeros((3, 0)), np.zeros((3, 2), np.float16)])
def test_what_is_no_matrix_of_floats_is_refused(features: FloatArray) -> None:
    """Shape and dtype are checked at the door."""
    with pytest.raises(ValueError, match=r"expected gallery features \(N, D\)"):
        fixed_point(features, "gallery", "cosine")
