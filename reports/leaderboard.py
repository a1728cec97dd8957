"""A track's board from run and leaderboard directories; which tracks their rows belong to. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from ..leaderboards.belonging import differences, is_at
from ..leaderboards.entries import Entry
from ..leaderboards.measurements import Measurement
from ..leaderboards.standing import Standings
from ..leaderboards.track import Track


def why_empty(standings: Standings, entries: Sequence[Entry]) -> str:
    """One sentence for a board on which nobody stands: what was expected, and what the nearest row has otherwise."""
    track = standings.track
    head = f"No row belongs to {track.key}"
    rows = [m for entry in entries for m in entry.measurements if m.status != "missing"]
    if not rows:
        return f"{head}: there is no row at all yet; run its cells first (`robustreid status DIR` says how far)."
    nearest = min(rows, key=lambda m: (_distance(m, track), not is_at(m.row, track.threat), m.cell_id))
    found = [*differences(nearest.row, track), *_of_attack(nearest, track)]
    named = f"{nearest.row['attack']} at {nearest.row['epsilon_label']} against {nearest.model}"
    return f"{head}: the nearest of {len(rows):,} rows, {named}, has {'; '.join(found) or 'no score'}."


def _distance(measurement: Measurement, track: Track) -> int:
    return len(differences(measurement.row, track)) + len(_of_attack(measurement, track))


def _of_attack(measurement: Measurement, track: Track) -> list[str]:
    row, names = measurement.row, [attack.name for attack in track.attacks]
    found = []
    if row["attack"] not in names:
        found.append(f"attack {row['attack']} (the track: {', '.join(names)})")
    if not any(is_at(row, threat) for threat in (track.threat, *track.curve)):
        found.append(f"epsilon {row['epsilon_label']} (the track: {track.threat.label})")
    return found
