"""The values that cross this floor's borders: one result, and all results of the runs that a site is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..benchmark.evaluation import METRIC_TABLE, MetricInfo

#: `missing`: planned, and no row yet.
Status = Literal["done", "failed", "skipped", "missing"]

#: What is measured, how pages call it, and whether more of it means a more robust model. Scores of a targeted run say
#: how often the adversary's target is found.
METRICS: Mapping[str, MetricInfo] = {
    **{info.name: info for info in METRIC_TABLE},
    "target_mAP": MetricInfo(name="target_mAP", title="target mAP", higher_is_better=False),
    "target_rank1": MetricInfo(name="target_rank1", title="target Rank-1", higher_is_better=False),
}


def worst(metric: str, values: list[float]) -> float:
    """The value of `metric` that is worst for the model."""
    return min(values) if METRICS[metric].higher_is_better else max(values)


def points(value: float | None) -> str:
    """A fraction in [0, 1] as pages print it: points, two decimals.

    >>> points(0.12345), points(None)
    ('12.35', '')
    """
    return "" if value is None else f"{100 * value:.2f}"


def outward(low: float, high: float) -> tuple[str, str]:
    """An interval of fractions in points, each end rounded outward to a tenth: it holds the number that it is about.

    >>> outward(0.35123, 0.42611)
    ('35.1', '42.7')
    """
    return f"{math.floor(round(1000 * low, 6)) / 10:.1f}", f"{math.ceil(round(1000 * high, 6)) / 10:.1f}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One cell and what became of it."""

    cell_id: str
    #: Place of its run among the runs of the site.
    run: int
    status: Status
    #: Why there is no score; empty where it is done.
    reason: str
    #: Names as pages show them: two models of one label are told apart here.
    model: str
    dataset: str
    attack: str
    norm: str
    #: In [0, 1] pixel units.
    epsilon: float
    epsilon_label: str
    side: str
    goal: str
    seed: int
    #: The attack as a grid calls it, and the model whose gradients it followed; empty where that is the model itself.
    preset: str
    surrogate: str
    #: The entry of a leaderboard directory that it belongs to; empty in a run of one's own.
    entry: str
    #: The cell's label, which `-k` looks into; empty where the plan does not list the cell.
    label: str
    #: The data set as its grid calls it.
    data: str
    #: The stored row under the names of its columns (docs/store.md); empty for a missing cell.
    row: Mapping[str, Any] = field(repr=False)
    #: Flags that it raises beside the other rows.
    beside_others: frozenset[str] = frozenset()

    def score(self, column: str) -> float | None:
        """A stored score, a fraction in [0, 1]; None where the cell is not done or the column is null."""
        value = self.row.get(column) if self.status == "done" else None
        return None if value is None or not math.isfinite(value) else float(value)

    @property
    def trials(self) -> int:
        """Over how many trials its scores are means; 1 where that is not known."""
        return int(self.row.get("trials") or 1)

    @property
    def flags(self) -> tuple[str, ...]:
        """How far to believe it: what its row says, and what it raises beside the other rows."""
        found = self.row.get("flags")
        own = () if found is None else tuple(str(flag) for flag in found)
        return own + tuple(sorted(self.beside_others - set(own)))

    @property
    def radius(self) -> float:
        """Epsilon as curves show it: in 1/255 for L-inf, as it is for L2."""
        return round(self.epsilon * 255, 6) if self.norm == "linf" else self.epsilon


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run directory."""

    #: The name of its grid; of a submission that of its entry.
    name: str
    #: What it is read as part of: itself, or a leaderboard directory.
    title: str
    path: Path
    #: The grid as it was asked for; empty where the file is gone.
    grid: str
    #: The labels of all planned cells, in the grid's order.
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that a site shows."""

    runs: tuple[Run, ...]
    results: tuple[Result, ...]
    #: Labels of missing cells of a plan that says no more of them than that.
    unplaced: tuple[str, ...]
