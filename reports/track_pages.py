"""What the page of a track shows beside its board: figures, attacks that were found, files to take along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..benchmark.datasets.about import page_notice
from ..leaderboards.standing import AttackScore, Standing
from ..leaderboards.track import Track
from .drawing import Drawing, draw_chart
from .formats import FORMATS
from .places import draw_places
from .standings import other_title
from .tracks import TrackBoard, track_chart

#: Endings of the files that lie beside a page, and what they are called; the format of each.
FILES = (("csv", "CSV", "csv"), ("json", "JSON", "json"), ("md", "Markdown", "md"), ("tex", "LaTeX", "latex"))

#: Lines of the head that begin with a word, not with a name; and how the page calls some.
_SENTENCES = frozenset({"terms", "adversary", "area", "critical", "places"})
_TITLES = {"data": "data set", "area": "area under the curve", "critical": "critical epsilon", "intervals": "brackets"}


def track_files(board: TrackBoard) -> dict[str, bytes]:
    """By path in the site: the track as it was written, and the board in every format, as `leaderboard` prints it."""
    made = {
        f"tracks/{board.stem}.{ending}": FORMATS[form](board.standings, board.empty).encode()
        for ending, _, form in FILES
    }
    return {**made, f"tracks/{board.stem}.yml": board.text.encode()}


def track_values(board: TrackBoard) -> dict[str, Any]:
    """What the template asks for, and under `drawings` name, figure and caption."""
    rows = board.standings.rows
    return {
        "drawings": _drawings(board),
        "files": [(ending, title) for ending, title, _ in FILES],
        "found": [(row, score) for row in rows for score in row.attacks if score.finder and score.mAP is not None],
        "known": _known(rows, board.track),
        "has_others": any(row.provenance != "own run" for row in rows),
        "all_flags": sorted({flag for row in rows for flag in row.flags}),
        "titles": _TITLES,
        "sentences": _SENTENCES,
        "notice": page_notice(str(board.track.data.entry.get("format", board.track.data.name))),
        "shell_name": f"{board.stem}.yml" if board.is_own else board.track.name,
    }


def _known(rows: Sequence[Standing], track: Track) -> list[tuple[str, list[tuple[Standing, AttackScore | None]]]]:
    """What else is known at the radius, without a finder: an attack, and its score of each row that has one."""
    scores = {
        (row.label, other_title(score, track)): score
        for row in rows
        for score in row.attacks
        if not score.is_of_track and not score.finder and score.mAP is not None
    }
    attacks = dict.fromkeys(attack for _, attack in scores)
    return [(attack, [(row, scores.get((row.label, attack))) for row in rows]) for attack in attacks]


def _drawings(board: TrackBoard) -> list[tuple[str, Drawing, str]]:
    found = []
    places = draw_places(board.standings, "places")
    if places is not None:
        found.append(("places", places, "Score and clean mAP with 95% intervals, by place"))
    chart = track_chart(board.standings)
    if chart is not None:
        found.append(("curve", draw_chart(chart, "curve"), "mAP against epsilon with 95% bands"))
    return found
