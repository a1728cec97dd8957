"""What a submission's results are held against: the tracks that it names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ... import UserError
from ..belonging import belongs, find, nearly
from ..measurements import Measurement
from ..track import Track, load_track, track_names
from ..track_grid import grid_values
from .description import Description
from .findings import Finding, Level
from .paths import DESCRIPTION, RESULTS


def track_problems(description: Description, measurements: Sequence[Measurement]) -> Iterator[Finding]:
    """Whether the rows are those of the tracks that ship; a track of the board's own is for whoever has its file."""
    known = track_names()
    tracks = [load_track(name) for name in description.tracks if name in known]
    for name in description.tracks:
        if name not in known:
            yield _finding(
                "SUB501",
                "note",
                f"{DESCRIPTION}: track",
                f"{name!r} does not ship with this version",
                "Score and verify it with --track FILE, or choose one of `robustreid ls tracks`",
            )
    try:
        grid_values(tracks, {}) if tracks else {}
    except UserError as error:
        yield _finding(
            "SUB502",
            "error",
            f"{DESCRIPTION}: track",
            str(error).rstrip("."),
            "Name tracks that differ in radius alone",
        )
        return
    if measurements:
        for track in tracks:
            yield from _rows_of(track, measurements)


def _rows_of(track: Track, measurements: Sequence[Measurement]) -> Iterator[Finding]:
    data = track.data.sha256 or next((str(m.row["dataset_sha256"]) for m in measurements if m.status == "done"), "")
    if not any(belongs(m, track, same_data=data) for m in measurements):
        why = "; ".join(nearly(measurements, track, same_data=data)[:3]) or "none is about its attacks and radius"
        yield _finding(
            "SUB503",
            "error",
            RESULTS,
            f"no row belongs to {track.key}: {why}",
            "Run `robustreid submit score` with this version and the track's data",
        )
        return
    missing = []
    for attack in track.attacks:
        found = find(measurements, attack, track.threat, track, same_data=data)
        if found is None or found.status != "done":
            missing.append(attack.name if found is None else f"{attack.name} ({found.status})")
    if missing:
        yield _finding(
            "SUB504",
            "note",
            RESULTS,
            f"{track.key} is incomplete, without {', '.join(missing)}: it gets no place",
            "Score it again; what stands is kept",
        )


def _finding(code: str, level: Level, place: str, problem: str, remedy: str) -> Finding:
    return Finding(code=code, level=level, place=place, problem=problem, remedy=remedy)
