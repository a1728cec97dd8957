"""Doubles for the suites of the runner: small sets of real people, small models, grids as files, runs in a line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper

#: On two shared cores idle threads must sleep; OpenMP reads it before the first `import torch`.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

#: The sides of a set in Market-1501's layout.
FOLDERS = ("query", "bounding_box_test")


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A run directory after a run, and how it ended."""

    path: Path
    summary: Any

    @property
    def rows(self) -> pd.DataFrame:
        """The rows of the current grid, in its order."""
        from robustreid.benchmark.store.directory import RunDirectory

        frame: pd.DataFrame = RunDirectory(self.path).load()
        return frame

    def row(self, **wanted: Any) -> dict[str, Any]:
        """The one row whose columns have the wanted values."""
        rows = self.rows
        for column, value in wanted.items():
            rows = rows[rows[column] == value]
        assert len(rows) == 1, f"expected one row with {wanted}, got {len(rows)}"
        return {str(column): value for column, value in rows.iloc[0].to_dict().items()}

    def queries(self, cell_id: str) -> pd.DataFrame:
        """One row a query of a cell."""
        frame: pd.DataFrame = pq.ParquetFile(self.path / "queries" / f"{cell_id}.parquet").read().to_pandas()
        return frame

    def written(self) -> dict[str, tuple[int, int]]:
        """By cell, what changes when its row is written: inode and time."""
        files = sorted((self.path / "cells").glob("*.parquet"))
        return {file.stem: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}

    def table(self, *, without: tuple[str, ...] | None = None) -> dict[str, tuple[str, str]]:
        """By cell, every bit that is not circumstance: the row and its queries, as text with exact floats."""
        from robustreid.benchmark.store.schema import CIRCUMSTANCES

        left_out = set(CIRCUMSTANCES if without is None else without)
        found = {}
        for file in sorted((self.path / "cells").glob("*.parquet")):
            (record,) = pq.ParquetFile(file).read().to_pylist()
            row = json.dumps({key: value for key, value in record.items() if key not in left_out})
            table = self.path / "queries" / file.name
            queries = json.dumps(pq.ParquetFile(table).read().to_pylist()) if table.exists() else ""
            found[file.stem] = (row, queries)
        return found


@pytest.fixture(scope="session")
def crowd(people: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six people of the market set, with distractors (0000) and junk (-1) in the gallery: linked real images."""
    root = tmp_path_factory.mktemp("crowd")
    source = people(9, "market1501-mini")
    names = sorted({file.name[:4] for file in (source / "query").iterdir()})
    stay, strangers = names[:6], names[6:]
    for folder in FOLDERS:
        (root / folder).mkdir()
        for file in sorted((source / folder).iterdir()):
            if file.name[:4] in stay:
                (root / folder / file.name).symlink_to(file.resolve())
            elif folder == "bounding_box_test":
                label = "0000" if file.name[:4] in strangers[:2] else "-1"
                (root / folder / f"{label}{file.name[4:]}").symlink_to(file.resolve())
    return root


def _program(path: Path, seed: int) -> Path:
    """A small random network as an ONNX program: 3x32x16 -> convolution -> ReLU -> linear -> 24 numbers."""
    random = np.random.default_rng(seed)
    constants = {
        "kernel": random.normal(size=(6, 3, 5, 5)) / 5,
        "bias": random.normal(size=6) / 5,
        "matrix": random.normal(size=(6 * 7 * 3, 24)) / 10,
    }
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["c"], strides=[4, 4]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("MatMul", ["f", "matrix"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, 32, 16))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 24))],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 3,000 weights."""
    return _program(tmp_path_factory.mktemp("tiny") / "tiny.onnx", seed=1)


@pytest.fixture(scope="session")
def other_tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one."""
    return _program(tmp_path_factory.mktemp("other") / "other.onnx", seed=2)


@pytest.fixture(scope="session")
def fast(real_data: Path) -> Path:
    """The real model that is weak and fast: 4 ms a gradient."""
    return real_data / "weights" / "person-reidentification-retail-0031.onnx"


@pytest.fixture(scope="session")
def grid_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that writes a grid file: one model and one data set by default, any key changed."""
    folder = tmp_path_factory.mktemp("grids")

    def write(model: Path | list[dict[str, Any]], data: Path | list[dict[str, Any]], **keys: Any) -> Path:
        models = [{"name": "m", "weights": str(model)}] if isinstance(model, Path) else model
        sets = [{"name": "d", "format": "folder", "root": str(data)}] if isinstance(data, Path) else data
        grid = {
            "name": "test",
            "models": models,
            "datasets": sets,
            "attacks": ["ama-ifgsm"],
            "epsilons": ["2/255"],
            "side": "gallery",
            "checks": "quick",
            **keys,
        }
        path = folder / f"grid-{len(list(folder.iterdir()))}.yml"
        path.write_text(json.dumps(grid))
        return path

    return write


@pytest.fixture(scope="session")
def run() -> Callable[..., Ran]:
    """A function that runs a grid file into a folder, in this process."""

    def go(grid: Path, out: Path, reporter: Any = None, **settings: Any) -> Ran:
        from robustreid.benchmark.config.grid import load_grid
        from robustreid.benchmark.progress import Silent
        from robustreid.benchmark.runner.run import run_grid
        from robustreid.benchmark.runtime import Settings

        chosen = Settings(**{"device": "cpu", "batch_size": 16, **settings})
        return Ran(path=out, summary=run_grid(load_grid(grid), out, chosen, reporter or Silent()))

    return go


@pytest.fixture(scope="session")
def ran_at() -> Callable[[Path], Ran]:
    """A function that looks at a run directory that somebody else wrote."""
    return lambda path: Ran(path=path, summary=None)


class _Watch:
    """A reporter that calls a function after each batch, with how many there were."""

    def __init__(self, after: Callable[[int], None]) -> None:
        self.after = after
        self.count = 0
        self.title = ""

    def note(self, text: str) -> None:
        """Nothing."""

    def start(self, title: str, total: float) -> _Watch:
        stage = _Watch(self.after)
        stage.title = title
        return stage

    def advance(self, units: float) -> None:
        """A batch of a group moves two bars, the second of them that of the group, whose title starts with [1/3]."""
        if self.title.startswith("["):
            self.count += 1
            self.after(self.count)

    def finish(self) -> None:
        """Nothing."""


@pytest.fixture
def watch() -> Callable[[Callable[[int], None]], Any]:
    """A function that gives a reporter which calls back after each batch."""
    return _Watch


@pytest.fixture
def interrupted(run: Callable[..., Ran]) -> Callable[..., Path]:
    """A function that runs a grid as `run` does and interrupts it after some batches."""

    def go(grid: Path, out: Path, batches: int, **settings: Any) -> Path:
        def stop(count: int) -> None:
            if count == batches:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(grid, out, reporter=_Watch(stop), **settings)
        return out

    return go


@pytest.fixture
def edit() -> Callable[..., None]:
    """A function that rewrites one parquet file of a run with changed columns or a changed schema version."""

    def change(file: Path, columns: Mapping[str, Any] | None = None, version: int | None = None) -> None:
        table = pq.ParquetFile(file).read()
        (record,) = table.to_pylist()
        meta = dict(table.schema.metadata)
        if version is not None:
            meta[b"robustreid"] = json.dumps({"schema_version": version}).encode()
        import pyarrow as pa

        changed = pa.Table.from_pylist([{**record, **(columns or {})}], schema=table.schema.with_metadata(meta))
        pq.write_table(changed, file)

    return change


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """A function that copies a run directory, so that a test may break it."""

    def copy(path: Path) -> Path:
        return Path(shutil.copytree(path, tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"))

    return copy
