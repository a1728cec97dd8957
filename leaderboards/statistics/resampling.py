"""The studentised bootstrap over identities: of a ratio of sums, with its own error in every resample."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .clusters import Clusters

#: One less than a round number, so that the quantiles are order statistics (Davison and Hinkley 1997, section 5.2.3).
RESAMPLES = 1999
#: The highest level for which there is an order statistic.
HIGHEST_LEVEL = 1 - 2 / (RESAMPLES + 1)

#: Resamples that are in memory as numbers at a time.
_CHUNK = 200


@lru_cache(maxsize=4)
def times_drawn(n: int, seed: int) -> NDArray[np.uint8]:
    """(RESAMPLES, n) uint8: how often each of n identities is drawn when n are drawn with replacement.

    Cells of one data set have the same identities, so a board asks for the same table again and again.
    """
    random = np.random.default_rng(seed)
    table = np.empty((RESAMPLES, n), dtype=np.uint8)  # more than 255 of one: never (n <= 255), or once in 10^500
    for start in range(0, RESAMPLES, _CHUNK):
        rows = min(_CHUNK, RESAMPLES - start)
        drawn = random.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        table[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
    table.flags.writeable = False
    return table


def studentised(clusters: Clusters, *, level: float, seed: int, is_fraction: bool) -> tuple[float, float]:
    """Lower and upper end of the bootstrap-t interval of the mean over queries.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 12.5, with identities in place of
    observations. For a fraction the quantity that is studentised is arcsin(sqrt(mean)), whose error depends little on
    the mean; of the scales tried (none, logit, this) it came nearest to the level (docs/statistics.md).

    Args:
        clusters: at least two identities, not all of one mean.
        level: in (0, HIGHEST_LEVEL].
        seed: of the resampling.
        is_fraction: whether the mean lies in [0, 1] by nature, as a score does; a difference of scores does not.

    Returns:
        Two numbers; infinite, or 0 and 1 for a fraction, where resamples say nothing of that side.
    """
    n, mean, residuals = len(clusters), clusters.mean, clusters.residuals
    parts = np.stack(
        [residuals, clusters.counts, residuals**2, residuals * clusters.counts, clusters.counts**2], axis=1
    )
    drawn = times_drawn(n, seed)
    sums = np.concatenate([drawn[i : i + _CHUNK].astype(np.float64) @ parts for i in range(0, RESAMPLES, _CHUNK)])
    shifts = sums[:, 0] / sums[:, 1]
    squares = sums[:, 2] - 2 * shifts * sums[:, 3] + shifts**2 * sums[:, 4]
    errors = np.sqrt(np.maximum(squares, 0) * n / (n - 1)) / sums[:, 1]
    error = clusters.standard_error
    if not is_fraction:
        low, high = _quantiles(shifts, errors, level)
        return mean - high * error, mean - low * error
    means = np.clip(mean + shifts, 0, 1)
    angle, angles = np.arcsin(np.sqrt(mean)), np.arcsin(np.sqrt(means))
    # The derivative of the angle is 1 / sin(2 angle); at 0 and 1 every value is the same and the error is 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        errors_of_angles = np.where(errors > 0, errors / np.sin(2 * angles), 0)
    low, high = _quantiles(angles - angle, errors_of_angles, level)
    ends = angle - np.array([high, low]) * error / np.sin(2 * angle)
    lower, upper = np.sin(np.clip(ends, 0, np.pi / 2)) ** 2
    return float(lower), float(upper)


def _quantiles(shifts: NDArray[np.float64], errors: NDArray[np.float64], level: float) -> tuple[float, float]:
    """The two order statistics of shifts / errors that enclose `level`: infinite where a shift has no error."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.sort(np.where(shifts == 0, 0, shifts / errors))
    outside = max(int((RESAMPLES + 1) * (1 - level) / 2 + 1e-9), 1)
    return float(ratios[outside - 1]), float(ratios[RESAMPLES - outside])
