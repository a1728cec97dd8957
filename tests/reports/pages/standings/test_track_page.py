"""The page of a track says what its standings say: as text that a person can read, and number by number."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid.leaderboards.standing import Standings
from robustreid.reports import pages
from robustreid.reports.formats import render
from robustreid.reports.pages import Pages
from robustreid.reports.track_pages import track_files, track_values
from robustreid.reports.tracks import TrackBoard

GOLDEN = Path(__file__).parent / "golden" / "track.txt"
RENEW = "ROBUSTREID_RENEW_GOLDEN"


def rendered(standings: Standings, folder: Path, read_page: Callable[[Path], Any]) -> Any:
    """The page of a board of made-up numbers."""
    board = TrackBoard(
        standings=standings,
        stem=standings.track.name,
        text="name: mini-gallery-4\n",
        is_own=True,
        empty="" if standings.rows else "No row belongs to it.",
        models={row.label: row.label for row in standings.rows if row.label != "plain"},
    )
    values = track_values(board)
    values.pop("drawings")
    page = Pages().render(
        "track.html", root="../", page="track", board=board, figures=[], attacks=frozenset({"apgd"}), **values
    )
    (folder / "page.html").write_bytes(page)
    return read_page(folder / "page.html")


def page_problems(page: Any, standings: Standings) -> list[str]:
    """Where the board of a page has another order, place or number than the standings, or one where there is none."""
    found = []
    for cells, row in zip(page.table("board-table"), standings.rows, strict=True):
        place = "-" if row.places is None else "\N{EN DASH}".join(map(str, dict.fromkeys(row.places)))
        score = f"{100 * row.worst.value:.2f}" if row.worst else ""
        wanted = [place, row.label, score if row.is_complete else f"at most {score}"]
        shown = [cells[0], cells[1].split(" ")[0], cells[2].split("[")[0].removesuffix("incomplete").strip()]
        found += [f"{row.label}: {a!r} instead of {b!r}" for a, b in zip(shown, wanted, strict=True) if a != b]
        for text, attack in zip(cells[5:], (score for score in row.attacks if score.is_of_track), strict=False):
            value = attack.mAP
            wanted_text = attack.status if value is None else f"{100 * value.value:.2f}"
            if text.split("[")[0].strip() != wanted_text:
                found.append(f"{row.label}: {text!r} instead of {wanted_text!r} under {attack.attack}")
    shown_first = [row.label for row in standings.rows if row.is_complete]
    by_score = sorted((row for row in standings.rows if row.is_complete), key=lambda row: -row.worst.value)  # type: ignore[union-attr]
    if shown_first != [row.label for row in by_score]:
        found.append("order: the most robust does not stand first")
    return found


def test_golden_text(sample_standings: Standings, read_page: Callable[[Path], Any], tmp_path: Path) -> None:
    """What the page says, as text (renew with ROBUSTREID_RENEW_GOLDEN=1 and read the difference)."""
    text = rendered(sample_standings, tmp_path, read_page).text
    if os.environ.get(RENEW):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_board_has_the_numbers_of_the_standings(
    sample_standings: Standings, hostile_standings: Standings, read_page: Callable[[Path], Any], tmp_path: Path
) -> None:
    """Order, places, scores and every attack; a failed one says so."""
    assert page_problems(rendered(sample_standings, tmp_path, read_page), sample_standings) == []
    hostile = rendered(hostile_standings, tmp_path, read_page)
    assert "alert(1)" in hostile.text
    assert len(hostile.table("board-table")) == len(hostile_standings.rows)


def test_a_failed_attack_shown_as_zero_is_found(
    sample_standings: Standings, read_page: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: a status is shown as a number."""
    zero = lambda score: "0.00" if score.mAP is None else ""  # noqa: E731
    zero.__name__ = "status_word"
    used = tuple(zero if each.__name__ == "status_word" else each for each in pages._USED)
    monkeypatch.setattr(pages, "_USED", used)
    found = page_problems(rendered(sample_standings, tmp_path, read_page), sample_standings)
    assert found == ["broken: '0.00' instead of 'failed' under apgd"]


def test_a_board_turned_round_is_found(
    sample_standings: Standings,
    standings_maker: Callable[..., Standings],
    read_page: Callable[[Path], Any],
    tmp_path: Path,
) -> None:
    """Planted: the least robust stands first."""
    rows = [*sample_standings.rows[2::-1], sample_standings.rows[3]]
    turned = standings_maker(sample_standings.track, rows)
    assert "order: the most robust does not stand first" in page_problems(rendered(turned, tmp_path, read_page), turned)


def test_files_beside_the_page_are_what_the_command_prints(sample_standings: Standings) -> None:
    """The board in every format, byte for byte, and the track as it was written."""
    board = TrackBoard(
        standings=sample_standings, stem="mini-gallery-4", text="name: x\n", is_own=False, empty="", models={}
    )
    files = track_files(board)
    assert files["tracks/mini-gallery-4.yml"] == b"name: x\n"
    for ending, form in (("csv", "csv"), ("json", "json"), ("md", "md"), ("tex", "latex")):
        assert files[f"tracks/mini-gallery-4.{ending}"].decode() == render(sample_standings, form)
