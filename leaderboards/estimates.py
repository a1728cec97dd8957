"""Per-query columns, and the estimates that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..benchmark.evaluation import PROTOCOLS
from .measurements import Measurement, State
from .standing import Estimate
from .statistics.intervals import mean_interval


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """One number a query, of which a score is the mean; larger is better for the model."""

    #: (Q,) float64.
    values: NDArray[np.float64]
    #: (Q,) int64: who is on the query.
    identities: NDArray[np.int64]
    #: (Q,): the trial, and which query of it this is; a query stands once in every trial that it belongs to.
    ids: tuple[tuple[int, str], ...]

    @property
    def mean(self) -> float:
        """The score."""
        return float(self.values.mean())


def estimate(column: Column | None, *, is_binary: bool = False) -> Estimate | None:
    """The mean of a column and its 95% interval over query identities; None for None."""
    if column is None:
        return None
    found = mean_interval(column.values, column.identities, is_binary=is_binary)
    return Estimate(value=column.mean, low=found.low, high=found.high)


def column_of(measurement: Measurement, metric: str, state: State) -> Column | None:
    """The queries of a cell under a metric; None where they are not stored or their mean is not the score."""
    values, queries = measurement.values(metric, state), measurement.queries
    if values is None or queries is None:
        return None
    ids = tuple(zip(queries.trials.tolist(), queries.ids, strict=True))
    return Column(values=values, identities=queries.identities, ids=ids)


def least_of(columns: Sequence[Column], protocol: str) -> NDArray[np.float64]:
    """(Q,) float64: what is left of each query under the attack that leaves the least of it.

    Where trials draw their images, a query is attacked once and meets the gallery of every trial, so one attack counts
    for it in all of them: the one with the least mean over its trials. Where each trial is a split, it is attacked anew
    in each.

    Args:
        columns: of the same queries.
        protocol: as a row names it: `sysu-all-v1`.
    """
    values = np.stack([column.values for column in columns])
    rules = PROTOCOLS.get(protocol.rpartition("-v")[0])
    trials, names = zip(*columns[0].ids, strict=True)
    if len(set(trials)) == 1 or (rules is not None and rules.has_splits):
        least: NDArray[np.float64] = values.min(0)
        return least
    _, places = np.unique(np.array(names), return_inverse=True)
    sums = np.stack([np.bincount(places, weights=each) for each in values])
    chosen: NDArray[np.float64] = values[sums.argmin(0)[places], np.arange(values.shape[1])]
    return chosen
