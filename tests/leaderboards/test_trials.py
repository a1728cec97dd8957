"""Protocols with trials: a query stands in each of them, and no two of its rows are ever taken for one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from robustreid.leaderboards import ranking
from robustreid.leaderboards.entries import read_entries
from robustreid.leaderboards.estimates import Column, column_of, estimate, least_of
from robustreid.leaderboards.gate.baseline import read_baseline, save_baseline
from robustreid.leaderboards.gate.comparing import compare
from robustreid.leaderboards.measurements import Measurement, read_measurements
from robustreid.leaderboards.ranking import make_standings
from robustreid.leaderboards.submission.plausibility import made_up
from robustreid.leaderboards.track import Track, load_track

N_TRIALS, PEOPLE, EACH = 3, 20, 2
Make = Callable[..., Path]
Values = NDArray[np.float64]


def scores(seed: int, level: float) -> Values:
    """(T, Q): made-up AP; people differ most, trials a little."""
    rng = np.random.default_rng(seed)
    person = np.repeat(rng.beta(8 * level, 8 * (1 - level), PEOPLE), EACH)
    return np.clip(person + rng.normal(0, 0.05, (N_TRIALS, PEOPLE * EACH)), 0.001, 1.0)


CLEAN = scores(0, 0.8)


def cell_of(attacked: Values, **given: Any) -> dict[str, Any]:
    """A cell of `sysu-all` whose row holds the means over trials, with a row a query and trial."""
    queries = [
        {"trial": trial, "query_id": f"q{place}.png", "identity": place // EACH, "camera": 3 + 3 * (place % 2)}
        | {f"{name}_clean": CLEAN[trial, place] for name in ("ap", "ap_trapezoid", "inp")}
        | {f"{name}_attacked": attacked[trial, place] for name in ("ap", "ap_trapezoid", "inp")}
        | {"first_rank_clean": 1.0, "first_rank_attacked": 1.0 if attacked[trial, place] > 0.5 else 4.0}
        for trial in range(N_TRIALS)
        for place in range(PEOPLE * EACH)
    ]
    counts = {"n_query": PEOPLE * EACH, "n_query_valid": PEOPLE * EACH, "n_gallery": 60, "n_identity": PEOPLE}
    row: dict[str, Any] = {"protocol": "sysu-all-v1", "trials": N_TRIALS, "queries": queries, **counts}
    for metric in ("mAP", "mAP_trapezoid", "mINP"):
        row |= {f"{metric}_clean": CLEAN.mean(1).mean(), f"{metric}_attacked": attacked.mean(1).mean()}
        row[f"{metric}_attacked_std"] = attacked.mean(1).std()
    for cutoff in (1, 5, 10, 20):
        share = (attacked > 0.5).mean() if cutoff == 1 else 1.0
        row |= {f"rank{cutoff}_clean": 1.0, f"rank{cutoff}_attacked": share}
    for name in ("rank1", "rank5", "rank10", "rank20"):
        for bound in ("optimistic", "pessimistic"):
            row |= {f"{name}_clean_{bound}": row[f"{name}_clean"], f"{name}_attacked_{bound}": row[f"{name}_attacked"]}
    return {**row, **given}


def write(make_run: Make, path: Path, attacked: Values, *, model: str = "goat") -> tuple[Measurement, ...]:
    """A run of one cell."""
    return read_measurements(make_run(path, [cell_of(attacked, model=model)]))


def test_the_interval_is_that_of_each_persons_means(make_run: Make, tmp_path: Path) -> None:
    """Trials add no people: ten times the rows say no more of other people than their means do."""
    attacked = scores(1, 0.4)
    (found,) = write(make_run, tmp_path / "run", attacked)
    column = column_of(found, "mAP", "attacked")
    assert column is not None
    assert len(column.ids) == len(set(column.ids)) == N_TRIALS * PEOPLE * EACH
    people = np.arange(PEOPLE * EACH) // EACH
    ids = tuple((0, str(place)) for place in range(PEOPLE * EACH))
    means = estimate(Column(values=attacked.mean(0), identities=people, ids=ids))
    ours = estimate(column)
    assert ours is not None
    assert means is not None
    assert [ours.value, ours.low, ours.high] == pytest.approx([means.value, means.low, means.high], abs=1e-9)
    independent = estimate(replace(column, identities=np.arange(len(column.ids))))
    assert independent is not None
    assert independent.high - independent.low < 0.7 * (ours.high - ours.low)  # planted bug: every row a person


def test_the_gate_pairs_each_trial_with_itself(make_run: Make, tmp_path: Path) -> None:
    """The same rows in another order are the same; a drop is a drop; a trial that lacks is named."""
    base, lower = scores(1, 0.5), np.clip(scores(1, 0.5) - 0.1, 0.001, 1)
    (before,) = write(make_run, tmp_path / "base", base)
    shuffled = cell_of(base, model="goat")
    order = np.random.default_rng(3).permutation(len(shuffled["queries"]))
    shuffled["queries"] = [shuffled["queries"][place] for place in order]
    same = read_measurements(make_run(tmp_path / "same", [shuffled]))
    assert {verdict.word for verdict in compare([before], same).verdicts} == {"same"}
    verdicts = compare([before], write(make_run, tmp_path / "lower", lower)).verdicts
    word = {verdict.metric: verdict.word for verdict in verdicts}
    assert word["mAP_attacked"] == "worse"
    assert {verdict.n_identities for verdict in verdicts if verdict.n_identities} == {PEOPLE}
    fewer = cell_of(base, model="goat")
    fewer["queries"] = [query for query in fewer["queries"] if query["trial"] != 1]
    fewer |= {name: base[[0, 2]].mean() for name in ("mAP_attacked",)} | {"mAP_clean": CLEAN[[0, 2]].mean()}
    lacking = compare([before], read_measurements(make_run(tmp_path / "fewer", [fewer]))).verdicts
    assert any("the queries differ: NEW lacks 40" in verdict.reason for verdict in lacking)


def test_a_baseline_keeps_the_trials(make_run: Make, tmp_path: Path) -> None:
    """Written and read back, every row of every trial stands beside itself."""
    cells = write(make_run, tmp_path / "run", scores(1, 0.5))
    save_baseline(tmp_path / "base.parquet", cells)
    again = read_baseline(tmp_path / "base.parquet")
    assert {verdict.word for verdict in compare(again, cells).verdicts} == {"same"}


@pytest.fixture
def track() -> Track:
    """A track on the queries of a protocol with drawn trials."""
    found = load_track("synthetic-query-4")
    data = replace(found.data, sha256=None, queries=PEOPLE * EACH, gallery=60, identities=PEOPLE)
    return replace(found, data=data, engine_version=1, protocol="sysu-all-v1", curve=())


def run_of(make_run: Make, path: Path, track: Track, models: Mapping[str, Sequence[Values]]) -> Path:
    """Every attack of the track for some models."""
    cells = [
        cell_of(values, model=model, attack=attack.name, attack_params=attack.parameters, side="query", k=4)
        for model, found in models.items()
        for attack, values in zip(track.attacks, found, strict=True)
    ]
    return make_run(path, cells)


def worst_by_loop(attacked: Sequence[Values]) -> float:
    """One attacked query meets every trial: its worst attack is the one with the least mean over the trials."""
    total = 0.0
    for place in range(PEOPLE * EACH):
        total += min(sum(values[trial, place] for trial in range(N_TRIALS)) / N_TRIALS for values in attacked)
    return total / (PEOPLE * EACH)


def test_the_board_takes_one_attack_a_query(
    make_run: Make, tmp_path: Path, track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Score and places over all trials; planted bug: an adversary that changes its attack from trial to trial."""
    models = {
        name: [scores(seed + 10 * place, level) for place in range(len(track.attacks))]
        for seed, (name, level) in enumerate({"strong": 0.7, "weak": 0.2}.items(), 1)
    }
    run = run_of(make_run, tmp_path / "run", track, models)

    def worst() -> dict[str, float]:
        rows = make_standings(track, read_entries([run])).rows
        assert [row.places for row in rows] == [(1, 1), (2, 2)]
        assert all(row.is_complete for row in rows)
        return {row.label: row.worst.value for row in rows if row.worst is not None}

    wanted = {name: worst_by_loop(values) for name, values in models.items()}
    assert worst() == pytest.approx(wanted, abs=1e-12)
    monkeypatch.setattr(ranking, "least_of", lambda columns, _: np.min([c.values for c in columns], axis=0))
    assert all(value < wanted[name] - 1e-4 for name, value in worst().items())


def test_splits_are_attacked_anew() -> None:
    """There the least of each query and trial counts."""
    ids = tuple((trial, "q") for trial in range(2))
    columns = [Column(values=np.array(v), identities=np.zeros(2, np.int64), ids=ids) for v in ([0.9, 0.1], [0.2, 0.3])]
    assert least_of(columns, "regdb-v2t-v1").tolist() == [0.2, 0.1]
    assert least_of(columns, "sysu-all-v1").tolist() == [0.2, 0.3]


def test_cells_of_other_trials_share_no_table(make_run: Make, tmp_path: Path) -> None:
    """Equal names of queries in equal order are not enough."""
    (found,) = write(make_run, tmp_path / "run", scores(1, 0.5))
    other = cell_of(scores(1, 0.5))
    other["queries"] = [query | {"trial": N_TRIALS - 1 - query["trial"]} for query in other["queries"]]
    (renumbered,) = read_measurements(make_run(tmp_path / "other", [other]))
    ours, theirs = column_of(found, "mAP", "attacked"), column_of(renumbered, "mAP", "attacked")
    assert ours is not None
    assert theirs is not None
    assert ours.ids != theirs.ids


def test_a_submission_with_trials_is_what_its_queries_say(make_run: Make, tmp_path: Path) -> None:
    """Honest rows pass; one trial alone, or an edited mean, does not."""
    (found,) = write(make_run, tmp_path / "run", scores(1, 0.5))
    assert found.queries is not None
    assert dict(made_up(found, found.queries)) == {}
    once = cell_of(scores(1, 0.5))
    once["queries"] = once["queries"][: PEOPLE * EACH]
    (single,) = read_measurements(make_run(tmp_path / "once", [once]))
    assert single.queries is not None
    assert set(dict(made_up(single, single.queries))) == {"trials"}
    edited = replace(found, row={**found.row, "mAP_attacked": found.row["mAP_attacked"] + 0.005})
    assert set(dict(made_up(edited, found.queries))) == {"mAP_attacked"}
