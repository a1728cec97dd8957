"""How often a gate raises a false alarm, and how often it finds what there is to find; wrong twins of it do not pass.

People are drawn: 100 of them with 1 to 6 queries each, 20 cells, and changes from one model to another whose spread is
that of two adversarially trained OSNets on market1501-mini (see SPREAD). Every check is a function, so that a planted
wrong twin meets the same function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from robustreid.benchmark.store.columns import QUERY_METRICS
from robustreid.leaderboards.gate import judging
from robustreid.leaderboards.gate.comparing import compare
from robustreid.leaderboards.gate.verdicts import Comparison
from robustreid.leaderboards.measurements import Measurement, Queries
from robustreid.leaderboards.statistics.paired import PairedTest, paired_test

Side = tuple[Measurement, ...]
Gate = Callable[[Side, Side], Comparison]

N_IDENTITIES, N_CELLS = 100, 20
#: Share of identities with 1, 2 ... 6 queries, of market1501-mini's 106 that have a valid one.
SIZES = (0.009, 0.028, 0.160, 0.255, 0.415, 0.133)
#: Standard deviations, in points, of what the change of a query's attacked AP is a sum of: a part of its identity that
#: all cells share, one of identity and cell, one of the query that all cells share, one of query and cell. From the
#: moments of osnet-metric-at less osnet-goat (docs/results.md) on market1501-mini, side query, 4/255, seven attacks
#: with gradients.
SPREAD = (3.1, 1.8, 11.0, 8.7)
#: Likewise of the clean AP: identity, query.
CLEAN_SPREAD = (3.5, 13.1)


@dataclass(frozen=True)
class Rates:
    """Shares of simulated comparisons."""

    #: Exit code 1.
    alarms: float
    #: Cells that are worse, of all cells.
    worse: float


def drawn(random: np.random.Generator, drop: float) -> tuple[Side, Side]:
    """Both sides; `drop` is what all attacked scores truly fell by, points."""
    sizes = random.choice(len(SIZES), size=N_IDENTITIES, p=np.array(SIZES) / sum(SIZES)) + 1
    people = np.repeat(np.arange(N_IDENTITIES), sizes)
    q, shape = len(people), (N_CELLS, len(people))
    of_identity, of_both, of_query, rest = SPREAD
    change = of_identity * random.normal(size=N_IDENTITIES)[people] + of_query * random.normal(size=q)
    change = (
        change + of_both * random.normal(size=(N_CELLS, N_IDENTITIES))[:, people] + rest * random.normal(size=shape)
    )
    clean = CLEAN_SPREAD[0] * random.normal(size=N_IDENTITIES)[people] + CLEAN_SPREAD[1] * random.normal(size=q)
    changes = np.clip(np.concatenate([change - drop, clean[None]]) / 100, -1, 1)
    # Scores anywhere in [0, 1] that leave room for the change, so that it is exactly what was drawn.
    base = random.random(q) * (1 - np.abs(changes)) + np.maximum(-changes, 0)
    return tuple(side(values, people) for values in (base, base + changes))  # type: ignore[return-value]


def side(values: NDArray[np.float64], people: NDArray[np.int64]) -> Side:
    """Cells of one model: (N_CELLS + 1, Q) attacked scores, and the clean ones last."""
    clean = values[-1]
    return tuple(cell(place, clean, attacked, people) for place, attacked in enumerate(values[:-1]))


def cell(
    place: int, clean: NDArray[np.float64], attacked: NDArray[np.float64], people: NDArray[np.int64]
) -> Measurement:
    """One cell in memory."""
    row: dict[str, Any] = {"status": "done", "goal": "untargeted", "dataset_sha256": "0", "protocol": "market-v1"}
    row |= {"attack": f"a{place}", "epsilon": 4 / 255, "side": "query", "flags": []}
    row |= {"mAP_clean": float(clean.mean()), "mAP_attacked": float(attacked.mean())}
    scores = {"clean": clean, "attacked": attacked}
    queries = Queries(
        ids=tuple(map(str, range(len(people)))),
        identities=people,
        cameras=np.zeros_like(people),
        trials=np.zeros_like(people),
        columns={f"{metric}_{state}": scores[state] for metric in QUERY_METRICS for state in scores},
    )
    return Measurement(
        cell_id=str(place),
        label=f"m mini a{place} linf 4/255 query",
        model="m",
        dataset="mini",
        status="done",
        reason="",
        source=Path("drawn"),
        row=row,
        loaded=queries,
    )


def rates(gate: Gate, *, drop: float, n: int, seed: int = 0) -> Rates:
    """What a gate says of `n` changes by `drop` points."""
    random, alarms, worse = np.random.default_rng(seed), 0, 0
    for _ in range(n):
        found = gate(*drawn(random, drop))
        alarms += found.exit_code() == 1
        worse += sum(verdict.word == "worse" and verdict.metric == "mAP_attacked" for verdict in found.verdicts)
    return Rates(alarms=alarms / n, worse=worse / n / N_CELLS)


def check_gate(gate: Gate, n: int) -> None:
    """At most 5% false alarms where nothing changed; at least 80% of changes by 3 points found; no rise is a drop."""
    assert rates(gate, drop=0, n=n).alarms <= 0.05
    assert rates(gate, drop=-3, n=n).alarms <= 0.05
    found = rates(gate, drop=3, n=n)
    assert found.alarms >= 0.8
    assert found.worse >= 0.8


def check_missing(gate: Gate) -> None:
    """A cell that is gone is missing, and the exit code says that the sides were not compared in full."""
    base, new = drawn(np.random.default_rng(0), 0)
    found = gate(base, new[1:])
    assert found.counts.get("missing") == 1
    assert "worse" not in found.counts
    assert found.exit_code() == 6


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer flips, enough for p-values that 21 comparisons can be significant by."""
    monkeypatch.setattr(judging, "paired_test", partial(paired_test, flips=2_000))


@pytest.mark.usefixtures("quick")
def test_drops_are_found_and_nothing_else_is() -> None:
    """On a few draws."""
    check_gate(compare, 20)
    check_missing(compare)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_drops_are_found_and_nothing_else_is_in_many_draws() -> None:
    """On as many as tell 5% from 2% and 80% from 85%."""
    check_gate(compare, 400)
    check_missing(compare)


def upside_down(base: Side, new: Side) -> Comparison:
    """Planted: a rise is called a drop."""
    return compare(new, base)


def zero_where_missing(base: Side, new: Side) -> Comparison:
    """Planted: a cell that is not there scores zero."""
    there = {measurement.cell_id for measurement in new}
    gone = [measurement for measurement in base if measurement.cell_id not in there]
    return compare(base, (*new, *map(_emptied, gone)))


def _emptied(measurement: Measurement) -> Measurement:
    queries = measurement.queries
    assert queries is not None
    columns = {name: np.zeros_like(values) for name, values in queries.columns.items()}
    columns["ap_clean"] = queries.columns["ap_clean"]
    row = {**measurement.row, "mAP_attacked": 0.0}
    return replace(measurement, row=row, loaded=replace(queries, columns=columns))


def unpaired_test(
    base: NDArray[np.float64], new: NDArray[np.float64], identities: NDArray[np.int64], **_: Any
) -> PairedTest:
    """Planted: each side is a sample of its own, as if other people had been asked."""
    order = np.random.default_rng(1).permutation(len(base))
    return paired_test(base, new[order], identities, flips=2_000)


@pytest.mark.usefixtures("quick")
def test_a_gate_that_is_upside_down_is_found() -> None:
    """It calls rises drops, and does not pass the same check."""
    with pytest.raises(AssertionError):
        check_gate(upside_down, 3)


def test_a_gate_that_counts_what_is_missing_as_zero_is_found() -> None:
    """It calls worse what is missing, and does not pass the same check."""
    with pytest.raises(AssertionError):
        check_missing(zero_where_missing)


def test_an_unpaired_test_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds too little to pass the same check."""
    monkeypatch.setattr(judging, "paired_test", unpaired_test)
    with pytest.raises(AssertionError):
        check_gate(compare, 3)
