"""Which rows belong to a track, and what keeps a row out that nearly does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..attacks.threat import Threat
from .measurements import Measurement
from .track import Track, TrackAttack

#: What people call the columns of a track.
_WORDS = {
    "dataset_sha256": "data digest",
    "n_query": "number of queries",
    "n_gallery": "number of gallery images",
    "n_identity": "number of identities",
    "perturb_at": "place of the perturbation",
    "metric_version": "metric version",
    "engine_version": "engine version",
}
#: Columns of a row that came to a score; a failed one has none.
_COUNTED = ("n_query", "n_gallery", "n_identity")


def is_attack(row: Mapping[str, Any], attack: TrackAttack, track: Track) -> bool:
    """Whether a row is about an attack of a track: its version, its parameters, its references, the model itself."""
    return (
        row.get("references") == track.references
        and row.get("attack") == attack.name
        and row.get("attack_version") == attack.version
        and row.get("attack_params") == attack.parameters
        and not row.get("surrogate")
    )


def is_at(row: Mapping[str, Any], threat: Threat) -> bool:
    """Whether a row is about a radius."""
    return bool(row.get("norm") == threat.norm and row.get("epsilon") == float(threat.epsilon))


def differences(row: Mapping[str, Any], track: Track, *, same_data: str = "") -> tuple[str, ...]:
    """What a row has otherwise than the track says, in words: `engine version 1 (the track: 2)`.

    Args:
        row: of a cell that has one.
        track: the track.
        same_data: the digest of the data that the rows of a table share, where the track names none.
    """
    wanted = dict(track.columns)
    if same_data:
        wanted.setdefault("dataset_sha256", same_data)
    if row.get("status") != "done":
        wanted = {name: value for name, value in wanted.items() if name not in _COUNTED}
    return tuple(
        f"{_WORDS.get(name, name)} {_short(row.get(name))} (the track: {_short(value)})"
        for name, value in wanted.items()
        if row.get(name) != value
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:8]


def belongs(measurement: Measurement, track: Track, *, same_data: str = "") -> bool:
    """Whether a cell has a row and all that the track says of it but its attack and radius."""
    return measurement.status != "missing" and not differences(measurement.row, track, same_data=same_data)


def planned_for(measurement: Measurement, attack: TrackAttack, threat: Threat, track: Track) -> bool:
    """Whether a cell without a row would be one of the track's, as far as its plan says."""
    row = measurement.row
    same = ("side", "goal", "norm", "seed")
    return (
        measurement.status == "missing"
        and row.get("attack") == attack.name
        and is_at(row, threat)
        and all(row.get(column) == track.columns[column] for column in same)
    )


def find(
    measurements: Iterable[Measurement], attack: TrackAttack, threat: Threat, track: Track, *, same_data: str
) -> Measurement | None:
    """The cell of an attack at a radius: a score before a failure, and that before one that is only planned."""
    rank = {"done": 0, "failed": 1, "skipped": 2}
    candidates = [m for m in measurements if is_attack(m.row, attack, track) and is_at(m.row, threat)]
    mine = [m for m in candidates if belongs(m, track, same_data=same_data)]
    if mine:
        return min(mine, key=lambda m: rank[m.status])
    return next((m for m in measurements if planned_for(m, attack, threat, track)), None)


def nearly(measurements: Sequence[Measurement], track: Track, *, same_data: str) -> tuple[str, ...]:
    """What keeps the rows of a model out, where some are about the track's attacks and radius; empty where none is."""
    found: dict[str, None] = {}
    for measurement in measurements:
        row = measurement.row
        about = measurement.status != "missing" and is_at(row, track.threat) and row.get("side") == track.side
        if about and any(row.get("attack") == attack.name for attack in track.attacks):
            different = differences(row, track, same_data=same_data)
            if not different and not any(is_attack(row, attack, track) for attack in track.attacks):
                different = (f"{row.get('attack')} in another version or with other parameters",)
            found |= dict.fromkeys(different)
    return tuple(found)
