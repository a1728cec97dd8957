"""Similarities that depend on nothing but the two features compared.

A matrix product in floating point depends on more than its two rows: another shape, another position in the tile,
another number of threads or another processor sums in another order. Equal gallery images then differ in the last bit
and a collapsed model is scored by its file order. (Measured with OpenBLAS in float32: a product of one row or column
takes another kernel and disagrees with the full one; with the Haswell kernel equal columns inside *one* product differ
in 1,984 of 3,696 rows, 41 of them still after rounding to the grid, so padding to one shape is no remedy.)

So each feature is rounded to fixed point: row x becomes whole numbers m with x ~ m 2^(e - 26), e the row's own
exponent, chosen so that |m| <= 1.25 * 2^26. By Cauchy and Schwarz every partial sum of products then stays below 2^53,
float64 holds it exactly, and the product is the same whatever the shape, the order, the threads and the machine. A unit
vector has e = 0: its entries move by at most 2^-27, a similarity by about as much, where the grid's step is 2^-20.
The price is a product in float64, over twice the time of float32; `filtering.py` pays it only where it decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ...models.base import Metric

#: Raised whenever a similarity, its rounding or a score's definition changes.
METRIC_VERSION = 1
#: Steps of the similarity grid in one unit: what is closer than 2^-20 is a tie.
GRID = 2.0**20

#: Bits of a row's fixed point, its exponent apart.
FRACTION_BITS = 26

_HEADROOM = 1.25
_UNIT_TOLERANCE = 1e-3
_BLOCK_ROWS = 64
_MATRIX = 2


class NonFiniteFeatureError(ValueError):
    """Features that are NaN, infinite, or too large to be squared."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedPoint:
    """Features with what is needed to read any rows of them in fixed point."""

    metric: Metric
    #: (N, D) float32 or float64, as given.
    features: NDArray[Any]
    #: (N,) int64: e of each row.
    exponents: NDArray[np.int64]
    #: (N,) float64: |x|^2 of each row after rounding, exact up to one last rounding; empty for cosine.
    squared_norms: NDArray[np.float64]
    #: The largest |x| as given; 0 without rows.
    largest_norm: float

    def whole_numbers(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Whole numbers (B, D) float64, |m| <= 1.25 * 2^26 a row, of the given rows (B,)."""
        factors = np.ldexp(1.0, FRACTION_BITS - self.exponents[rows])[:, None]
        whole: NDArray[np.float64] = np.multiply(self.features[rows], factors, dtype=np.float64)
        np.rint(whole, out=whole)
        return whole

    def steps(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Factors (B,), powers of two, that turn products of queries' whole numbers with others into grid steps.

        Of the gallery's side 2^e is missing, which is 1 for cosine; for euclidean it is the product's double.
        """
        factor = GRID * 2.0 ** ((self.metric == "euclidean") - 2 * FRACTION_BITS)
        steps: NDArray[np.float64] = np.ldexp(factor, self.exponents[rows])
        return steps


def fixed_point(features: NDArray[Any], side: str, metric: Metric) -> FixedPoint:
    """Features (N, D) of one side (`query` or `gallery`), checked and ready to be compared.

    Cosine takes unit vectors (within 1e-3) and zeros, which a collapsed model may give: normalising is the embedder's.
    """
    _check_array(features, side)
    norms = np.empty(len(features))
    squared_norms = np.empty(len(features) if metric == "euclidean" else 0)
    for start in range(0, len(features), _BLOCK_ROWS):
        block = features[start : start + _BLOCK_ROWS].astype(np.float64, order="C")
        with np.errstate(over="ignore"):
            norms[start : start + _BLOCK_ROWS] = np.sqrt(np.square(block, out=block).sum(axis=1))
    bad = int(np.count_nonzero(~np.isfinite(norms)))
    if bad:
        raise NonFiniteFeatureError(
            f"expected finite {side} features, got NaN, infinity or an overflow in {bad} of {len(norms)} rows"
        )
    if metric == "cosine":
        _check_unit(norms, side)
    exponents = np.frexp(norms / _HEADROOM)[1].astype(np.int64)
    fixed = FixedPoint(
        metric=metric,
        features=features,
        exponents=exponents,
        squared_norms=squared_norms,
        largest_norm=float(norms.max(initial=0.0)),
    )
    for start in range(0, len(squared_norms), _BLOCK_ROWS):
        rows = np.arange(start, min(start + _BLOCK_ROWS, len(squared_norms)))
        whole = fixed.whole_numbers(rows)
        squared = np.square(whole, out=whole).sum(axis=1)
        squared_norms[rows] = np.ldexp(squared, 2 * (exponents[rows] - FRACTION_BITS))
    return fixed


def fill_similarities(
    queries: FixedPoint,
    gallery: FixedPoint,
    query_rows: NDArray[np.int64],
    gallery_rows: NDArray[np.int64],
    *,
    out: NDArray[Any],
    gallery_chunk: int,
    multiply: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]] = np.matmul,
) -> None:
    """Write similarities in whole grid steps, larger is closer, of query_rows (B,) and gallery_rows (G,) to out (B, G).

    Cosine: rint(2^20 q.g), float32 holds it exactly; for unit vectors |q - g|^2 = 2 - 2 q.g, the same order.
    Euclidean: rint(2^20 (2 q.g - |q|^2 - |g|^2)), out must be float64. Its grid
    is absolute: features so small that their squared distances are below 2^-20 all tie, and the tie bounds say so.
    The product of matrices may be any that sums in float64.
    Memory: (B + gallery_chunk) x D and B x gallery_chunk float64.
    """
    whole = queries.whole_numbers(query_rows)
    whole *= queries.steps(query_rows)[:, None]
    for start in range(0, len(gallery_rows), gallery_chunk):
        rows = gallery_rows[start : start + gallery_chunk]
        tile = multiply(whole, gallery.whole_numbers(rows).T)
        if queries.metric == "euclidean":
            tile *= np.ldexp(1.0, gallery.exponents[rows])
            tile -= GRID * queries.squared_norms[query_rows][:, None]
            tile -= GRID * gallery.squared_norms[rows]
        out[:, start : start + len(rows)] = np.rint(tile, out=tile)


def _check_array(features: NDArray[Any], side: str) -> None:
    if features.ndim != _MATRIX or features.shape[1] == 0 or features.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"expected {side} features (N, D) of float32 or float64, got {features.dtype} of shape {features.shape}"
        )


def _check_unit(norms: NDArray[np.float64], side: str) -> None:
    strangers = norms[(np.abs(norms - 1) > _UNIT_TOLERANCE) & (norms > 0)]
    if len(strangers):
        raise ValueError(
            f"expected unit vectors for the metric 'cosine', got {side} features of norm {strangers.min():.4g} to "
            f"{strangers.max():.4g} in {len(strangers)} of {len(norms)} rows; normalise them or use 'euclidean'"
        )
