"""The columns on disk: one explicit schema for every row whatever its status, and one for every query. No torch."""

from __future__ import annotations

import pyarrow as pa

from ..evaluation import METRICS

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

#: Scores of a query, each before and after.
QUERY_METRICS = ("ap", "ap_trapezoid", "inp", "first_rank")
QUERY_SCHEMA = pa.schema(
    [
        ("cell_id", _TEXT),
        ("trial", _WHOLE),
        ("query_id", _TEXT),
        ("identity", _WHOLE),
        ("camera", _WHOLE),
        ("target_identity", _WHOLE),
        *((f"{metric}_{state}", _NUMBER) for metric in QUERY_METRICS for state in ("clean", "attacked")),
    ]
)
