"""Shared fixtures: where the real data lies, run directories with made-up numbers, and small doubles."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from robustreid.benchmark.store.directory import RunDirectory
from robustreid.benchmark.store.schema import QUERY_SCHEMA, ROW_SCHEMA

ROOT = Path(__file__).resolve().parent.parent
#: Makes a run directory: its path, then one dict a cell; what a cell leaves out is filled in.
MakeRun = Callable[..., Path]

FLOORS = ("models", "attacks", "benchmark", "leaderboards", "reports")


class _RootIsNoTestPackage:
    """Keeps pytest from importing the root `__init__.py` a second time, under the name of the checkout's folder."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """A plain folder where pytest would see a package."""
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config: pytest.Config) -> None:
    """Register the above as a plugin: a conftest's own hooks are not asked about folders above it."""
    config.pluginmanager.register(_RootIsNoTestPackage())


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images and weights; a test that needs it skips where it is absent."""
    folder = Path(os.environ.get("ROBUSTREID_TEST_DATA") or ROOT.parent / "shared" / "data").resolve()
    if not folder.is_dir():
        pytest.skip(f"real test data not found at {folder}; set ROBUSTREID_TEST_DATA")
    return folder


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    """A small checkout that obeys every rule, for a test to spoil; its package is importable in its parent folder."""
    root = tmp_path / "robustreid"
    root.mkdir()
    for floor in FLOORS:
        (root / floor).mkdir()
        (root / floor / "__init__.py").write_text(f'"""Twin of {floor}."""\n')
    late = "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from .benchmark.api import run\n"
    (root / "__init__.py").write_text(f'"""Twin of robustreid."""\n{late}')
    (root / "benchmark" / "api.py").write_text('"""What the root hands out late."""\n\nrun = print\n')
    packages = ["robustreid", *(f"robustreid.{floor}" for floor in FLOORS)]
    table = f"[tool.setuptools]\npackages = {packages!r}\n[tool.setuptools.package-data]\nrobustreid = ['py.typed']\n"
    (root / "pyproject.toml").write_text(table)
    (root / "py.typed").touch()
    return root


METRICS = ("mAP", "mAP_trapezoid", "mINP", "rank1", "rank5", "rank10", "rank20")


def full_cell(**given: Any) -> dict[str, Any]:
    """A cell with everything that decides it."""
    k = given.pop("k", 4)
    cell: dict[str, Any] = {
        "model": "osnet",
        "dataset": "mini",
        "attack": "ama-ifgsm",
        "norm": "linf",
        "epsilon": k / 255,
        "epsilon_label": f"{k}/255",
        "side": "gallery",
        "goal": "untargeted",
        "seed": 0,
        "status": "done",
        "reason": "",
        **given,
    }
    label = f"{cell['model']} {cell['dataset']} {cell['attack']} {cell['norm']} {cell['epsilon_label']} {cell['side']}"
    label += "" if cell["goal"] == "untargeted" else f" {cell['goal']}"
    label += f" seed={cell['seed']}" if cell["seed"] else ""
    cell.setdefault("label", label)
    cell.setdefault("sha", hashlib.sha256(cell["model"].encode()).hexdigest())
    cell.setdefault("cell_id", hashlib.sha256(f"{cell['sha']} {label}".encode()).hexdigest()[:32])
    return cell


def unit(*parts: object) -> float:
    """A number in [0, 1) that follows from the parts alone."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16) / 16**12


def full_row(cell: dict[str, Any]) -> dict[str, Any]:
    """The stored row of a cell; scores that it does not give are made up, lower for larger epsilons."""
    columns = {name for name in ROW_SCHEMA.names if name in cell}
    row: dict[str, Any] = {
        **{name: cell[name] for name in columns},
        "model_sha256": cell["sha"],
        "architecture": "osnet-x0.25",
        "defence": "none",
        "dataset_sha256": hashlib.sha256(cell["dataset"].encode()).hexdigest(),
        "protocol": "market-v1",
        "trials": 1,
        "attack_version": 1,
        "attack_params": "{}",
        "knowledge": "white-box",
        "perturb_at": "native",
        "references": "other-side",
        "precision": "exact",
        "metric": "cosine",
        "metric_version": 1,
        "engine_version": 1,
        "tool_version": "0.1.0",
        "git_commit": "f2c683c",
        "git_dirty": False,
        "python": "3.11.7",
        "torch": "2.13.0",
        "device": "cpu",
        "threads": 2,
        "deterministic": True,
        "created_at": "2026-11-22T12:00:00+00:00",
        "schema_version": 1,
        "flags": cell.get("flags", []),
    } | {name: cell[name] for name in columns}
    if cell["status"] == "done":
        row |= {"chance_mAP": 0.0128, "chance_rank1": 0.0082, "n_query": 470, "n_query_valid": 470, "n_gallery": 1494}
        row |= {name: cell[name] for name in columns}
        strength = 0.02 if cell["attack"] == "noise" else 0.35 + 0.4 * unit(cell["attack"], cell["side"])
        kept = (0.3 + 0.7 * unit(cell["model"], "robust")) ** (strength * cell["epsilon"] * 255)
        clean = 0.5 + 0.45 * unit(cell["model"], cell["dataset"])
        if cell["goal"] == "targeted":
            row |= {"target_mAP_clean": 0.02, "target_mAP": 1 - kept, "target_rank1_clean": 0.01, "target_rank1": 0.5}
        else:
            for place, metric in enumerate(METRICS):
                before = min(1.0, clean * (0.9, 0.88, 0.5, 1.0, 1.1, 1.2, 1.25)[place])
                row |= {f"{metric}_clean": before, f"{metric}_attacked": before * kept}
            row |= {name: cell[name] for name in columns if name.endswith(("_clean", "_attacked"))}
            row |= {f"{m}_drop": row[f"{m}_clean"] - (row[f"{m}_attacked"] or 0.0) for m in METRICS}
    return row


def write_run(path: Path, cells: Sequence[dict[str, Any]], *, name: str = "made-up", old_plan: bool = False) -> Path:
    """A run directory on disk, in the store's own schema."""
    run = RunDirectory(path)
    (path / "cells").mkdir(parents=True)
    (path / "queries").mkdir()
    full = [full_cell(**cell) for cell in cells]
    keys = ["cell_id", "model", "dataset", "label"]
    keys += [] if old_plan else ["attack", "norm", "epsilon", "epsilon_label", "side", "goal", "seed"]
    plan = {"schema_version": 1, "cells": [{key: cell[key] for key in keys} for cell in full]}
    (path / "plan.json").write_text(json.dumps(plan))
    (path / "grid.yml").write_text(f"name: {name}\nmodels: [osnet]\n")
    for cell in full:
        if cell["status"] == "missing":
            continue
        row = full_row(cell)
        run.write_table(run.cells / f"{cell['cell_id']}.parquet", pa.Table.from_pylist([row], schema=ROW_SCHEMA))
        if cell.get("queries"):
            queries = [{"cell_id": cell["cell_id"], "trial": 0, **query} for query in cell["queries"]]
            table = pa.Table.from_pylist(queries, schema=QUERY_SCHEMA)
            run.write_table(run.queries / f"{cell['cell_id']}.parquet", table)
    return path


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    """Makes run directories."""
    return write_run


def sample_queries(cell: str) -> list[dict[str, Any]]:
    """Eight queries of three cameras."""
    return [
        {
            "query_id": f"query/{place}.png",
            "identity": place,
            "camera": 1 + place % 3,
            "ap_clean": unit(place, "clean"),
            "ap_attacked": unit(place, "clean") * unit(place, cell),
        }
        for place in range(8)
    ]


@pytest.fixture(scope="session")
def sample_cells() -> list[dict[str, Any]]:
    """Four models, four attacks, two sides: one cell failed, one skipped, one missing; two targeted; one with seeds."""
    cells: list[dict[str, Any]] = []
    for side in ("gallery", "query"):
        for model in ("osnet", "r50-adv", "vit.small", "tiny"):
            for attack in ("ama-fgsm", "ama-ifgsm", "fna", "noise"):
                cells += [
                    {"model": model, "attack": attack, "side": side, "k": k, "queries": sample_queries(model)}
                    for k in (1, 2, 4, 8)
                ]
    marked: dict[tuple[Any, ...], dict[str, Any]] = {
        ("tiny", "gallery", "fna", 4): {"status": "failed", "reason": "a feature is not finite"},
        ("vit.small", "gallery", "ama-fgsm", 4): {"status": "skipped", "reason": "has no gradient"},
        ("r50-adv", "query", "ama-ifgsm", 8): {"status": "missing"},
        ("vit.small", "query", "ama-ifgsm", 2): {"flags": ["projected"]},
    }
    for cell in cells:
        cell |= marked.get((cell["model"], cell["side"], cell["attack"], cell["k"]), {})  # noqa: PLW2901
    cells += [{"model": "osnet", "attack": "pgd", "side": "query", "k": k, "seed": s} for k in (2, 4) for s in (0, 1)]
    cells += [{"model": m, "goal": "targeted", "side": "query", "k": 4} for m in ("osnet", "tiny")]
    return cells


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory, sample_cells: list[dict[str, Any]]) -> Path:
    """A run directory of `sample_cells`."""
    return write_run(tmp_path_factory.mktemp("sample") / "run", sample_cells)
