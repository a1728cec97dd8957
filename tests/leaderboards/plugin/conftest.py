"""Sessions of pytest in a folder of a team: two small models, a small data set, and a test file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

#: Runs pytest on a folder: its path, then further arguments.
RunPytest = Callable[..., subprocess.CompletedProcess[str]]


def write_linear(path: Path, n_features: int = 6, seed: int = 0) -> Path:
    """An ONNX program: random linear features of 8x4 pixels; the fewer there are, the weaker it is."""
    weights = np.random.default_rng(seed).standard_normal((96, n_features)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["m"]), helper.make_node("MatMul", ["m", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, 8, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", n_features))],
        [numpy_helper.from_array(weights - weights.mean(axis=0), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def write_people(root: Path, count: int = 24, seed: int = 1) -> Path:
    """A folder in Market-1501's layout: people of random pixels, each seen by three cameras with noise."""
    rng = np.random.default_rng(seed)
    for folder in ("query", "bounding_box_test"):
        (root / folder).mkdir(parents=True)
    for identity in range(1, count + 1):
        person = rng.integers(0, 256, (16, 8, 3))
        for camera, folder in ((1, "query"), (2, "bounding_box_test"), (3, "bounding_box_test")):
            pixels = np.clip(person + rng.normal(0, 30, person.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{identity:04d}_c{camera}s1_000001_00.png")
    return root


@pytest.fixture(scope="session")
def write_model() -> Callable[..., Path]:
    """Writes a linear model."""
    return write_linear


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model.onnx`, `other.onnx` and the data set `mini`, of 24 people."""
    folder = tmp_path_factory.mktemp("team")
    write_linear(folder / "model.onnx")
    write_linear(folder / "other.onnx", seed=2)
    write_people(folder / "mini")
    return folder


@pytest.fixture(scope="session")
def run_pytest(tmp_path_factory: pytest.TempPathFactory) -> RunPytest:
    """Runs pytest as a team does, warnings being errors; the plugin is loaded by name, installed or not."""
    cache = tmp_path_factory.mktemp("cache")

    def run(folder: Path, *arguments: str, plugins: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        named = [word for name in ("robustreid.leaderboards.pytest_plugin", *plugins) for word in ("-p", name)]
        command = [sys.executable, "-m", "pytest", *named, "--strict-markers", "-W", "error", *arguments]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COLUMNS"))}
        own = {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "ROBUSTREID_CACHE": str(cache),
            "OMP_WAIT_POLICY": "passive",
            "COLUMNS": "160",
        }
        return subprocess.run(command, cwd=folder, env=kept | own, capture_output=True, text=True, timeout=300)

    return run
