"""The command line of reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid.benchmark.cli import main


def test_report_prints_where_the_page_is(ranked_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last line of standard output is the path of the front page; what it shows is said beside it."""
    out = tmp_path / "site"
    assert main(["report", str(ranked_run), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out / 'index.html'}\n"
    assert "1 model on 1 board, 1 done." in said.err
    assert (out / "index.html").is_file()
    assert main(["report", str(ranked_run), "--out", str(out)]) == 0


def test_report_takes_leaderboards_and_tracks(
    make_track: Callable[..., Path],
    make_board: Callable[..., Path],
    make_cell: Callable[..., dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A leaderboard directory alone; a track by file has its page, and one by name that has no row says why."""
    board = make_board({"one": {"cells": [make_cell("m", attack, 4, 0.5) for attack in ("ama-ifgsm", "apgd")]}})
    out = tmp_path / "site"
    tracks = ["--track", str(make_track()), "--track", "synthetic-query-4"]
    assert main(["report", str(board), "--out", str(out), *tracks]) == 0
    assert "1 model on 1 board and 2 tracks, 2 done." in capsys.readouterr().err
    assert "No row belongs to synthetic-query-4-v1" in (out / "tracks" / "synthetic-query-4.html").read_text()
    assert "own run" not in (out / "tracks" / "mini-gallery-4.html").read_text()


@pytest.mark.parametrize("arguments", [["none"], [], ["run", "--out", "taken"], ["run", "--track", "none.yml"]])
def test_wrong_requests_exit_2(
    ranked_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    """A folder that is no run, no folder at all, a place that is taken: one sentence, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("")
    (tmp_path / "run").symlink_to(ranked_run)
    assert main(["report", *arguments]) == 2
    assert capsys.readouterr().out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "taken"]
