"""Standings: the worst case by a plain loop, incomplete grids, rows that share no table, places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from robustreid.leaderboards.entries import read_entries
from robustreid.leaderboards.measurements import read_measurements
from robustreid.leaderboards.ranking import make_standings
from robustreid.leaderboards.standing import Standing, Standings
from robustreid.leaderboards.track import Track, load_track

PEOPLE = 40
IDENTITIES = np.repeat(np.arange(PEOPLE), 3)


def profile(level: float, seed: int) -> np.ndarray:
    """(Q,) made-up AP of every query: people differ, and so do a person's queries."""
    rng = np.random.default_rng(seed)
    person = rng.beta(4 * level, 4 * (1 - level), PEOPLE)[IDENTITIES]
    return np.clip(person + rng.normal(0, 0.03, len(IDENTITIES)), 0.001, 1.0)


CLEAN = profile(0.8, 0)
Make = Callable[..., Path]


@pytest.fixture(params=["query", "gallery"])
def track(request: pytest.FixtureRequest) -> Track:
    """A shipped track of each side, about made-up data."""
    found = load_track(f"synthetic-{request.param}-4")
    data = replace(found.data, sha256=None, queries=len(CLEAN), gallery=100, identities=PEOPLE)
    return replace(found, data=data, engine_version=1)


@pytest.fixture
def write(make_run: Make, track: Track, tmp_path: Path) -> Make:
    """Writes a run of some models: by model, by (attack, radius) the AP of every query, or changes of the cell."""

    def cell(model: str, attack: str, k: int, given: Any) -> dict[str, Any]:
        pinned = next((a for a in track.attacks if a.name == attack), None)
        base: dict[str, Any] = {
            "model": model,
            "attack": attack,
            "k": k,
            "side": track.side,
            "n_query": len(CLEAN),
            "n_gallery": 100,
            "n_identity": PEOPLE,
            "attack_params": pinned.parameters if pinned else "{}",
        }
        if not isinstance(given, np.ndarray):
            return {**base, **given}
        hits = given > 0.5
        queries = [
            {"query_id": f"{i}.png", "identity": int(who), "camera": 1 + i % 3, "inp_clean": 0.1, "inp_attacked": 0.1}
            | {"ap_clean": clean, "ap_attacked": ap, "ap_trapezoid_clean": clean, "ap_trapezoid_attacked": ap}
            | {"first_rank_clean": 1.0, "first_rank_attacked": 1.0 if hit else 4.0}
            for i, (who, clean, ap, hit) in enumerate(zip(IDENTITIES, CLEAN, given, hits, strict=True))
        ]
        scores = {
            "mAP_clean": CLEAN.mean(),
            "mAP_attacked": given.mean(),
            "rank1_clean": 1.0,
            "rank1_attacked": hits.mean(),
        }
        return {**base, **scores, "queries": queries}

    def run(models: Mapping[str, Mapping[tuple[str, int], Any]], name: str = "run", **common: Any) -> Path:
        cells = [
            {**cell(model, attack, k, given), **common}
            for model, cells in models.items()
            for (attack, k), given in cells.items()
        ]
        return make_run(tmp_path / name, cells)

    return run


def full(track: Track, level: float, seed: int) -> dict[tuple[str, int], Any]:
    """Every cell of a track: lower where the radius is larger, each attack with queries of its own to hurt."""
    found: dict[tuple[str, int], Any] = {}
    for place, attack in enumerate(track.attacks):
        found[attack.name, 4] = CLEAN * profile(level, seed + place)
    for place, threat in enumerate(track.curve):
        k = int(threat.radius)
        found.setdefault((track.curve_attack.name, k), CLEAN * profile(max(0.05, 1 - 0.15 * (place + 1)), seed + 50))
    return found


def standings(track: Track, *runs: Path) -> Standings:
    """Of some run directories."""
    return make_standings(track, read_entries(runs))


def by_loop(track: Track, cells: Mapping[tuple[str, int], Any]) -> float:
    """The worst case, query by query, written from DESIGN's words alone."""
    attacked = [values for (_, k), values in cells.items() if k == 4]
    if track.side == "query":
        return float(sum(min(values[i] for values in attacked) for i in range(len(CLEAN))) / len(CLEAN))
    return float(min(sum(values) / len(values) for values in attacked))


def test_the_worst_case_is_that_of_a_plain_loop(track: Track, write: Make) -> None:
    """Side query: each query's least; else the least mean. The interval holds it, and clean stands beside it."""
    cells = full(track, 0.5, 1)
    (row,) = standings(track, write({"a": cells})).rows
    assert row.is_complete
    assert row.worst is not None
    assert row.worst.value == pytest.approx(by_loop(track, cells), abs=1e-12)
    assert row.worst.low < row.worst.value < row.worst.high
    assert row.clean is not None
    assert row.clean.value == pytest.approx(CLEAN.mean())
    least = min((values.mean(), name) for (name, k), values in cells.items() if k == 4)
    assert row.worst_attack == least[1]
    assert row.worst_rank1 is not None
    assert row.worst_rank1.value <= min((values > 0.5).mean() for (_, k), values in cells.items() if k == 4)


def counted_as_zero(row: Standing) -> bool:
    """Whether a missing cell became a number, or a place."""
    missing = [score for score in row.attacks if score.status != "done"]
    return any(score.mAP is not None for score in missing) or (bool(missing) and row.places is not None)


@pytest.mark.parametrize("change", [{"status": "failed", "reason": "a feature is not finite"}, {"status": "missing"}])
def test_an_incomplete_grid_says_so(track: Track, write: Make, change: dict[str, Any]) -> None:
    """It gets no place, stands last, and what is missing is named and never a number."""
    cells = {**full(track, 0.9, 1), (track.attacks[1].name, 4): change}
    found = standings(track, write({"strong": cells, "weak": full(track, 0.2, 9)}))
    assert [row.label for row in found.rows] == ["weak", "strong"]
    row = found.rows[1]
    assert (row.is_complete, row.places) == (False, None)
    assert [score.attack for score in row.missing] == [track.attacks[1].name]
    assert not counted_as_zero(row)
    assert found.rows[0].places == (1, 1)


def test_a_missing_cell_that_counts_as_zero_would_be_noticed(track: Track, write: Make) -> None:
    """The planted bug."""
    cells = {**full(track, 0.9, 1), (track.attacks[1].name, 4): {"status": "missing"}}
    (row,) = standings(track, write({"a": cells})).rows
    zero = row.clean
    wrong = replace(row, attacks=tuple(replace(s, mAP=zero) if s.mAP is None else s for s in row.attacks))
    assert counted_as_zero(wrong)
    assert not counted_as_zero(row)


def is_best_first(found: Standings) -> bool:
    """Whether complete models come in the order of what they keep, and have places in that order."""
    values = [row.worst.value for row in found.rows if row.is_complete and row.worst]
    firsts = [row.places[0] for row in found.rows if row.places]
    return values == sorted(values, reverse=True) and firsts == sorted(firsts)


def test_the_most_robust_comes_first(track: Track, write: Make) -> None:
    """And a board sorted the wrong way round would be noticed: the planted bug."""
    found = standings(
        track, write({name: full(track, level, 5) for name, level in zip("abc", (0.3, 0.7, 0.5), strict=True)})
    )
    assert [row.label for row in found.rows] == ["b", "c", "a"]
    assert [row.places for row in found.rows] == [(1, 1), (2, 2), (3, 3)]
    assert is_best_first(found)
    assert not is_best_first(replace(found, rows=found.rows[::-1]))


def test_models_that_cannot_be_told_apart_share_places(track: Track, write: Make) -> None:
    """Two of one strength and one far behind: 1 to 2, 1 to 2, 3."""
    same = full(track, 0.7, 5)
    rng = np.random.default_rng(3)
    twin = {key: np.clip(values + rng.normal(0, 0.02, len(values)), 0.001, 1) for key, values in same.items()}
    found = standings(track, write({"a": same, "b": twin, "c": full(track, 0.2, 6)}))
    assert {row.label: row.places for row in found.rows} == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


OTHERS: Sequence[tuple[str, dict[str, Any], str]] = [
    ("metric version", {"metric_version": 2}, "metric version 2 (the track: 1)"),
    ("engine version", {"engine_version": 7}, "engine version 7 (the track: 1)"),
    ("precision", {"precision": "fast"}, "precision fast (the track: exact)"),
    ("protocol", {"protocol": "single-shot-v1"}, "protocol single-shot-v1"),
    ("queries", {"n_query": 24}, "number of queries 24"),
    ("place", {"perturb_at": "input"}, "place of the perturbation input"),
    ("parameters", {"attack_params": '{"steps": 1}'}, "in another version or with other parameters"),
    ("references", {"references": "self"}, "in another version or with other parameters"),
]


@pytest.mark.parametrize(("change", "words"), [(c, w) for _, c, w in OTHERS], ids=[name for name, _, _ in OTHERS])
def test_what_differs_shares_no_table(track: Track, write: Make, change: dict[str, Any], words: str) -> None:
    """It is left out, and the reason is said."""
    ours = write({"a": full(track, 0.5, 1)})
    theirs = write({"b": full(track, 0.5, 2)}, "other", **change)
    found = standings(track, ours, theirs)
    complete = [row.label for row in found.rows if row.is_complete]
    assert complete == ["a"]
    said = {left.label: left.reason for left in found.left_out}
    if words.startswith("in another"):
        (other,) = (row for row in found.rows if row.label == "b")
        assert len(other.missing) == len(track.attacks)
    else:
        assert words in said["b"]


def test_another_copy_of_the_data_shares_no_table(track: Track, write: Make) -> None:
    """Where a track names no digest, the one that the most models have is the table's."""
    ours = write({"a": full(track, 0.5, 1), "b": full(track, 0.4, 2)})
    theirs = write({"c": full(track, 0.5, 3)}, "other", dataset_sha256="f" * 64)
    found = standings(track, ours, theirs)
    assert [row.label for row in found.rows] == ["a", "b"]
    assert [left.label for left in found.left_out] == ["c"]
    assert "data digest" in found.left_out[0].reason


def test_what_else_is_known_counts(track: Track, write: Make) -> None:
    """A stronger attack at the radius lowers the worst case, whoever ran it; at another radius it does not."""
    cells = full(track, 0.6, 1)
    (before,) = standings(track, write({"a": cells})).rows
    harder = np.minimum.reduce([values for (_, k), values in cells.items() if k == 4]) / 2
    (after,) = standings(track, write({"a": {**cells, ("soft-ap", 4): harder}}, "harder")).rows
    (same,) = standings(track, write({"a": {**cells, ("soft-ap", 8): harder}}, "further")).rows
    assert before.worst is not None
    assert after.worst is not None
    assert same.worst is not None
    assert after.worst.value == pytest.approx(harder.mean())
    assert same.worst.value == before.worst.value
    assert [score.attack for score in after.attacks if not score.is_of_track] == ["soft-ap"]


def test_curve_area_and_critical_radius(track: Track, write: Make) -> None:
    """By the trapezoid rule from the clean score on; half of it is left where the lines say so."""
    cells = full(track, 0.5, 1)
    (row,) = standings(track, write({"a": cells})).rows
    ks = [0, *(int(threat.radius) for threat in track.curve)]
    means = [CLEAN.mean(), *(cells[track.curve_attack.name, k].mean() for k in ks[1:])]
    area = sum((b - a) * (m + n) / 2 for a, b, m, n in zip(ks, ks[1:], means, means[1:], strict=False)) / ks[-1]
    assert [point.mAP.value for point in row.curve if point.mAP] == pytest.approx(means)
    assert row.area is not None
    assert row.area.value == pytest.approx(area)
    assert row.critical is not None
    half = np.interp(-means[0] / 2, [-mean for mean in means], ks) / 255
    if row.critical.is_beyond:
        assert means[-1] > means[0] / 2
    else:
        assert row.critical.estimate.value == pytest.approx(half)
    assert row.critical.estimate.low <= row.critical.estimate.value <= row.critical.estimate.high


def test_a_curve_with_a_gap_has_no_area(track: Track, write: Make) -> None:
    """Nothing is integrated over what is missing."""
    cells = {**full(track, 0.5, 1), (track.curve_attack.name, 2): {"status": "failed", "reason": "memory"}}
    (row,) = standings(track, write({"a": cells})).rows
    assert (row.area, row.critical) == (None, None)
    assert row.is_complete


def test_scores_without_their_queries_are_no_standing(track: Track, write: Make) -> None:
    """A row whose queries have another mean is believed by nobody: no interval, no place."""
    cells = full(track, 0.5, 1)
    run = write({"a": cells}, mAP_attacked=0.99)
    (row,) = standings(track, run).rows
    assert (row.worst, row.is_complete, row.places) == (None, False, None)
    assert all(m.values("mAP", "attacked") is None for m in read_measurements(run))
