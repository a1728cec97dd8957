"""The studentised bootstrap over identities: of a ratio of sums, with its own error in every resample."""

from __future__ import annotations

from functools import lru_cache
from math import floor

import numpy as np
from numpy.typing import NDArray

from .clusters import Clusters

#: One less than a round number, so that the quantiles are order statistics (Davison and Hinkley 1997).
RESAMPLES = 1999
#: The highest level for which there is an order statistic.
HIGHEST_LEVEL = 1 - 2 / (RESAMPLES + 1)

#: What rounding may leave of squares that cancel, a fraction of them.
_ROUNDING = 1e-12
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


def studentised(clusters: Clusters, *, level: float, seed: int) -> tuple[float, float]:
    """Lower and upper end, in [0, 1], of the bootstrap-t interval of a mean over queries that is a fraction.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 12.5, with identities in place of
    observations. What is studentised is arcsin(sqrt(mean)), whose error depends little on the mean: of the scales tried
    (none, logit, this) it came nearest to the level, and percentile and BCa intervals fell short (docs/statistics.md).

    Args:
        clusters: at least two identities, not all of one mean; values in [0, 1].
        level: in (0, HIGHEST_LEVEL].
        seed: of the resampling.
    """
    n, mean, residuals = len(clusters), clusters.mean, clusters.residuals
    parts = np.stack(
        [residuals, clusters.counts, residuals**2, residuals * clusters.counts, clusters.counts**2], axis=1
    )
    drawn = times_drawn(n, seed)
    sums = np.concatenate([drawn[i : i + _CHUNK].astype(np.float64) @ parts for i in range(0, RESAMPLES, _CHUNK)])
    shifts = sums[:, 0] / sums[:, 1]
    squares = sums[:, 2] - 2 * shifts * sums[:, 3] + shifts**2 * sums[:, 4]
    # Identities that are all alike leave rounding only.
    squares[squares <= _ROUNDING * (sums[:, 2] + shifts**2 * sums[:, 4])] = 0
    errors = np.sqrt(squares * n / (n - 1)) / sums[:, 1]
    angle, angles = np.arcsin(np.sqrt(mean)), np.arcsin(np.sqrt(np.clip(mean + shifts, 0, 1)))
    # The derivative of the angle is 1 / sin(2 angle). A resample without spread is infinitely far off.
    with np.errstate(divide="ignore", invalid="ignore"):
        errors_of_angles = np.where(errors > 0, errors / np.sin(2 * angles), 0)
        ratios = np.sort(np.where(angles == angle, 0, (angles - angle) / errors_of_angles))
    outside = max(floor((RESAMPLES + 1) * (1 - level) / 2 + 1e-9), 1)
    furthest = np.array([ratios[RESAMPLES - outside], ratios[outside - 1]])
    ends = angle - furthest * clusters.standard_error / np.sin(2 * angle)
    low, high = np.sin(np.clip(ends, 0, np.pi / 2)) ** 2
    return float(low), float(high)
