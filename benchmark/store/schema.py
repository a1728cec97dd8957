"""The tables on disk: one explicit schema for every row whatever its status, and one for every query."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pyarrow as pa

from ...attacks.references import data_needed
from ..evaluation import METRIC_VERSION, METRICS, QueryScores, RankingScores
from ..records import ENGINE_VERSION, Cell, Row
from .reading import SCHEMA_VERSION

_TEXT, _NUMBER, _WHOLE, _BIT = pa.string(), pa.float64(), pa.int64(), pa.bool_()


def _metric_fields() -> list[tuple[str, pa.DataType]]:
    fields = []
    for metric in METRICS:
        fields += [(f"{metric}_{state}", _NUMBER) for state in ("clean", "attacked", "drop")]
        for state in ("clean", "attacked"):
            fields += [(f"{metric}_{state}_{bound}", _NUMBER) for bound in ("optimistic", "pessimistic", "std")]
    return fields


_ROW_FIELDS: list[tuple[str, pa.DataType]] = [
    *((name, _TEXT) for name in ("cell_id", "status", "reason")),
    *((name, _TEXT) for name in ("model", "model_sha256", "architecture", "defence")),
    *((name, _TEXT) for name in ("dataset", "dataset_sha256", "protocol")),
    ("trials", _WHOLE),
    ("attack", _TEXT),
    ("attack_version", _WHOLE),
    ("attack_params", _TEXT),
    ("norm", _TEXT),
    ("epsilon", _NUMBER),
    *((name, _TEXT) for name in ("epsilon_label", "side", "goal", "knowledge", "surrogate")),
    ("seed", _WHOLE),
    *((name, _TEXT) for name in ("perturb_at", "references", "attacker_data", "precision", "metric")),
    ("metric_version", _WHOLE),
    ("engine_version", _WHOLE),
    *_metric_fields(),
    *((name, _NUMBER) for name in ("mAP_attacked_float", "rank1_attacked_float")),
    *((name, _NUMBER) for name in ("target_mAP_clean", "target_mAP", "target_rank1_clean", "target_rank1")),
    *((name, _NUMBER) for name in ("chance_mAP", "chance_rank1")),
    *((name, _WHOLE) for name in ("n_query", "n_query_valid", "n_gallery", "n_identity", "n_attacked")),
    *((name, _WHOLE) for name in ("forwards", "backwards", "forwards_spent", "backwards_spent")),
    *((name, _NUMBER) for name in ("seconds", "images_per_second")),
    *((name, _WHOLE) for name in ("peak_memory_bytes", "batch_size")),
    *((name, _NUMBER) for name in ("linf_max", "l2_mean")),
    ("flags", pa.list_(_TEXT)),
    *((name, _TEXT) for name in ("tool_version", "git_commit")),
    ("git_dirty", _BIT),
    *((name, _TEXT) for name in ("python", "torch", "device")),
    ("threads", _WHOLE),
    ("deterministic", _BIT),
    ("created_at", _TEXT),
    ("schema_version", _WHOLE),
]
ROW_SCHEMA = pa.schema(_ROW_FIELDS)

#: Columns that tell how and when a row was made; all others are the same bit for bit whenever a cell is run again.
CIRCUMSTANCES = (
    *("forwards_spent", "backwards_spent", "seconds", "images_per_second", "peak_memory_bytes", "batch_size"),
    *("tool_version", "git_commit", "git_dirty", "python", "torch", "device", "threads", "deterministic", "created_at"),
)

_QUERY_METRICS = ("ap", "ap_trapezoid", "inp", "first_rank")
QUERY_SCHEMA = pa.schema(
    [
        ("cell_id", _TEXT),
        ("trial", _WHOLE),
        ("query_id", _TEXT),
        ("identity", _WHOLE),
        ("camera", _WHOLE),
        ("target_identity", _WHOLE),
        *((f"{metric}_{state}", _NUMBER) for metric in _QUERY_METRICS for state in ("clean", "attacked")),
    ]
)


def row_table(row: Row) -> pa.Table:
    """A row as a table of one, in `ROW_SCHEMA`; what is not known is null."""
    record: dict[str, Any] = {
        **_identity(row.cell),
        "status": row.status,
        "reason": row.reason,
        **vars(row.environment),
        "created_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "schema_version": SCHEMA_VERSION,
        "flags": [],
    }
    outcome = row.outcome
    if outcome:
        record |= {
            "n_attacked": outcome.n_attacked,
            "seconds": outcome.seconds,
            "images_per_second": outcome.n_attacked / outcome.seconds if outcome.seconds else None,
            "peak_memory_bytes": outcome.peak_memory_bytes,
            "batch_size": outcome.batch_size,
            "linf_max": outcome.linf_max,
            "l2_mean": outcome.l2_mean,
            "flags": sorted(outcome.flags),
            **vars(outcome.passes),
            "n_query": outcome.clean.n_query,
            "n_query_valid": outcome.clean.n_query_valid,
            "n_gallery": outcome.clean.n_gallery,
            "n_identity": outcome.clean.n_identity,
            "chance_mAP": outcome.clean.chance_mAP,
            "chance_rank1": outcome.clean.chance_rank1,
            **(_scores(row) if row.cell.goal == "untargeted" else _target_scores(row)),
        }
    return pa.Table.from_pylist([record], schema=ROW_SCHEMA)


def _identity(cell: Cell) -> dict[str, Any]:
    spec = cell.attack
    return {
        "cell_id": cell.cell_id,
        "model": cell.model.label,
        "model_sha256": cell.model.sha256,
        "architecture": cell.model.architecture,
        "defence": cell.model.defence_title,
        "dataset": cell.dataset.label,
        "dataset_sha256": cell.dataset.sha256,
        "protocol": f"{cell.dataset.protocol.name}-v{cell.dataset.protocol.version}",
        "trials": 1,
        "attack": spec.name,
        "attack_version": spec.version,
        "attack_params": json.dumps(cell.attack_parameters, sort_keys=True),
        "norm": cell.threat.norm,
        "epsilon": float(cell.threat.epsilon),
        "epsilon_label": cell.threat.label,
        "side": cell.side,
        "goal": cell.goal,
        "knowledge": cell.knowledge,
        "surrogate": cell.surrogate_label,
        "seed": cell.seed,
        "perturb_at": cell.perturb_at,
        "references": spec.references,
        "attacker_data": data_needed(
            spec.references,
            cell.side,
            uses_references=spec.uses_references,
            uses_peers=spec.uses_references and cell.side in spec.objective.peers_on,
        ),
        "precision": cell.precision,
        "metric": cell.model.metric,
        "metric_version": METRIC_VERSION,
        "engine_version": ENGINE_VERSION,
    }


def _scores(row: Row) -> dict[str, Any]:
    outcome = row.outcome
    if outcome is None:
        return {}
    record: dict[str, Any] = {}
    for metric in METRICS:
        clean, attacked = getattr(outcome.clean, metric), getattr(outcome.attacked, metric)
        record[f"{metric}_drop"] = clean.value - attacked.value
        for state, bounded in (("clean", clean), ("attacked", attacked)):
            record[f"{metric}_{state}"] = bounded.value
            record[f"{metric}_{state}_optimistic"] = bounded.optimistic
            record[f"{metric}_{state}_pessimistic"] = bounded.pessimistic
    record["mAP_attacked_float"] = outcome.attacked_float.mAP.value
    record["rank1_attacked_float"] = outcome.attacked_float.rank1.value
    return record


def _target_scores(row: Row) -> dict[str, Any]:
    def pair(scores: RankingScores, suffix: str) -> dict[str, Any]:
        return {f"target_mAP{suffix}": scores.mAP.value, f"target_rank1{suffix}": scores.rank1.value}

    return {**pair(row.outcome.clean, "_clean"), **pair(row.outcome.attacked, "")} if row.outcome else {}


def query_table(
    cell: Cell,
    *,
    query_ids: tuple[str, ...],
    identities: list[int],
    cameras: list[int],
    target_identities: list[int] | None,
    clean: QueryScores,
    attacked: QueryScores,
) -> pa.Table:
    """One row a valid query, in query order; lists and ids are over all queries."""
    if clean.query_index.tolist() != attacked.query_index.tolist():
        raise ValueError("expected the same valid queries before and after")
    index = clean.query_index.tolist()
    columns: dict[str, Any] = {
        "cell_id": [cell.cell_id] * len(index),
        "trial": [0] * len(index),
        "query_id": [query_ids[i] for i in index],
        "identity": [identities[i] for i in index],
        "camera": [cameras[i] for i in index],
        "target_identity": [None if target_identities is None else target_identities[i] for i in index],
    }
    for metric in _QUERY_METRICS:
        columns[f"{metric}_clean"] = getattr(clean, metric)
        columns[f"{metric}_attacked"] = getattr(attacked, metric)
    return pa.table(columns, schema=QUERY_SCHEMA)
