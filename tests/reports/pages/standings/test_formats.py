"""Boards for people: what the head, the table and the notes say, and how wide it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from robustreid.leaderboards.standing import CriticalEpsilon, Estimate, Standing, Standings
from robustreid.leaderboards.track import Track, load_track
from robustreid.reports.formats import board_table, render
from robustreid.reports.standings import critical_texts, interval_text, place_text


def test_the_table_says_places_intervals_and_what_is_missing(sample_standings: Standings) -> None:
    """Of two that share the first place, one behind, and one without a score under one attack."""
    table = board_table(sample_standings)
    rows = [dict(zip(table.titles, row, strict=True)) for row in table.rows]
    assert [row["place"] for row in rows] == ["1-2", "1-2", "3", "-"]
    assert [row["score"] for row in rows] == [
        "41.00 [38.0, 44.0]",
        "38.00 [35.0, 41.0]",
        "5.12 [2.1, 8.2]",
        "at most 30.00",
    ]
    assert [row["apgd"] for row in rows][-1] == "failed"
    assert rows[-1]["Rank-1"] == "-"
    assert rows[0]["critical epsilon"] == "> 8/255 [7.1, > 8]"
    assert rows[1]["critical epsilon"] == "3.42/255 [2.9, 4.1]"
    assert rows[1]["provenance"] == "self-reported, not adaptively evaluated"
    assert rows[1]["flags"] == "zero-gradient"


@pytest.mark.parametrize("form", ["table", "md", "latex"])
def test_head_and_notes(sample_standings: Standings, form: str) -> None:
    """Track and version, definition, data and terms, what intervals mean; who found what, what is left out and why."""
    text = re.sub(r"[\\{}]", "", render(sample_standings, form))
    for said in (
        "mini-gallery-4, version 1",
        "mAP (step)",
        "470 queries, 1,494 gallery images, 24 people",
        "research use",
        "the gallery images at their native size by at most 4/255 (L-inf)",
        "95% interval over query identities",
        "mAP 4.00, Rank-1 1.00",
        "broken is incomplete: apgd failed (out of memory); its score is at most 30.00, and it has no place.",
        "goat: Ada Lovelace found images, which leaves 36.00 [33.0, 39.0], lower than every attack of the track.",
        "Left out: r50: engine version 1 (the track: 2).",
    ):
        assert said in text


def test_a_withdrawn_set_says_so(make_track: Callable[..., Path], standings_maker: Callable[..., Standings]) -> None:
    """In the head, beside its terms."""
    track = load_track(make_track(status="withdrawn"))
    assert "research use; withdrawn: its owners no longer give it out" in render(standings_maker(track, []), "table")


def test_a_narrow_terminal_gets_parts(hostile_standings: Standings, sample_standings: Standings) -> None:
    """Each with places and models, none wider than the terminal; a pipe gets one line a model."""
    for columns in (80, 100, 140):
        text = render(sample_standings, "table", columns=columns)
        assert max(map(len, text.splitlines())) <= columns
        assert text.count("metric-at  ") >= 2
    piped = render(sample_standings, "table")
    assert len([line for line in piped.splitlines() if line.startswith("1-2")]) == 2
    assert len(render(hostile_standings, "table", columns=100).splitlines()) > 20


def test_an_empty_board_says_why(small_track: Track, standings_maker: Callable[..., Standings]) -> None:
    """The head stands, and one sentence in place of a table."""
    for form in ("table", "md", "latex"):
        text = render(standings_maker(small_track, []), form, empty="No row belongs to it: nothing ran.")
        assert "No row belongs to it: nothing ran." in text
        assert "research use" in text


def test_columns_without_content_are_left_out_of_latex(
    small_track: Track, standings_maker: Callable[..., Standings], standing_maker: Callable[..., Standing]
) -> None:
    """A paper has no room for a column of hyphens."""
    text = render(standings_maker(small_track, [standing_maker(small_track, "a", 0.4, (1, 1))]), "latex")
    assert "provenance" not in text
    assert "flags" not in text
    assert "\\shortstack[r]{40.00\\\\{\\tiny {[}37.0, 43.0{]}}}" in text


def test_intervals_are_rounded_outward(small_track: Track) -> None:
    """What is printed holds the number before it, also where both ends are it."""
    assert interval_text(Estimate(value=0.12345, low=0.12345, high=0.12345)) == "12.35 [12.3, 12.4]"
    assert interval_text(Estimate(value=0.5, low=0.5, high=0.5)) == "50.00 [50.0, 50.0]"
    assert interval_text(None) == ""
    radius = Estimate(value=2.51 / 255, low=2.01 / 255, high=8 / 255)
    open_end = CriticalEpsilon(estimate=radius, is_beyond=False)
    assert critical_texts(open_end, small_track) == ("2.51/255", "[2.0, > 8]")
    assert critical_texts(None, small_track) == ("", "")


def test_a_place_is_a_range(standing_maker: Callable[..., Standing], small_track: Track) -> None:
    """One number where both ends are one."""
    places = [(1, 1), (2, 4), None]
    assert [place_text(standing_maker(small_track, "a", 0.4, place)) for place in places] == ["1", "2-4", "-"]
