"""The queries of two cells beside each other, or why they cannot stand so. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..measurements import Measurement, Queries
from .joining import tail
from .scores import Score


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """The queries behind a comparison, those of both sides in one order."""

    #: (Q,) float64 in [0, 1]: scores before and after.
    base: NDArray[np.float64]
    new: NDArray[np.float64]
    #: (Q,) int64.
    identities: NDArray[np.int64]
    cameras: NDArray[np.int64]
    #: The data set's label, and the attack with its radius; no attack for clean scores.
    dataset: str
    attack: str


def evidence_of(base: Measurement, new: Measurement, score: Score) -> Evidence | str:
    """The queries of both cells in BASE's order, or why there are none.

    Raises:
        InvalidFileError: a file behind one of the cells does not read back, or says what cannot be.
    """
    before, after = score.values(base), score.values(new)
    left, right = base.queries, new.queries
    if before is None or left is None:
        return _lacking("BASE", base)
    if after is None or right is None:
        return _lacking("NEW", new)
    order = _order(left, right)
    if isinstance(order, str):
        return order
    return Evidence(
        base=before,
        new=after[order],
        identities=left.identities,
        cameras=left.cameras,
        dataset=base.dataset,
        attack="" if score.state == "clean" else tail(base).removeprefix(f"{base.dataset} "),
    )


def _lacking(side: str, cell: Measurement) -> str:
    if cell.queries is None or not len(cell.queries):
        return f"{side} has no scores of single queries; run the grid again"
    return (
        f"the scores of single queries in {side} are not what the row is the mean of, as where features tie or trials "
        f"have different numbers of queries"
    )


def _order(base: Queries, new: Queries) -> NDArray[np.int64] | str:
    """(Q,): where each query of BASE stands in NEW, or why not all do."""
    wanted = list(zip(base.trials.tolist(), base.ids, strict=True))
    places = {key: place for place, key in enumerate(zip(new.trials.tolist(), new.ids, strict=True))}
    if len(new) != len(wanted) or places.keys() != set(wanted) or len(places) != len(wanted):
        lacking, extra = len(set(wanted) - places.keys()), len(places.keys() - set(wanted))
        return f"the queries differ: NEW lacks {lacking} of BASE's {len(wanted)} and has {extra} others"
    order = np.array([places[key] for key in wanted], dtype=np.int64)
    if not np.array_equal(new.identities[order], base.identities):
        return "the queries differ: some show other people in NEW"
    return order
