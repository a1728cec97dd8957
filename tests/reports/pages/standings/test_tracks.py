"""Tracks on a site: which have a page, where it lies, and who stands on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid import UserError
from robustreid.leaderboards.entries import read_entries
from robustreid.leaderboards.standing import Standings
from robustreid.leaderboards.track import load_track, track_names
from robustreid.reports.boards import make_boards
from robustreid.reports.merging import find_sources, load_results
from robustreid.reports.track_pages import track_files, track_values
from robustreid.reports.tracks import (
    TrackBoard,
    TrackFile,
    entry_models,
    find_tracks,
    leading,
    make_track_boards,
    track_chart,
    wanted_tracks,
)


def test_shipped_tracks_and_the_users_own(make_track: Callable[..., Path]) -> None:
    """All that ship; a file of the same name and version goes before its namesake, and none is given twice."""
    assert [found.track.name for found in find_tracks([])] == list(track_names())
    own = make_track(name="synthetic-query-4")
    found = find_tracks([own])
    assert len(found) == len(track_names())
    assert found[0].text == own.read_text()
    assert [each.is_asked for each in found[:2]] == [True, False]
    named = find_tracks(["synthetic-query-4", "synthetic-query-4"])[0]
    assert (named.is_asked, named.is_own, named.track.name) == (True, False, "synthetic-query-4")
    with pytest.raises(UserError, match="Two of --track are 'synthetic-query-4-v1'"):
        find_tracks([own, make_track(name="synthetic-query-4")])


def test_only_tracks_with_rows_have_a_page(make_track: Callable[..., Path], track_run: Path) -> None:
    """And those that were asked for, which say why nobody stands there."""
    results = load_results([track_run])
    assert wanted_tracks(results, find_tracks([])) == ()
    files = [make_track(), make_track(name="other", side="query"), make_track(version=2)]
    wanted = wanted_tracks(results, find_tracks(files))
    entries = read_entries([track_run])
    boards = make_track_boards(wanted, entries, entry_models(results, entries))
    assert [(board.stem, len(board.standings.rows)) for board in boards] == [
        ("mini-gallery-4-v1", 4),
        ("other", 0),
        ("mini-gallery-4-v2", 4),
    ]
    assert "side gallery (the track: query)" in boards[1].empty
    assert [board.stem for board in leading(boards, 2)] == ["mini-gallery-4-v1", "mini-gallery-4-v2"]


def test_the_curve_of_one_radius_is_no_board_of_another(
    make_track: Callable[..., Path],
    make_run: Callable[..., Path],
    track_cells: Callable[..., list[Any]],
    tmp_path: Path,
) -> None:
    """Rows at 2/255 that only draw a curve make no page; a failed attack of a whole grid does."""
    track = TrackFile(track=load_track(make_track(epsilon="2/255")), text="", is_asked=False, is_own=False)
    runs = [make_run(tmp_path / "a", track_cells("a", 0.5))]
    failed = track_cells("b", 0.5)
    failed[0] |= {"k": 2, "status": "failed", "reason": "no"}
    runs.append(make_run(tmp_path / "b", failed))
    assert [len(make_track_boards([track], read_entries(found), {})) for found in (runs[:1], runs[1:])] == [0, 1]


def test_entries_find_their_pages_by_their_cells(track_board: Path, track_run: Path) -> None:
    """A submission has the name of its folder everywhere, whatever its own grid calls the model."""
    results = load_results([track_board, track_run])
    names = {result.model for result in results.results}
    assert names == {"reid-shield", "second-try", "goat", "metric-at", "plain", "broken"}
    entries = read_entries([track_board, track_run])
    assert entry_models(results, entries) == {name: name for name in names}
    sources = find_sources([track_board, track_run, track_run])
    assert [(source.model, source.title) for source in sources] == [
        ("reid-shield", "board"),
        ("reid-shield", "board"),
        ("second-try", "board"),
        ("", ""),
    ]


def test_what_one_submission_brought_is_asked_of_nobody_else(track_board: Path, track_run: Path) -> None:
    """An attack that was found against one counts for it, and the others are no less complete; a failure still is."""
    (board,) = make_boards(load_results([track_board, track_run]).results)
    assert "images" in board.attacks
    rows = {row.model: row for row in board.rows}
    assert rows["reid-shield"].worst_attack == "images"
    assert [name for name, row in rows.items() if not row.is_complete] == ["broken"]


def test_the_same_rows_give_the_same_board(make_track: Callable[..., Path], track_run: Path, tmp_path: Path) -> None:
    """From another place, intervals and places too: every file beside the page, and its figures."""
    moved = Path(shutil.copytree(track_run, tmp_path / "elsewhere"))
    made = []
    for run in (track_run, moved):
        results, entries = load_results([run]), read_entries([run])
        tracks = wanted_tracks(results, find_tracks([make_track()]))
        (board,) = make_track_boards(tracks, entries, entry_models(results, entries))
        figures = [drawing.svg for _, drawing, _ in track_values(board)["drawings"]]
        made.append((track_files(board), figures))
    assert made[0] == made[1]


def test_curves_have_the_intervals_of_their_points(sample_standings: Standings) -> None:
    """A line a model from the clean score on, each point with its interval; a failed radius is a gap."""
    chart = track_chart(sample_standings)
    assert chart is not None
    (panel,) = chart.panels
    assert [line.name for line in panel.lines] == ["goat", "metric-at", "plain", "broken"]
    assert [point.radius for point in panel.lines[0].points] == [0, 1, 2, 4, 8]
    first = panel.lines[0].points[0]
    assert first.ends == (first.mAP - 0.03, first.mAP + 0.03) if first.mAP else False


def test_boards_count_who_may_be_first(sample_standings: Standings) -> None:
    """By their ranges of places; an incomplete model has none."""
    board = TrackBoard(standings=sample_standings, stem="x", text="", is_own=False, empty="", models={"goat": "g"})
    assert (board.n_first, board.n_complete) == (2, 3)
    row = board.standing_of("g")
    assert row is not None
    assert row.label == "goat"
    assert board.standing_of("plain") is None
