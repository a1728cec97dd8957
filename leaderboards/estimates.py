"""Per-query columns, and the estimates that they give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    #: (Q,): which query it is.
    ids: tuple[str, ...]

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
    return Column(values=values, identities=queries.identities, ids=queries.ids)
