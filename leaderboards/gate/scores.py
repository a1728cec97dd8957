"""The scores that a gate can compare: means over queries, so that every query stands beside itself. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ... import InvalidFileError, UserError
from ...models.registry import nearest
from ..measurements import QUERY_COLUMNS, ROUNDING, Measurement, State


@dataclass(frozen=True, kw_only=True)
class Score:
    """A stored score of a row, and where its queries are."""

    #: The row's column.
    name: str
    #: A key of `QUERY_COLUMNS`.
    metric: str
    state: State
    #: The goal of the cells that have it.
    goal: str
    #: Whether more of it is good for the model; of a targeted run it says how often the adversary's target is found.
    higher_is_better: bool

    def values(self, measurement: Measurement) -> NDArray[np.float64] | None:
        """(Q,) float64 in [0, 1] whose mean is the row's score; None where no queries are stored or they say otherwise.

        Raises:
            InvalidFileError: the cell is done and its score is no fraction, or a query's is none.
        """
        stored, queries = measurement.score(self.name), measurement.queries
        if stored is None or not -ROUNDING <= stored <= 1 + ROUNDING:
            raise InvalidFileError(
                f"{str(measurement.source)!r} says that cell {measurement.label!r} is done and holds "
                f"{measurement.row.get(self.name)!r} for its {self.name}, expected a fraction; run the grid again."
            )
        if queries is None or not len(queries):
            return None
        found = queries.values(self.metric, self.state)
        if found.min() < -ROUNDING or found.max() > 1 + ROUNDING:
            raise InvalidFileError(
                f"{str(measurement.source)!r} holds scores of queries outside [0, 1] for cell {measurement.label!r}; "
                f"run the grid again."
            )
        return found if abs(float(found.mean()) - stored) <= ROUNDING else None


#: By name: everything that `--metric` takes.
SCORES: Mapping[str, Score] = {
    score.name: score
    for score in (
        *(
            Score(name=f"{metric}_{state}", metric=metric, state=state, goal="untargeted", higher_is_better=True)
            for metric in QUERY_COLUMNS
            for state in ("attacked", "clean")
        ),
        *(
            Score(name=f"target_{metric}", metric=metric, state="attacked", goal="targeted", higher_is_better=False)
            for metric in ("mAP", "rank1")
        ),
    )
}


def check_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once.

    Raises:
        UserError: one of them is unknown, or is a drop.
    """
    for name in names:
        if name.endswith("_drop"):
            base = name.removesuffix("_drop")
            raise UserError(
                f"{name} never gates: a model that loses clean score has a smaller drop and is no better; "
                f"give {base}_attacked and {base}_clean."
            )
        if name not in SCORES:
            raise UserError(
                f"{name!r} is no score of single queries.{nearest(name, SCORES)} Known: {', '.join(SCORES)}."
            )
    if not names:
        raise UserError(f"There is no metric to compare; give one or more of {', '.join(SCORES)}.")
    return tuple(dict.fromkeys(names))
