"""A workbench for the suites of the harness: a small linear model, a small data set and a grid file about them.

Beside it the first people of a real set, and a cache folder that is not the user's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

#: What `write_grid` writes where nothing else is asked for.
PARTS = {
    "name": "name: tiny",
    "models": "models:\n  - {name: lin, weights: m.onnx}",
    "datasets": "datasets:\n  - {name: mini, format: folder, root: ./mini}",
    "attacks": "attacks: [ama-ifgsm]",
    "epsilons": "epsilons: [2/255]",
    "side": "side: gallery",
}


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Drawn people, decoded images and digests are kept in a temporary folder, for child processes as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTREID_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test alone, and no weights of the user's."""
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ROBUSTREID_WEIGHTS", str(tmp_path / "no-weights"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "no-data"))
    return tmp_path / "cache"


@pytest.fixture
def write_linear_model() -> Callable[..., Path]:
    """A function that writes an ONNX program: six random linear features of the pixels."""

    def write(path: Path, *, seed: int = 0, size: tuple[int, int] = (8, 4), n_features: int = 6) -> Path:
        rng = np.random.default_rng(seed)
        weights = rng.standard_normal((3 * size[0] * size[1], n_features)).astype(np.float32)
        graph = helper.make_graph(
            [helper.make_node("Flatten", ["x"], ["m"]), helper.make_node("MatMul", ["m", "w"], ["y"])],
            "linear",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, *size))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", n_features))],
            [numpy_helper.from_array(weights, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path.write_bytes(model.SerializeToString())
        return path

    return write


@pytest.fixture
def write_people() -> Callable[..., Path]:
    """A function that writes a folder in Market-1501's layout: random images, one query and two gallery a person."""

    def write(root: Path, *, people: Iterable[int] = (1, 2, 3), size: tuple[int, int] = (16, 8), seed: int = 1) -> Path:
        rng = np.random.default_rng(seed)
        identities = list(people)
        for folder, cameras in (("query", (1,)), ("bounding_box_test", (2, 3))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            for identity in identities:
                for camera in cameras:
                    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(root / folder / f"{identity:04d}_c{camera}s1_000001_00.png")
        return root

    return write


@pytest.fixture(scope="session")
def people(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that gives a folder with the first N people of a real set, images linked."""
    made: dict[tuple[str, int], Path] = {}

    def make(count: int, source: str = "cuhk01-mini") -> Path:
        if (source, count) not in made:
            root = tmp_path_factory.mktemp(f"{source}-{count}")
            names = sorted({file.name[:4] for file in (real_data / source / "query").iterdir()})[:count]
            for folder in ("query", "bounding_box_test"):
                (root / folder).mkdir()
                for file in (real_data / source / folder).iterdir():
                    if file.name[:4] in names:
                        (root / folder / file.name).symlink_to(file)
            made[source, count] = root
        return made[source, count]

    return make


@pytest.fixture
def bench(
    tmp_path: Path,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_linear_model: Callable[..., Path],
    write_people: Callable[..., Path],
) -> Path:
    """The current folder, with `m.onnx` and the data set `mini`: 3 queries and 6 gallery images of 3 persons."""
    folder = tmp_path / "bench"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_linear_model(folder / "m.onnx")
    write_people(folder / "mini")
    return folder


@pytest.fixture
def write_grid(bench: Path) -> Callable[..., Path]:
    """A function that writes `grid.yml`: one part a keyword (None leaves it out), then further lines."""

    def write(extra: str = "", **parts: str | None) -> Path:
        lines = [part for part in {**PARTS, **parts}.values() if part is not None]
        path = bench / "grid.yml"
        path.write_text("\n".join([*lines, extra]) + "\n", encoding="utf-8")
        return path

    return write
