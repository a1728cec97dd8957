"""Claims held against what was computed again, and what a board takes in: whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from robustreid import InvalidFileError, UserError
from robustreid.leaderboards.entries import read_entries
from robustreid.leaderboards.measurements import Measurement, read_measurements
from robustreid.leaderboards.submission.accepting import Board, accept
from robustreid.leaderboards.submission.adapting import is_adaptively_evaluated
from robustreid.leaderboards.submission.description import Description, read_description
from robustreid.leaderboards.submission.findings import Report
from robustreid.leaderboards.submission.opening import Opened
from robustreid.leaderboards.submission.reviewing import make_review
from robustreid.leaderboards.submission.track_rules import track_problems
from robustreid.leaderboards.submission.verifying import (
    TOLERANCE,
    Recomputed,
    Verification,
    compared,
    draw_sample,
    read_verification,
    worst_problem,
)
from robustreid.leaderboards.track import load_track
from robustreid.reports.review import markdown_review

TEXT = """schema: 1
name: mine
title: A model
authors: [A. Stranger]
licence: MIT
track: TRACK
model: {architecture: tinynet, weights: weights.safetensors}
trained_on: [synthetic]
random_stages: STAGES
non_differentiable_stages: []
adaptive_attack: ATTACK
"""
Make = Callable[..., Path]


def described(*, track: str = "synthetic-query-4", stages: str = "[]", attack: str = "null") -> Description:
    """The description of a submission."""
    return read_description(TEXT.replace("TRACK", track).replace("STAGES", stages).replace("ATTACK", attack))


@pytest.fixture
def submission(make_run: Make, tmp_path: Path) -> Opened:
    """One with a row that no track asks for."""
    folder = tmp_path / "mine"
    make_run(folder / "results", [{"model": "mine", "side": "query", "attack": "pgd"}])
    (folder / "weights.safetensors").write_bytes(b"w")
    return Opened(folder=folder, report=Report(), content_sha256="c" * 64, n_files=4)


def claim(run: Path, **changes: Any) -> Measurement:
    """The one cell of a run, with some of its row changed."""
    (found,) = read_measurements(run)
    return replace(found, row={**found.row, **changes})


def verification(*problems: str, n_cells: int = 3, content: str = "c" * 64) -> Verification:
    """What verifying came to, a problem (or none) a cell."""
    cells = tuple(
        Recomputed(
            cell_id=str(place),
            label=f"cell {place}",
            claimed_clean=0.8,
            clean=0.8,
            claimed=0.5,
            attacked=0.5,
            problem=problem,
        )
        for place, problem in enumerate(problems)
    )
    return Verification(content_sha256=content, seed=1, n_cells=n_cells, cells=cells)


def supports(measured: float, claimed: float, clean: float = 0.8) -> bool:
    """Whether a recomputed cell supports a claim of attacked mAP, written from the issue's words."""
    return measured >= claimed - max(0.01, 3 * 0.001) and abs(clean - 0.8) <= 0.01


@pytest.mark.parametrize(
    ("measured", "clean"), [(0.5, 0.8), (0.495, 0.8), (0.48, 0.8), (0.6, 0.8), (0.5, 0.7), (0.5, 0.9)]
)
def test_a_claim_fails_where_less_is_kept(make_run: Make, tmp_path: Path, measured: float, clean: float) -> None:
    """By more than a point of attacked mAP; one that is too low is nobody's advantage; another clean score is a lie."""
    run = make_run(tmp_path / "run", [{"side": "query"}])
    claimed = claim(run, mAP_attacked=0.5, mAP_clean=0.8)
    found = compared(claimed, claim(run, mAP_attacked=measured, mAP_clean=clean))
    assert (found.problem == "") is supports(measured, 0.5, clean)
    assert TOLERANCE == 0.01


def test_another_cell_is_no_support(make_run: Make, tmp_path: Path) -> None:
    """A row about other weights or another attack, and a cell that could not be computed."""
    run = make_run(tmp_path / "run", [{"side": "query"}])
    other = make_run(tmp_path / "other", [{"side": "query", "sha": "9" * 64}])
    assert "other weights" in compared(claim(run), claim(other)).problem
    assert "could not be computed" in compared(claim(run), None).problem


def test_values_that_change_places_are_found(make_run: Make, tmp_path: Path) -> None:
    """The planted lie: each cell keeps its mean, and the least of each query, which a board takes, rises."""
    hurt = {"one": [0.1, 0.9, 0.9, 0.1], "other": [0.9, 0.1, 0.1, 0.9]}

    def run(name: str, values: dict[str, list[float]]) -> list[Measurement]:
        cells = []
        for attack, aps in values.items():
            queries = [
                {"query_id": f"{i}.png", "identity": i, "camera": 1}
                | {f"{c}_{s}": 1.0 for c in ("ap", "ap_trapezoid", "inp", "first_rank") for s in ("clean", "attacked")}
                | {"ap_attacked": ap}
                for i, ap in enumerate(aps)
            ]
            cells.append({"side": "query", "attack": attack, "mAP_attacked": sum(aps) / 4, "queries": queries})
        return list(read_measurements(make_run(tmp_path / name, cells)))

    honest = run("honest", hurt)
    lie = run("lie", {"one": hurt["one"], "other": hurt["one"]})
    assert [compared(a, b).problem for a, b in zip(lie, honest, strict=True)] == ["", ""]
    assert worst_problem(honest, honest) == ""
    assert "40.00 less than claimed" in worst_problem(lie, honest)


def test_a_sample_is_drawn_by_its_seed() -> None:
    """Equal seeds draw equal cells whatever the order of the claims; more than all is all."""
    pairs = [(name, f"{k}/255") for name in "abcd" for k in (2, 4, 8)]
    assert draw_sample(pairs, 4, 7) == draw_sample(pairs[::-1], 4, 7)
    assert len({draw_sample(pairs, 4, seed) for seed in range(20)}) > 10
    assert sorted(draw_sample(pairs, 99, 0)) == sorted(pairs)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (verification("", ""), "sampled and verified"),
        (verification("", "", ""), "reproduced"),
        (verification("", "less"), "self-reported"),
        (verification(), "self-reported"),
    ],
)
def test_what_a_verification_is_worth(found: Verification, words: str, tmp_path: Path) -> None:
    """And it reads back from its file."""
    assert found.provenance == words
    (tmp_path / "v.json").write_text(found.as_text())
    assert read_verification(tmp_path / "v.json") == found


@pytest.mark.parametrize(
    "content", ["", "{}", "[" * 9999, '{"cells": [{}], "seed": 1, "n_cells": 1, "content_sha256": ""}']
)
def test_a_wrong_verification_is_refused(content: str, tmp_path: Path) -> None:
    """It is named."""
    (tmp_path / "v.json").write_text(content)
    with pytest.raises(InvalidFileError, match=r"v\.json"):
        read_verification(tmp_path / "v.json")


def test_accepted_whole(submission: Opened, tmp_path: Path) -> None:
    """The content as it came, and beside it what a board must know."""
    board = Board(path=tmp_path / "board")
    place = accept(board, submission, described(), verification=verification("", ""))
    assert board.names == ("mine",)
    assert (place / "weights.safetensors").read_bytes() == b"w"
    (entry,) = read_entries([board.path])
    assert (entry.provenance, entry.is_adaptively_evaluated) == ("sampled and verified", True)
    assert entry.card["title"] == "A model"
    assert sorted(path.name for path in board.path.iterdir()) == ["entries"]


@pytest.mark.parametrize(
    ("found", "words"),
    [(verification("", content="d" * 64), "about another content"), (verification("less"), "did not agree")],
)
def test_not_accepted(submission: Opened, tmp_path: Path, found: Verification, words: str) -> None:
    """The board is as it was."""
    board = Board(path=tmp_path / "board")
    with pytest.raises(UserError, match=words):
        accept(board, submission, described(), verification=found)
    assert board.names == ()


def test_a_name_is_taken_once(submission: Opened, tmp_path: Path) -> None:
    """Unless the keeper of the board replaces it."""
    board = Board(path=tmp_path / "board")
    accept(board, submission, described(), verification=None)
    with pytest.raises(UserError, match="has an entry 'mine'"):
        accept(board, submission, described(), verification=None)
    accept(board, submission, described(), verification=verification("", "", ""), replace=True)
    assert read_entries([board.path])[0].provenance == "reproduced"


def test_adaptive_means_a_score_of_its_own_attack(submission: Opened, make_run: Make, tmp_path: Path) -> None:
    """Naming an attack is not enough: its cell must be done."""
    stages, attack = "[crop]", "{name: mine-adaptive, objective: push, optimiser: apgd, eot: 10}"
    assert is_adaptively_evaluated(described(), submission.folder)
    assert not is_adaptively_evaluated(described(stages=stages), submission.folder)
    assert not is_adaptively_evaluated(described(stages=stages, attack=attack), submission.folder)
    for status, expected in (("failed", False), ("done", True)):
        cell = {
            "model": "mine",
            "side": "query",
            "attack": "mine-adaptive",
            "status": status,
            "reason": "r" * (status != "done"),
        }
        make_run(tmp_path / status / "results", [cell])
        assert is_adaptively_evaluated(described(stages=stages, attack=attack), tmp_path / status) is expected


def test_tracks_are_held_against_rows(submission: Opened) -> None:
    """An unknown track is a note, rows of none an error, tracks of two sides too."""
    measurements = read_measurements(submission.folder / "results")
    codes = {
        "mine-only": {("SUB501", "note")},
        "synthetic-query-4": {("SUB503", "error")},
        "[synthetic-query-4, synthetic-gallery-4]": {("SUB502", "error")},
    }
    for track, expected in codes.items():
        found = track_problems(described(track=track), measurements)
        assert {(finding.code, finding.level) for finding in found} == expected
    assert not list(track_problems(described(), ()))


def test_a_review_shows_markup_as_text(submission: Opened) -> None:
    """And says what is missing, what was not recomputed, and what to ask about."""
    hostile = replace(described(), title="<img src=x>|@all [a](javascript:x)", authors=("\u202eevil", "`x`"))
    review = make_review(submission, hostile, [load_track("synthetic-query-4")], (), verification=None)
    text = markdown_review(review)
    assert "<img" not in text
    assert "](javascript" not in text
    assert "\u202e" not in text
    assert "@all" not in text
    assert "self-reported" in text
    assert "No row of the submission belongs to this track." in text
    rows = [line for line in text.splitlines() if line.startswith("| title")]
    assert rows[0].count("|") == 3


def test_a_verification_is_json_for_others() -> None:
    """With the verdict beside the numbers."""
    found = json.loads(verification("", "less").as_text())
    assert (found["agrees"], found["provenance"], len(found["cells"])) == (False, "self-reported", 2)
