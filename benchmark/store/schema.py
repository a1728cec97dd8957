"""Rows and queries as tables on disk, in the schemas of `columns`."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ...attacks.references import data_needed
from ..evaluation import METRIC_VERSION, METRICS, QueryScores, RankingScores
from ..records import Cell, Row
from ..versions import ENGINE_VERSION
from .columns import CIRCUMSTANCES, QUERY_METRICS, QUERY_SCHEMA, ROW_SCHEMA
from .reading import SCHEMA_VERSION

__all__ = ["CIRCUMSTANCES", "QUERY_SCHEMA", "ROW_SCHEMA", "query_table", "row_table"]


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
        "trials": cell.dataset.protocol.n_trials,
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
            record[f"{metric}_{state}_std"] = bounded.std
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
    clean: Sequence[QueryScores],
    attacked: Sequence[QueryScores],
    first_trial: int = 0,
) -> pa.Table:
    """One row a valid query of each trial, in query order; lists and ids are over all queries."""
    tables = [
        _trial_table(cell, first_trial + number, (query_ids, identities, cameras, target_identities), before, after)
        for number, (before, after) in enumerate(zip(clean, attacked, strict=True))
    ]
    return pa.concat_tables(tables)


def _trial_table(
    cell: Cell,
    trial: int,
    people: tuple[tuple[str, ...], list[int], list[int], list[int] | None],
    clean: QueryScores,
    attacked: QueryScores,
) -> pa.Table:
    query_ids, identities, cameras, target_identities = people
    if clean.query_index.tolist() != attacked.query_index.tolist():
        raise ValueError("expected the same valid queries before and after")
    index = clean.query_index.tolist()
    columns: dict[str, Any] = {
        "cell_id": [cell.cell_id] * len(index),
        "trial": [trial] * len(index),
        "query_id": [query_ids[i] for i in index],
        "identity": [identities[i] for i in index],
        "camera": [cameras[i] for i in index],
        "target_identity": [None if target_identities is None else target_identities[i] for i in index],
    }
    for metric in QUERY_METRICS:
        columns[f"{metric}_clean"] = getattr(clean, metric)
        columns[f"{metric}_attacked"] = getattr(attacked, metric)
    return pa.table(columns, schema=QUERY_SCHEMA)
