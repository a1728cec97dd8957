"""Scores of queries summed by identity: images of one person are not independent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """What a mean over queries is made of: one sum and one count for each query identity."""

    #: (I,) int64, ascending.
    identities: NDArray[np.int64]
    #: (I,) float64: the sum of the values of an identity's queries.
    sums: NDArray[np.float64]
    #: (I,) int64, at least 1: how many queries an identity has.
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        """How many identities there are."""
        return len(self.identities)

    @property
    def mean(self) -> float:
        """The mean over queries: a ratio of two sums over identities."""
        return float(self.sums.sum() / self.counts.sum())

    @property
    def residuals(self) -> NDArray[np.float64]:
        """(I,) float64 that sum to zero: how far each identity's sum lies from what the mean would give it."""
        return self.sums - self.mean * self.counts

    @property
    def standard_error(self) -> float:
        """Of the mean, identities taken as drawn independently; infinite where there is one identity alone.

        The linearised variance of a ratio with I / (I - 1) as correction: Cochran, Sampling Techniques (1977),
        chapter 6; the same as the cluster-robust error of a regression on a constant.
        """
        n = len(self)
        if n < 2:
            return float("inf")
        return float(np.sqrt(np.square(self.residuals).sum() * n / (n - 1)) / self.counts.sum())


def clusters_of(values: ArrayLike, identities: ArrayLike) -> Clusters:
    """Values of queries, summed by identity.

    Args:
        values: (Q,) numbers, Q at least 1, all finite.
        identities: (Q,) integers: whom each query shows.

    Raises:
        ValueError: the shapes differ, there is no query, or a value is not finite.
    """
    numbers, people = np.asarray(values, dtype=np.float64), np.asarray(identities, dtype=np.int64)
    if numbers.ndim != 1 or numbers.shape != people.shape or not len(numbers):
        raise ValueError(f"expected one value and one identity a query, got {numbers.shape} and {people.shape}")
    if not np.isfinite(numbers).all():
        raise ValueError("expected finite values, got NaN or infinity")
    names, places, counts = np.unique(people, return_inverse=True, return_counts=True)
    sums = np.bincount(places, weights=numbers, minlength=len(names)).astype(np.float64)
    return Clusters(identities=names, sums=sums, counts=counts.astype(np.int64))
