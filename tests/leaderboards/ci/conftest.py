"""What a team has: a small model, a small data set, sessions of pytest, and a step of a job that runs the gate."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from ruamel.yaml import YAML

ACTION = Path(__file__).resolve().parents[3] / ".github" / "actions" / "gate"

#: Runs pytest on a folder: its path, then further arguments.
RunPytest = Callable[..., subprocess.CompletedProcess[str]]


def write_linear(path: Path, n_features: int = 6, seed: int = 0, overflows: bool = False) -> Path:
    """An ONNX program: random linear features of 8x4 pixels; the fewer there are, the weaker it is."""
    weights = np.random.default_rng(seed).standard_normal((96, n_features)).astype(np.float32)
    weights = np.full_like(weights, 3e38) if overflows else weights - weights.mean(axis=0)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["m"]), helper.make_node("MatMul", ["m", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, 8, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", n_features))],
        [numpy_helper.from_array(weights, "w")],
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


@pytest.fixture(scope="session")
def write_data() -> Callable[..., Path]:
    """Writes a data set."""
    return write_people


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


class GateStep:
    """A step of a job in a folder: runs the gate, and keeps what GitHub would have shown."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = -1
        self.log = self.summary = ""
        self.outputs: dict[str, str] = {}

    def __call__(self, **inputs: str) -> GateStep:
        """Run it with the action's defaults and these inputs."""
        files = {name: self.folder / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        defaults = {name: str(entry.get("default", "")) for name, entry in _inputs().items()}
        given = defaults | {name.replace("_", "-"): value for name, value in inputs.items()}
        environment = {
            **{name: value for name, value in os.environ.items() if name not in {"MODEL", "DATA"}},
            **{f"GATE_{name.replace('-', '_').upper()}": value for name, value in given.items()},
            **{name: str(file) for name, file in files.items()},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ROBUSTREID_CACHE": str(self.folder / "cache"),
        }
        command = [str(ACTION / "gate.sh")]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300)
        self.code, self.log = done.returncode, done.stdout + done.stderr
        self.summary = files["GITHUB_STEP_SUMMARY"].read_text()
        self.outputs = dict(_read_outputs(files["GITHUB_OUTPUT"].read_text()))
        return self


def _inputs() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load((ACTION / "action.yml").read_text())["inputs"]
    return found


def _read_outputs(text: str) -> Iterator[tuple[str, str]]:
    """Outputs in the form `name<<mark`, lines, `mark`."""
    lines = iter(text.splitlines())
    for line in lines:
        name, mark = line.split("<<")
        value = []
        for part in lines:
            if part == mark:
                break
            value.append(part)
        yield name, "\n".join(value)


@pytest.fixture
def step(tmp_path: Path) -> GateStep:
    """A step of a job in an empty folder."""
    return GateStep(tmp_path)
