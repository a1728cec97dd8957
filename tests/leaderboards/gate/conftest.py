"""Two sides of a gate: run directories of 24 identities, with changes that are given to the point."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from robustreid.benchmark.store.columns import QUERY_METRICS, ROW_SCHEMA
from robustreid.benchmark.store.directory import RunDirectory

MakeRun = Callable[..., Path]

N_IDENTITIES, N_EACH = 24, 3


#: What a cell of `make_side` may say; what else it says is for `make_run`. Scores are in points.
DEFAULTS: Mapping[str, Any] = {
    #: By how much its attacked score, and its clean one, lies below what all start from, on average.
    "lower": 0.0,
    "clean_lower": 0.0,
    #: By how much identities stray from that, to either side.
    "spread": 0.5,
    #: What its row says in place of what rows say.
    "row": {},
    #: Done to its queries before they are written; None writes none.
    "spoil": list,
}


def spread_of(identity: int, attack: str) -> float:
    """Where an identity strays to: -1.5 to 1.5, of mean 0 over all identities."""
    place = (identity + len(attack)) % N_IDENTITIES
    return 3 * place / (N_IDENTITIES - 1) - 1.5


def queries_of(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Its queries, with every score that the store keeps."""
    found = []
    for identity in range(N_IDENTITIES):
        for place in range(N_EACH):
            stray = made["spread"] * spread_of(identity, made.get("attack", "ama-ifgsm"))
            start = 0.4 + 0.2 * ((7 * identity + 3 * place) % 11) / 10
            scores = {
                "clean": start + 0.2 - made["clean_lower"] / 100 - (stray / 100 if made["clean_lower"] else 0),
                "attacked": start - made["lower"] / 100 - stray / 100,
            }
            query = {"query_id": f"query/{identity:04d}_{place}.png", "identity": identity, "camera": 1 + place}
            for state, score in scores.items():
                query |= {f"{metric}_{state}": score for metric in QUERY_METRICS}
                query[f"first_rank_{state}"] = 1.0 if score > 0.5 else 3.0
            found.append(query)
    return found


def _mean(queries: Sequence[dict[str, Any]], column: str) -> float:
    values = np.array([query[column] for query in queries], dtype=np.float64)
    return float((values <= 1).mean() if column.startswith("first_rank") else values.mean())


@pytest.fixture(scope="session")
def make_side(make_run: MakeRun) -> Callable[[Path, Sequence[Mapping[str, Any]]], Path]:
    """Makes a run directory: its path, then what is in it."""

    def make(path: Path, cells: Sequence[Mapping[str, Any]]) -> Path:
        written, changes = [], []
        for given in cells:
            made = {**DEFAULTS, **given}
            queries = queries_of(made)
            about = {key: value for key, value in made.items() if key not in DEFAULTS}
            about["engine_version"] = 2
            change = dict(made["row"])
            if about.get("status", "done") == "done":
                columns = {"mAP": "ap", "mAP_trapezoid": "ap_trapezoid", "mINP": "inp", "rank1": "first_rank"}
                states = ("clean", "attacked")
                scores = {f"{m}_{s}": _mean(queries, f"{c}_{s}") for m, c in columns.items() for s in states}
                if about.get("goal") == "targeted":
                    change = {"target_mAP": scores["mAP_attacked"], "target_rank1": scores["rank1_attacked"], **change}
                else:
                    about = {**scores, **about}
                spoilt = made["spoil"](queries)
                about |= {} if spoilt is None else {"queries": spoilt}
            written.append(about)
            changes.append(change)
        run = make_run(path, written)
        listed = json.loads((run / "plan.json").read_text())["cells"]
        for cell, change in zip(listed, changes, strict=True):
            file = run / "cells" / f"{cell['cell_id']}.parquet"
            if change and file.exists():
                row = pq.read_table(file).to_pylist()[0]
                RunDirectory(run).write_table(file, pa.Table.from_pylist([row | change], schema=ROW_SCHEMA))
        return run

    return make
