"""Curves: a value where one was measured, and nothing anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid.reports.boards import Board, make_boards
from robustreid.reports.curves import FEWEST_STYLES, N_STYLES, Chart, board_charts, model_chart, n_styles
from robustreid.reports.merging import load_results


def chart_of(make_run: Callable[..., Path], path: Path, statuses: dict[int, str]) -> tuple[Chart, Board]:
    """The mAP chart of one model under one attack."""
    cells = [{"k": k, "status": s, "reason": "no" * (s != "done")} for k, s in statuses.items()]
    (board,) = make_boards(load_results([make_run(path / "run", cells)]).results)
    return board_charts(board)[0], board


@pytest.mark.parametrize("status", ["failed", "skipped", "missing"])
def test_a_line_ends_where_there_is_no_score(make_run: Callable[..., Path], tmp_path: Path, status: str) -> None:
    """The points on both sides of it are not joined, and it has no value: not zero either."""
    chart, _ = chart_of(make_run, tmp_path, {1: "done", 2: "done", 4: status, 8: "done"})
    (line,) = chart.panels[0].lines
    assert [[point.radius for point in piece] for piece in line.pieces("mAP")] == [[0, 1, 2], [8]]
    assert [(point.radius, point.mAP, point.rank1, point.status) for point in line.gaps("mAP")] == [
        (4.0, None, None, status)
    ]


def test_the_clean_score_begins_each_line(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """At 0, unless a cell of epsilon 0 was run."""
    chart, board = chart_of(make_run, tmp_path, {2: "done"})
    first = chart.panels[0].lines[0].points[0]
    assert (first.radius, first.status, first.mAP) == (0.0, "clean", board.results[0].score("mAP_clean"))
    chart, _ = chart_of(make_run, tmp_path / "zero", {0: "done", 2: "done"})
    assert [point.status for point in chart.panels[0].lines[0].points] == ["done", "done"]


def test_nothing_done_is_no_point_at_all(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Where every cell failed there is no clean score to begin with."""
    chart, _ = chart_of(make_run, tmp_path, {2: "failed", 4: "failed"})
    assert chart.panels[0].lines[0].pieces("mAP") == []


def test_panels_and_lines(sample_run: Path) -> None:
    """A panel an attack and a line a model; on a model's page a panel a metric and a line an attack."""
    board = make_boards(load_results([sample_run]).results)[0]
    charts = board_charts(board)
    assert [chart.panels[0].metric for chart in charts] == ["mAP", "rank1"]
    assert [panel.title for panel in charts[0].panels] == ["ama-fgsm", "ama-ifgsm", "fna", "noise"]
    assert [line.name for line in charts[0].panels[0].lines] == list(board.models)
    assert [line.style for line in charts[0].panels[0].lines] == [0, 1, 2, 3]
    own = model_chart(board, "tiny")
    assert [panel.title for panel in own.panels] == ["mAP", "Rank-1"]
    assert [line.name for line in own.panels[0].lines] == ["ama-fgsm", "ama-ifgsm", "fna", "noise"]


def test_fewer_lines_stand_out_where_there_are_many_panels(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """All sixteen on a small board, never fewer than four."""
    small: list[dict[str, Any]] = [{}]
    large = [{"attack": f"a{a}", "k": k, "status": "missing"} for a in range(60) for k in range(1, 11)]
    found = [
        make_boards(load_results([make_run(tmp_path / str(n), c)]).results)[0] for n, c in enumerate((small, large))
    ]
    assert [n_styles(board) for board in found] == [N_STYLES, FEWEST_STYLES]
