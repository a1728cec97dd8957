"""Standings for machines: one record a model, full precision, stable names (docs/leaderboards.md)."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from ..leaderboards.standing import AttackScore, Estimate, Standing, Standings
from ..leaderboards.track import Track
from .escaping import inert
from .standings import INTERVALS, missing_text, of_track

#: Raised by hand when a name or a meaning below changes.
FORMAT_VERSION = 1

Value = str | int | float | bool | None


def row_record(standing: Standing, standings: Standings) -> dict[str, Value]:
    """A model's columns, the same for every track; what is not known is None.

    Scores are fractions in [0, 1], radii are in [0, 1] pixel units (an L2 radius as it is).
    """
    track, complete = standings.track, standing.is_complete
    first, last = standing.places or (None, None)
    critical = standing.critical
    bound = None if complete or standing.worst is None else standing.worst.value
    return {
        "track": track.name,
        "track_version": track.version,
        "place_first": first,
        "place_last": last,
        "model": standing.label,
        "is_complete": complete,
        "missing": missing_text(standing),
        "metric": track.metric,
        **_estimate("mAP_worst", standing.worst if complete else None),
        "mAP_at_most": bound,
        "worst_attack": standing.worst_attack,
        **_estimate("rank1_worst", standing.worst_rank1 if complete else None),
        **_estimate("mAP_clean", standing.clean),
        **_estimate("rank1_clean", standing.clean_rank1),
        **_estimate("area", standing.area),
        **_estimate("critical_epsilon", critical.estimate if critical else None),
        "critical_epsilon_is_beyond": critical.is_beyond if critical else None,
        "chance_mAP": _finite(standings.chance),
        "chance_rank1": _finite(standings.chance_rank1),
        "flags": "; ".join(standing.flags),
        "provenance": standing.provenance,
        "is_adaptively_evaluated": standing.entry.is_adaptively_evaluated,
        "found_by": "; ".join(f"{score.finder}: {score.attack}" for score in standing.attacks if score.finder),
        "dataset_sha256": standings.dataset_sha256,
    }


def _estimate(name: str, estimate: Estimate | None) -> dict[str, Value]:
    numbers = (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)
    return {f"{name}{end}": _finite(value) for end, value in zip(("", "_low", "_high"), numbers, strict=True)}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _attack_columns(score: AttackScore) -> dict[str, Value]:
    return {f"status_{score.attack}": score.status, **_estimate(f"mAP_under_{score.attack}", score.mAP)}


def csv_text(standings: Standings) -> str:
    """A header and a line a model: `row_record`, then of each attack of the track its status and its mAP."""
    rows = []
    for standing in standings.rows:
        row = row_record(standing, standings)
        for score in of_track(standing):
            row |= _attack_columns(score)
        rows.append(row)
    header = list(rows[0]) if rows else _header(standings)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([inert(name) for name in header])
    writer.writerows([_cell(row[name]) for name in header] for row in rows)
    return buffer.getvalue()


def _header(standings: Standings) -> list[str]:
    """The columns of a board without rows."""
    numbers = ("", "_low", "_high")
    attacks = [[f"status_{name}", *(f"mAP_under_{name}{end}" for end in numbers)] for name in standings.attacks]
    return [*COLUMNS, *(column for columns in attacks for column in columns)]


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return inert(value) if isinstance(value, str) else repr(value)


#: The names of `row_record`, in their order.
COLUMNS: tuple[str, ...] = (
    *("track", "track_version", "place_first", "place_last", "model", "is_complete", "missing", "metric"),
    *("mAP_worst", "mAP_worst_low", "mAP_worst_high", "mAP_at_most", "worst_attack"),
    *("rank1_worst", "rank1_worst_low", "rank1_worst_high"),
    *("mAP_clean", "mAP_clean_low", "mAP_clean_high", "rank1_clean", "rank1_clean_low", "rank1_clean_high"),
    *("area", "area_low", "area_high"),
    *("critical_epsilon", "critical_epsilon_low", "critical_epsilon_high", "critical_epsilon_is_beyond"),
    *("chance_mAP", "chance_rank1", "flags", "provenance", "is_adaptively_evaluated", "found_by", "dataset_sha256"),
)


def json_text(standings: Standings) -> str:
    """One object: the track, the rows with all their attacks and curves, and what was left out."""
    value = {
        "format_version": FORMAT_VERSION,
        "track": track_record(standings.track),
        "dataset_sha256": standings.dataset_sha256,
        "intervals": INTERVALS,
        "chance_mAP": _finite(standings.chance),
        "chance_rank1": _finite(standings.chance_rank1),
        "rows": [
            {
                **row_record(standing, standings),
                "attacks": [_attack_record(score) for score in standing.attacks],
                "curve": [
                    {
                        "epsilon": point.epsilon,
                        "epsilon_label": point.epsilon_label,
                        "status": point.status,
                        **_estimate("mAP", point.mAP),
                    }
                    for point in standing.curve
                ],
                "card": dict(standing.entry.card),
            }
            for standing in standings.rows
        ],
        "left_out": [{"model": left.label, "reason": left.reason} for left in standings.left_out],
    }
    return json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _attack_record(score: AttackScore) -> dict[str, Any]:
    return {
        "attack": score.attack,
        "is_of_track": score.is_of_track,
        "status": score.status,
        "reason": score.reason,
        "finder": score.finder,
        **_estimate("mAP", score.mAP),
        **_estimate("rank1", score.rank1),
        "flags": list(score.flags),
    }


def track_record(track: Track) -> dict[str, Any]:
    """Everything that a track's file says."""
    return {
        "name": track.name,
        "version": track.version,
        "title": track.title,
        "dataset": {
            "entry": {key: str(value) for key, value in track.data.entry.items() if key != "root"},
            "sha256": track.data.sha256,
            "queries": track.data.queries,
            "gallery": track.data.gallery,
            "identities": track.data.identities,
            "terms": track.data.terms,
            "source": track.data.source,
            "status": track.data.status,
        },
        "protocol": track.protocol,
        "side": track.side,
        "goal": track.goal,
        "norm": track.threat.norm,
        "epsilon": float(track.threat.epsilon),
        "epsilon_label": track.threat.label,
        "perturb_at": track.perturb_at,
        "references": track.references,
        "attacker_data": track.attacker_data,
        "precision": track.precision,
        "metric": track.metric,
        "metric_version": track.metric_version,
        "engine_version": track.engine_version,
        "seed": track.seed,
        "attacks": [
            {"name": attack.name, "version": attack.version, "parameters": json.loads(attack.parameters)}
            for attack in track.attacks
        ],
        "curve": {"attack": track.curve_attack.name, "epsilons": [threat.label for threat in track.curve]},
    }
