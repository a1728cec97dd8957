"""Boards: sorted by the worst, incomplete ones last, at an epsilon that all were given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid.reports.boards import Board, make_boards
from robustreid.reports.merging import load_results
from robustreid.reports.results import METRICS, points, worst


def boards_of(make_run: Callable[..., Path], path: Path, cells: list[dict[str, Any]]) -> tuple[Board, ...]:
    """The boards of one run."""
    return make_boards(load_results([make_run(path / "run", cells)]).results)


def scored(model: str, attack: str, value: float, **more: Any) -> dict[str, Any]:
    """A cell with that attacked mAP, clean at 0.8."""
    return {"model": model, "attack": attack, "mAP_clean": 0.8, "mAP_attacked": value, **more}


def test_models_stand_by_their_worst(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """The best average loses to the best worst; the worst attack is named."""
    cells = [scored("a", "x", 0.7), scored("a", "y", 0.1), scored("b", "x", 0.3), scored("b", "y", 0.2)]
    (board,) = boards_of(make_run, tmp_path, cells)
    assert [(row.model, row.worst_attack, row.worst and row.worst.mean("mAP_attacked")) for row in board.rows] == [
        ("b", "y", 0.2),
        ("a", "y", 0.1),
    ]


@pytest.mark.parametrize("status", ["failed", "skipped", "missing", "absent"])
def test_without_a_score_is_never_robust(make_run: Callable[..., Path], tmp_path: Path, status: str) -> None:
    """A model stands below every complete one, however good the rest of it is."""
    cells = [scored("weak", "x", 0.02), scored("weak", "y", 0.01), scored("gap", "x", 0.9)]
    if status != "absent":
        cells.append(scored("gap", "y", 0.9, status=status, reason="no" if status != "missing" else ""))
    (board,) = boards_of(make_run, tmp_path, cells)
    assert [(row.model, row.is_complete) for row in board.rows] == [("weak", True), ("gap", False)]
    assert [score.status for score in board.rows[1].scores] == ["done", status]


def test_a_flipped_direction_is_seen(
    make_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: with mAP told to be better when lower, the order turns and the best attack counts."""
    monkeypatch.setitem(METRICS, "mAP", METRICS["target_mAP"])
    assert worst("mAP", [0.1, 0.2]) == 0.2
    cells = [scored("a", "x", 0.7), scored("b", "x", 0.3)]
    (board,) = boards_of(make_run, tmp_path, cells)
    assert [row.model for row in board.rows] == ["b", "a"]


@pytest.mark.parametrize(
    ("radii", "expected", "is_shared"),
    [
        ({"a": (1, 4, 8), "b": (1, 4, 8)}, "4/255", True),
        ({"a": (2, 5, 8), "b": (2, 5, 8)}, "5/255", True),
        ({"a": (4, 8), "b": (1, 8)}, "8/255", True),
        ({"a": (0, 1), "b": (0, 1)}, "1/255", True),
        ({"a": (0,), "b": (0,)}, "0/255", True),
        ({"a": (4,), "b": (8,)}, "4/255", False),
        ({"a": (3, 5), "b": (3, 5)}, "3/255", True),
    ],
)
def test_the_epsilon_that_all_share(
    make_run: Callable[..., Path], tmp_path: Path, radii: dict[str, tuple[int, ...]], expected: str, is_shared: bool
) -> None:
    """4/255 where all have it, else the nearest that all have, else the nearest of the most widely shared."""
    cells = [{"model": model, "k": k} for model, found in radii.items() for k in found]
    (board,) = boards_of(make_run, tmp_path, cells)
    assert (board.epsilon_label, board.is_shared) == (expected, is_shared)


def test_a_transfer_from_itself_is_not_missing(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """The model that others are attacked from has its white-box score in that place; without one it is incomplete."""
    transfer = scored("b", "x", 0.7, knowledge="transfer", surrogate="a", cell_id="c" * 32)
    (board,) = boards_of(make_run, tmp_path, [scored("a", "x", 0.1), scored("b", "x", 0.2), transfer])
    assert [(row.model, row.is_complete) for row in board.rows] == [("b", True), ("a", True)]
    other = scored("a", "noise", 0.8)
    (board,) = boards_of(make_run, tmp_path / "noise", [other, scored("b", "noise", 0.8), transfer])
    assert [(row.model, row.is_complete) for row in board.rows] == [("b", True), ("a", False)]
    shorter = scored("a", "x", 0.1, attack_params='{"steps": 1}')
    both = [shorter, {**shorter, "model": "b", "mAP_attacked": 0.2}]
    (board,) = boards_of(make_run, tmp_path / "shorter", [*both, transfer])
    assert [(row.model, row.is_complete) for row in board.rows] == [("b", True), ("a", False)]
    failed = scored("a", "x", 0.1, status="failed", reason="no")
    (board,) = boards_of(make_run, tmp_path / "failed", [failed, scored("b", "x", 0.2), transfer])
    assert [(row.model, row.is_complete) for row in board.rows] == [("b", True), ("a", False)]


def test_a_failure_does_not_move_the_board(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """A model that fails at 4/255 is shown as failed there; the board does not go where it did not fail."""
    cells: list[dict[str, Any]] = [
        {"k": 4, "status": "failed", "reason": "no"},
        {"k": 8},
        {"model": "b", "k": 4},
        {"model": "b", "k": 8},
    ]
    (board,) = boards_of(make_run, tmp_path, cells)
    assert board.epsilon_label == "4/255"
    assert [(row.model, row.is_complete) for row in board.rows] == [("b", True), ("osnet", False)]


def test_what_nobody_began_gives_way(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """While a run has only reached 1/255, its board is about 1/255."""
    cells: list[dict[str, Any]] = [{"k": 1}, {"k": 4, "status": "missing"}]
    (board,) = boards_of(make_run, tmp_path, cells)
    assert board.epsilon_label == "1/255"


def test_seeds_are_averaged(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """The mean of the seeds, and how many there are; one failed seed makes the score failed."""
    cells = [scored("a", "x", value, seed=seed) for seed, value in enumerate((0.2, 0.4))]
    (board,) = boards_of(make_run, tmp_path, cells)
    score = board.rows[0].scores[0]
    assert score.mean("mAP_attacked") == pytest.approx(0.3)
    assert score.n_seeds == 2
    cells[1] |= {"status": "failed", "reason": "no"}
    (board,) = boards_of(make_run, tmp_path / "other", cells)
    assert board.rows[0].scores[0].status == "failed"


def test_norms_and_goals_do_not_mix(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """L2 radii have a board of their own, and targeted cells are no rows of a board."""
    l2: dict[str, Any] = {"norm": "l2", "epsilon": 2.0, "epsilon_label": "2"}
    boards = boards_of(make_run, tmp_path, [{}, l2, {"goal": "targeted"}, {"goal": "targeted", "side": "query"}])
    assert [(b.norm, b.side, len(b.results), len(b.targeted), len(b.rows)) for b in boards] == [
        ("linf", "gallery", 1, 1, 1),
        ("l2", "gallery", 1, 0, 1),
        ("linf", "query", 0, 1, 0),
    ]


def test_points_round_as_the_terminal_does() -> None:
    """Two decimals, halves to even, nothing for None."""
    assert [points(value) for value in (0.00125, 0.123456, 1.0, None)] == ["0.12", "12.35", "100.00", ""]
