"""Boards for machines: stable names, full precision, and nothing where nothing is known."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from robustreid.leaderboards.standing import Standings
from robustreid.leaderboards.track import Track
from robustreid.reports import records
from robustreid.reports.records import COLUMNS, csv_text, json_text, row_record


def rows_of(text: str) -> list[dict[str, str]]:
    """The lines of a CSV by column."""
    return list(csv.DictReader(io.StringIO(text)))


def number_problems(standings: Standings, text: str) -> list[str]:
    """Where a CSV has other numbers than the standings, or one where there is none."""
    found = []
    for standing, row in zip(standings.rows, rows_of(text), strict=True):
        wanted = {
            "mAP_worst": standing.worst.value if standing.is_complete and standing.worst else None,
            "mAP_clean_low": standing.clean.low if standing.clean else None,
            **{f"mAP_under_{s.attack}": s.mAP.value if s.mAP else None for s in standing.attacks if s.is_of_track},
        }
        for name, value in wanted.items():
            if row[name] != ("" if value is None else repr(value)):
                found.append(f"{standing.label}: {name} is {row[name]!r} instead of {value!r}")
    return found


def test_csv_has_every_number_in_full(sample_standings: Standings) -> None:
    """To the last bit; what is not known is empty, and a bound from above is no score."""
    text = csv_text(sample_standings)
    assert number_problems(sample_standings, text) == []
    rows = rows_of(text)
    assert [row["model"] for row in rows] == ["goat", "metric-at", "plain", "broken"]
    assert [(row["place_first"], row["place_last"]) for row in rows] == [("1", "2"), ("1", "2"), ("3", "3"), ("", "")]
    broken = rows[-1]
    assert (broken["is_complete"], broken["mAP_worst"], broken["mAP_at_most"]) == ("false", "", "0.3")
    assert (broken["status_apgd"], broken["mAP_under_apgd"]) == ("failed", "")
    assert broken["missing"] == "incomplete: apgd failed (out of memory)"
    assert [row["is_adaptively_evaluated"] for row in rows] == ["", "false", "", ""]
    assert rows[0]["found_by"] == "Ada Lovelace: images"


def test_a_missing_score_written_as_zero_is_found(sample_standings: Standings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: what is not known counts as zero."""
    monkeypatch.setattr(records, "_finite", lambda value: value or 0.0)
    found = number_problems(sample_standings, csv_text(sample_standings).replace(",,", ",0.0,"))
    assert any("mAP_under_apgd" in problem for problem in found)


def test_names_are_stable(sample_standings: Standings, small_track: Track, standings_maker: Callable[..., Any]) -> None:
    """The same for every track, then four columns an attack; an empty board has the same header."""
    assert tuple(row_record(sample_standings.rows[0], sample_standings)) == COLUMNS
    header = csv_text(sample_standings).splitlines()[0]
    assert csv_text(standings_maker(small_track, [])) == f"{header}\n"
    assert header.endswith("status_apgd,mAP_under_apgd,mAP_under_apgd_low,mAP_under_apgd_high")


def test_json_is_one_object(sample_standings: Standings, hostile_standings: Standings) -> None:
    """The track, rows with attacks and curves, and what was left out; strict JSON that reads back as it was."""
    found = json.loads(json_text(sample_standings), parse_constant=pytest.fail)
    assert found["track"]["attacks"][0] == {"name": "ama-ifgsm", "version": 1, "parameters": {}}
    assert found["track"]["dataset"]["status"] == "available"
    assert [row["model"] for row in found["rows"]] == ["goat", "metric-at", "plain", "broken"]
    assert found["rows"][2]["mAP_worst"] == 0.05123456789
    assert found["rows"][0]["attacks"][-1]["finder"] == "Ada Lovelace"
    assert [point["epsilon_label"] for point in found["rows"][0]["curve"]] == ["0", "1/255", "2/255", "4/255", "8/255"]
    assert found["left_out"] == [{"model": "r50", "reason": "engine version 1 (the track: 2)"}]
    again = json.loads(json_text(hostile_standings))
    assert [row["model"] for row in again["rows"]] == [row.label for row in hostile_standings.rows]
