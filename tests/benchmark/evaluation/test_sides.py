"""The proven bound holds, and fixed point on a device is fixed point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from robustreid.benchmark.evaluation import devices
from robustreid.benchmark.evaluation.sides import Sides, error_bound
from robustreid.benchmark.evaluation.similarity import fill_similarities, fixed_point
from robustreid.models.base import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray
    from robustreid.models.base import Metric

    FloatArray = NDArray[Any]

CPU = torch.device("cpu")
DIMENSIONS = (1, 7, 512, 513, 2048)


def sides_of(features: Iterable[FloatArray], metric: Metric) -> Sides:
    """Both sides, queries first, on the CPU."""
    queries, gallery = features
    fixed = fixed_point(queries, "query", metric), fixed_point(gallery, "gallery", metric)
    return Sides(queries=fixed[0], gallery=fixed[1], device=CPU)


def rows_of(both: Sides) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All rows of each side."""
    return np.arange(len(both.queries.features)), np.arange(len(both.gallery.features))


def exact_steps(both: Sides) -> FloatArray:
    """(Q, G): similarities by definition."""
    query_rows, gallery_rows = rows_of(both)
    out = np.empty((len(query_rows), len(gallery_rows)))
    fill_similarities(both.queries, both.gallery, query_rows, gallery_rows, out=out, gallery_chunk=1000)
    return out


def distances_from_exact(both: Sides) -> FloatArray:
    """(Q, G): how far float32 is from what it stands for, rounded to the grid."""
    query_rows, gallery_rows = rows_of(both)
    out, scratch = torch.empty(2, len(query_rows), len(gallery_rows))
    queries, gallery = (
        both.singles(side, rows, np.empty((len(rows), side.features.shape[1]), np.float32))
        for side, rows in ((both.queries, query_rows), (both.gallery, gallery_rows))
    )
    both.approximate(queries, gallery, gallery_rows, out=out, scratch=scratch)
    wanted = np.stack([both.references(column, query_rows) for column in exact_steps(both).T], axis=1)
    distances: FloatArray = np.abs(out.numpy() - wanted)
    return distances


def awkward(kind: str, dimension: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Unit rows (20, D) and (50, D) that add up badly in float32."""
    random = np.random.default_rng(seed + dimension)
    q, g = (random.standard_normal((count, dimension)) for count in (20, 50))
    if kind == "one sign":
        q, g = np.abs(q), np.abs(g)
    if kind == "constant":
        q, g = np.ones_like(q) + 1e-3 * q, np.ones_like(g) + 1e-3 * g
    if kind == "cancelling":
        q, half = np.abs(q), dimension // 2
        g[:, half : 2 * half] = -g[:, :half]
        q[:, half : 2 * half] = q[:, :half]
    if kind == "one huge entry":
        q[:, 0], g[:, -1], g[::2, 0] = 1e6, -1e6, 1e6
    if kind == "denormal":
        q[:, dimension // 2 :] *= 1e-42
        g[:, : dimension // 2] *= 1e-42
    if kind == "zeros":
        q[::3], g[::2] = 0, 0
    lengths = [np.linalg.norm(x, axis=1, keepdims=True) for x in (q, g)]
    q, g = (x / np.where(length > 0, length, 1) for x, length in zip((q, g), lengths, strict=True))
    return q, g


KINDS = ("random", "one sign", "constant", "cancelling", "one huge entry", "denormal", "zeros")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_no_number_is_further_from_the_exact_one_than_the_margin(
    kind: str, dimension: int, dtype: str, metric: Metric
) -> None:
    """Against fixed point, on the scale of unit vectors and, where lengths are free, of others."""
    for scale in (1.0,) if metric == "cosine" else (1.0, 3.7e-5, 41.0, 1e15):
        both = sides_of(((x * scale).astype(dtype) for x in awkward(kind, dimension)), metric)
        assert both.is_approximable
        assert distances_from_exact(both).max() <= both.margin


NUMBERS = st.floats(-(2.0**30), 2.0**30, width=32)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    dimension=st.integers(1, 40),
    data=st.data(),
)
def test_the_margin_holds_for_any_features(dimension: int, data: st.DataObject) -> None:
    """Rows of any numbers of float32, tiny beside huge."""
    features = [data.draw(arrays(np.float32, (3, dimension), elements=NUMBERS)) for _ in range(2)]
    both = sides_of(features, "euclidean")
    assume(both.is_approximable)
    assert distances_from_exact(both).max() <= both.margin


def _in_turn(products: FloatArray) -> np.float32:
    total = np.float32(0)
    for product in products:
        total += product
    return total


def _largest_first(products: FloatArray) -> np.float32:
    return _in_turn(products[np.argsort(-np.abs(products))])


def _signs_apart(products: FloatArray) -> np.float32:
    return _in_turn(products[np.argsort(products)])


@pytest.mark.parametrize("order", [_in_turn, _largest_first, _signs_apart])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_holds_for_any_order_within_a_slab(kind: str, order: Callable[[FloatArray], np.float32]) -> None:
    """Products rounded and added one by one, as the worst BLAS would, slab by slab."""
    dimension = 1100
    q, g = (x[:4].astype("f4") for x in awkward(kind, dimension))
    both = sides_of((q, g), "cosine")
    for query, wanted in zip(q, exact_steps(both)[:, :4], strict=True):
        for image, steps in zip(g, wanted, strict=True):
            products = query * image
            found = _in_turn(np.array([order(products[start : start + 512]) for start in (0, 512, 1024)]))
            assert abs(float(found) - steps / 2**20) <= both.margin


def test_the_bound_is_small_and_hardly_too_large() -> None:
    """34 steps of the grid at 2,048 dimensions; adding 511 crumbs to a large number one by one costs half of it."""
    assert 2**20 * error_bound(2048) == pytest.approx(34, abs=0.5)
    assert error_bound(1) < error_bound(512) < error_bound(513) < error_bound(2048)
    row = np.full((1, 512), np.sqrt(2.0**-25 - 2.0**-31))
    row[0, 0] = np.sqrt(1 - (row[0, 1:] ** 2).sum())
    row = row.astype("f4")
    both = sides_of((row, row), "cosine")
    lost = exact_steps(both)[0, 0] / 2**20 - float(_in_turn(row[0] * row[0]))
    assert 0.4 * both.margin < lost < both.margin


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_pairs_and_matrices_are_what_the_definition_gives(metric: Metric, dtype: str) -> None:
    """Whole numbers, and similarities of both shapes, bit for bit, whatever the lengths of the rows."""
    q, g = awkward("random", 300)
    if metric == "euclidean":
        random = np.random.default_rng(3)
        q, g = (x * 2.0 ** random.uniform(-9, 9, (len(x), 1)) for x in (q, g))
    both = sides_of((q.astype(dtype), g.astype(dtype)), metric)
    query_rows, gallery_rows = rows_of(both)
    wholes = both.wholes(both.queries, query_rows), both.wholes(both.gallery, gallery_rows)
    assert np.array_equal(wholes[0].numpy(), both.queries.whole_numbers(query_rows))
    assert np.array_equal(wholes[1].numpy(), both.gallery.whole_numbers(gallery_rows))
    wanted = exact_steps(both)
    matrix = both.similarities(torch.mm(wholes[0], wholes[1].T), query_rows[:, None], gallery_rows)
    assert np.array_equal(matrix.numpy(), wanted)
    products = torch.linalg.vecdot(wholes[0], wholes[1][:20])
    assert np.array_equal(both.similarities(products, query_rows, gallery_rows[:20]).numpy(), np.diag(wanted[:, :20]))
    assert np.array_equal(both.multiply(wholes[0].numpy(), wholes[1].T.numpy()), wholes[0] @ wholes[1].T)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_lengths_that_float32_cannot_hold_are_not_approximated(scale: float) -> None:
    """The squares of such features would overflow, or vanish."""
    assert not sides_of((scale * x for x in awkward("random", 8)), "euclidean").is_approximable


def test_reduced_precision_never_reaches_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyTorch may multiply in bf16, NumPy does it; and on one thread, where NumPy is faster."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert not devices.takes_numpy(CPU)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    assert devices.takes_numpy(CPU)

    def mixed() -> str:
        raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed)
    assert devices.takes_numpy(CPU)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert devices.takes_numpy(CPU)
    assert not devices.takes_numpy(torch.device("cuda"))
    assert (devices.at_once(3, CPU), devices.at_once(3, torch.device("cuda"))) == (3, 48)
