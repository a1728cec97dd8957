"""`robustreid leaderboard` on directories: who is ranked, who is left out and why, held against the parquet.

The check computes scores and order from the stored queries anew, so that planted bugs meet the same function.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from robustreid.benchmark.cli import main
from robustreid.leaderboards import ranking
from robustreid.reports import records

Board = list[dict[str, str]]


def board_problems(rows: Board, run: Path, *, side: str = "gallery") -> list[str]:
    """Where a board differs from what the stored queries say: scores, order, places, and what is missing.

    Args:
        rows: by the names of the CSV.
        run: the run directory.
        side: whose images were attacked: on side query every query has its own worst attack.
    """
    cells = pd.read_parquet(run / "cells")
    here = cells[(cells["epsilon_label"] == "4/255") & cells["attack"].isin(["ama-ifgsm", "apgd"])]
    found = []
    for row in rows:
        own = here[here["model"] == row["model"]]
        scores = []
        for cell in own.itertuples():
            shown = row[f"mAP_under_{cell.attack}"]
            if cell.status != "done":
                found += [f"{row['model']}: {shown} for a cell that {cell.status}"] if shown else []
                continue
            queries = pd.read_parquet(run / "queries" / f"{cell.cell_id}.parquet")["ap_attacked"].to_numpy()
            scores.append(queries)
            if not shown or abs(float(shown) - queries.mean()) > 1e-12:
                found.append(f"{row['model']}: {shown} instead of {queries.mean()} under {cell.attack}")
        is_complete = len(scores) == 2
        means = [queries.mean() for queries in scores]
        if is_complete is not bool(row["mAP_worst"]) or (row["place_first"] == "") is is_complete:
            found.append(f"{row['model']}: score {row['mAP_worst']!r} from {len(scores)} of 2 attacks")
        elif is_complete:
            worst = np.min(scores, axis=0).mean() if side == "query" else min(means)
            if abs(float(row["mAP_worst"]) - worst) > 1e-12:
                found.append(f"{row['model']}: score {row['mAP_worst']} instead of {worst}")
    order = [float(row["mAP_worst"]) if row["mAP_worst"] else -1.0 for row in rows]
    found += ["order: the most robust does not stand first"] if order != sorted(order, reverse=True) else []
    for place, row in enumerate(rows, 1):
        if row["place_first"] and not int(row["place_first"]) <= place <= int(row["place_last"]):
            found.append(f"{row['model']}: place {place} is not in its range")
    return found


@pytest.fixture
def ranked(capsys: pytest.CaptureFixture[str]) -> Callable[..., Board]:
    """A function that ranks directories on a track and gives the rows of its CSV."""

    def rank(track: Path | str, *directories: Path) -> Board:
        assert main(["leaderboard", *map(str, directories), "--track", str(track), "--format", "csv"]) == 0
        return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))

    return rank


def test_a_board_is_what_the_queries_say(
    ranked: Callable[..., Board], make_track: Callable[..., Path], track_run: Path
) -> None:
    """Scores, order, ranges of places, and no number for the cell that failed."""
    rows = ranked(make_track(), track_run)
    assert [row["model"] for row in rows] == ["goat", "metric-at", "plain", "broken"]
    assert board_problems(rows, track_run) == []
    assert (rows[2]["place_first"], rows[2]["place_last"]) == ("3", "3")
    assert rows[3]["missing"] == "incomplete: ama-ifgsm failed (a feature is not finite)"
    assert rows[3]["mAP_at_most"]


def test_a_board_sorted_the_wrong_way_is_found(
    ranked: Callable[..., Board], make_track: Callable[..., Path], track_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: the least robust stands first."""
    true = ranking._order
    monkeypatch.setattr(ranking, "_order", lambda row: (true(row)[0], -true(row)[1], true(row)[2]))
    assert "order: the most robust does not stand first" in board_problems(ranked(make_track(), track_run), track_run)


def test_a_missing_cell_counted_as_zero_is_found(
    ranked: Callable[..., Board], make_track: Callable[..., Path], track_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: a failed attack leaves 0.0."""
    true = records._estimate
    zero = {"": 0.0, "_low": 0.0, "_high": 0.0}
    monkeypatch.setattr(
        records, "_estimate", lambda name, e: true(name, e) if e else {f"{name}{end}": v for end, v in zero.items()}
    )
    found = board_problems(ranked(make_track(), track_run), track_run)
    assert "broken: 0.0 for a cell that failed" in found
    assert "broken: score '0.0' from 1 of 2 attacks" in found


def test_what_does_not_agree_is_left_out(
    ranked: Callable[..., Board],
    make_track: Callable[..., Path],
    make_run: Callable[..., Path],
    track_cells: Callable[..., list[Any]],
    track_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Another protocol, another version of an attack: named with its reason, never in the table."""
    other = [{**cell, "protocol": "other-v1"} for cell in track_cells("elsewhere", 0.9)]
    weaker = [{**cell, "attack_params": '{"steps": 1}'} for cell in track_cells("weaker", 0.9)]
    run = make_run(tmp_path / "run", [*other, *weaker])
    track = make_track()
    rows = ranked(track, track_run, run)
    assert board_problems(rows, track_run) == []
    assert main(["leaderboard", str(track_run), str(run), "--track", str(track)]) == 0
    said = capsys.readouterr().out
    assert "Left out: elsewhere: protocol other-v1 (the track: market-v1)." in said
    assert "weaker is incomplete" in said or "Left out: weaker" in said
    assert "weaker" not in [row["model"] for row in rows if row["place_first"]]


def test_a_leaderboard_directory_is_ranked_with_runs(
    ranked: Callable[..., Board], make_track: Callable[..., Path], track_board: Path, track_run: Path
) -> None:
    """Its entries by their names, with provenance; an attack that was found lowers its model, with credit."""
    rows = {row["model"]: row for row in ranked(make_track(), track_board, track_run)}
    shield = rows["reid-shield"]
    assert shield["provenance"] == "sampled and verified"
    assert shield["found_by"] == "Charles Babbage: images"
    assert shield["worst_attack"] == "images"
    assert float(shield["mAP_worst"]) < float(shield["mAP_under_apgd"])
    assert rows["second-try"]["is_adaptively_evaluated"] == "false"
    assert rows["goat"]["provenance"] == "own run"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RUN", "--track", "synthetic-query-5"], "synthetic-query-4"),
        (["RUN", "--track", "none.yml"], "none.yml"),
        (["RUN", "--track", "synthetic-query-4", "--format", "html"], "'table', 'md', 'csv', 'json', 'latex'"),
        (["RUN"], "--track"),
        (["--track", "synthetic-query-4"], "DIR..."),
        (["nowhere", "--track", "synthetic-query-4"], "nowhere"),
    ],
)
def test_wrong_requests_exit_2(
    track_run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """One sentence that names what is wrong, and nothing on standard output."""
    assert main(["leaderboard", *(str(track_run) if text == "RUN" else text for text in arguments)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert shown.err.count("\n") == 1


def test_an_empty_board_says_why_and_exits_0(
    track_run: Path, make_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the nearest row has otherwise; where there is no row at all, that."""
    assert main(["leaderboard", str(track_run), "--track", "synthetic-gallery-4"]) == 0
    said = capsys.readouterr().out
    assert "Drawn people, gallery attacked at 4/255" in said
    assert "No row belongs to synthetic-gallery-4-v1: the nearest of 20 rows" in said
    assert "data digest 43385991 (the track: " in said
    planned = make_run(tmp_path / "run", [{"status": "missing"}])
    assert main(["leaderboard", str(planned), "--track", "synthetic-gallery-4"]) == 0
    assert "there is no row at all yet" in capsys.readouterr().out
    assert main(["leaderboard", str(planned), "--track", "synthetic-gallery-4", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == []


def test_ranking_needs_no_torch(make_track: Callable[..., Path], track_run: Path) -> None:
    """In a process of its own, up to the last line."""
    script = (
        "import sys; from robustreid.benchmark.cli import main; "
        f"code = main(['leaderboard', {str(track_run)!r}, '--track', {str(make_track())!r}, '--format', 'md']); "
        "print(code, 'torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "0 False False"


def test_tracks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """`robustreid ls tracks` names each with its title."""
    assert main(["ls", "tracks"]) == 0
    assert "synthetic-query-4     Drawn people, query attacked at 4/255" in capsys.readouterr().out
