"""Two sides on a device, and how far their float32 product may be from their exact similarities.

The bound. Let q and g be two rows as given, q' and g' the float32 rows that are multiplied, Q and G their fixed points
(`similarity.py`), u = 2^-24, and let their D columns be multiplied in S = ceil(D / 512) slabs.
    |q' - q| <= u |q|                                             (float64 is rounded to float32)
    |Q - q| <= sqrt(D) 2^-27 2^e <= 1.6 sqrt(D) 2^-27 |q|         (half a unit an entry, and 2^e <= 2 |q| / 1.25)
    |q' - Q| <= d |q| with d = u + 1.6 sqrt(D) 2^-27; the same for g; so |q'.g' - Q.G| <= 2 d (1 + d) |q| |g|.
Within a slab the products of entries are added in any order, with or without fused multiply-add; slab is added to slab
one after the other, by us. So each product goes through n = 512 + S roundings at most, and the computed sum is off by
at most n u / (1 - n u) sum |q'_i g'_i| (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1),
which Cauchy and Schwarz bound by n u / (1 - n u) |q'| |g'|. An underflow costs 2^-126 at most, and there are no more
than 4 D. For unit vectors and D = 2048 all this is 3.2e-5, 34 steps of the grid; in one slab it would be 130.

Euclidean: both sides are multiplied by one power of two that brings every norm to 1.25 or less, and 2 q.g - |g|^2 is
compared. Twice the bound above, and four more roundings of numbers of at most (|q| + |g|)^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from . import devices
from .similarity import FRACTION_BITS, GRID

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .similarity import FixedPoint

#: Columns of the features whose products are added up by the BLAS.
_SLAB = 512
_ROUNDING = 2.0**-24
#: Norms of at most 2^60, or at least 2^-60: far from where a square or a grid step could leave float32 or float64.
_EXPONENTS = 60


def error_bound(dimension: int) -> float:
    """How far a float32 product of two rows of norm 1 may be from that of their fixed points; see above."""
    n_roundings = (_SLAB + -(-dimension // _SLAB)) * _ROUNDING
    given = _ROUNDING + 1.6 * dimension**0.5 * 2.0**-27
    product = n_roundings / (1 - n_roundings) * (1 + given) ** 2
    total: float = product + 2 * given * (1 + given) + 4 * dimension * 2.0**-126
    return total


@dataclass(frozen=True, kw_only=True, eq=False)
class Sides:
    """Queries and gallery, compared on a device approximately and exactly."""

    queries: FixedPoint
    gallery: FixedPoint
    device: torch.device

    @property
    def exponent(self) -> int:
        """E: both sides are multiplied by 2^-E before they become float32; 0 for cosine."""
        if self.queries.metric == "cosine":
            return 0
        return int(max(side.exponents.max(initial=-1000) for side in (self.queries, self.gallery)))

    @property
    def is_approximable(self) -> bool:
        """Whether float32 can hold what is compared."""
        return abs(self.exponent) <= _EXPONENTS

    @property
    def margin(self) -> float:
        """Numbers of `approximate` that are further than this from a reference have another similarity for certain."""
        q, g = (float(np.ldexp(side.largest_norm, -self.exponent)) for side in (self.queries, self.gallery))
        bound = error_bound(self.queries.features.shape[1]) * q * g
        if self.queries.metric == "euclidean":
            bound = 2 * bound + 4 * _ROUNDING * (q + g) ** 2
        return bound + float(np.ldexp(0.5 / GRID, -2 * self.exponent))

    def references(self, steps: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """What `approximate` gives, but for its error, for queries `rows` (T,) where the similarity is `steps` (T,)."""
        if self.queries.metric == "cosine":
            return steps / GRID
        shifted: NDArray[np.float64] = np.ldexp(steps / GRID + self.queries.squared_norms[rows], -2 * self.exponent)
        return shifted

    def singles(self, side: FixedPoint, rows: NDArray[np.int64], room: NDArray[np.float32]) -> torch.Tensor:
        """(B, D) float32: the given rows (B,), as they are multiplied; on the CPU they lie in room (B or more, D)."""
        room = room[: len(rows)]
        if side.features.dtype == np.float32:
            np.take(side.features, rows, axis=0, out=room, mode="clip")
            if self.exponent:
                room *= np.float32(2.0**-self.exponent)
        else:
            np.multiply(np.take(side.features, rows, axis=0), 2.0**-self.exponent, out=room, casting="same_kind")
        return self.put(room)

    def wholes(self, side: FixedPoint, rows: NDArray[np.int64]) -> torch.Tensor:
        """(B, D) float64: `side.whole_numbers(rows)`, on the device."""
        factors = np.ldexp(1.0, FRACTION_BITS - side.exponents[rows])[:, None]
        raw = self.put(np.take(side.features, rows, axis=0))
        return raw.to(torch.float64).mul_(self.put(factors)).round_()

    def approximate(
        self,
        queries: torch.Tensor,
        gallery: torch.Tensor,
        gallery_rows: NDArray[np.int64],
        *,
        out: torch.Tensor,
        scratch: torch.Tensor,
    ) -> None:
        """Write q.g (cosine) or 2 q.g - |g|^2 (euclidean), scaled, of `singles` (B, D) and (G, D) to out (B, G).

        Scratch is like out and is overwritten.
        """
        for start in range(0, queries.shape[1], _SLAB):
            columns = slice(start, start + _SLAB)
            _multiply(queries[:, columns], gallery[:, columns], scratch if start else out)
            if start:
                out.add_(scratch)
        if self.queries.metric == "euclidean":
            squares = np.ldexp(self.gallery.squared_norms[gallery_rows], -2 * self.exponent)
            out.mul_(2).sub_(self.put(squares.astype(np.float32)))

    def similarities(
        self, products: torch.Tensor, query_rows: NDArray[np.int64], gallery_rows: NDArray[np.int64]
    ) -> torch.Tensor:
        """Whole grid steps from products of `wholes` (overwritten): what `fill_similarities` gives, bit for bit."""
        products.mul_(self.put(self.queries.steps(query_rows)))
        if self.queries.metric == "euclidean":
            products.mul_(self.put(np.ldexp(1.0, self.gallery.exponents[gallery_rows])))
            products.sub_(self.put(GRID * self.queries.squared_norms[query_rows]))
            products.sub_(self.put(GRID * self.gallery.squared_norms[gallery_rows]))
        return products.round_()

    def multiply(self, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        """The matrix product, computed on the device; on the CPU by NumPy."""
        if devices.is_cpu(self.device):
            return left @ right
        found: NDArray[np.float64] = (self.put(left) @ self.put(right)).cpu().numpy()
        return found

    def put(self, values: NDArray[Any]) -> torch.Tensor:
        """An array on the device; on the CPU they share memory."""
        return torch.from_numpy(values).to(self.device)


def _multiply(queries: torch.Tensor, gallery: torch.Tensor, out: torch.Tensor) -> None:
    """Write queries @ gallery.T to out, in float32 and no less."""
    if devices.takes_numpy(out.device):
        np.matmul(queries.numpy(), gallery.numpy().T, out=out.numpy())
    else:
        torch.mm(queries, gallery.T, out=out)
