"""docs/leaderboards.md says what is so: its track reads, and every column is in it."""

from __future__ import annotations

import re
from pathlib import Path

from robustreid.leaderboards.track import load_track
from robustreid.reports.records import COLUMNS

GUIDE = Path(__file__).resolve().parents[4] / "docs" / "leaderboards.md"


def undocumented(text: str) -> list[str]:
    """Columns that a guide does not name; `_low` and `_high` go with their number."""
    named = set(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))
    words = {word.strip() for each in named for word in each.split(",")}
    return [name for name in COLUMNS if name not in words and re.sub("_(low|high)$", "", name) not in words]


def test_the_track_of_the_guide_is_one(tmp_path: Path) -> None:
    """Copied from the page into a file, as a reader does."""
    (found,) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "mine.yml").write_text(found, encoding="utf-8")
    track = load_track(tmp_path / "mine.yml")
    assert (track.key, track.data.status, track.seed, track.metric) == ("mine-query-4-v1", "available", 0, "mAP")


def test_every_column_is_in_the_guide() -> None:
    """By its name; without the line of the interval of an area, it is missed."""
    text = GUIDE.read_text(encoding="utf-8")
    assert undocumented(text) == []
    assert undocumented(text.replace("`mAP_at_most`", "")) == ["mAP_at_most"]
