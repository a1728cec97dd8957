"""The page's examples, each run, with stand-ins where they import a package of others."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

PAGE = Path(__file__).resolve().parents[3] / "docs" / "adapters.md"
#: What the page is about.
ADAPTERS = ("from_torchreid", "from_fastreid", "from_timm", "from_module", "export_onnx")


def module(name: str, **contents: Any) -> ModuleType:
    """A module of that name."""
    made = ModuleType(name)
    vars(made).update(contents)
    return made


@pytest.fixture
def packages(
    torchreid_model: nn.Module, fastreid_model: nn.Module, timm_model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The three packages, as far as the page uses them."""
    config = SimpleNamespace(
        MODEL=SimpleNamespace(), INPUT=SimpleNamespace(SIZE_TEST=[64, 32]), merge_from_file=lambda _: None
    )
    build = SimpleNamespace(build_model=lambda *_, **__: torchreid_model)
    load = SimpleNamespace(load_pretrained_weights=lambda *_: None)
    for made in (
        module("timm", create_model=lambda *_, **__: timm_model),
        module("torchreid", models=build, utils=load),
        module("fastreid"),
        module("fastreid.config", get_cfg=lambda: config),
        module("fastreid.engine", DefaultPredictor=lambda cfg: SimpleNamespace(model=fastreid_model, cfg=cfg)),
    ):
        monkeypatch.setitem(sys.modules, made.__name__, made)


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that the page takes images from, in the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for folder, camera in (("query", 1), ("bounding_box_test", 2)):
        place = tmp_path / "path/to/market1501" / folder
        place.mkdir(parents=True)
        for person in range(1, 4):
            pixels = rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{person:04d}_c{camera}s1_000001_00.png")


@pytest.mark.usefixtures("packages", "people")
def test_every_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One after the other, as a reader would."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    assert len(blocks) == 5
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(block, namespace)  # noqa: S102 (our own page)
    assert capsys.readouterr().out.startswith("Adapted on market1501, ama-ifgsm at 4/255 (gallery side): Rank-1 ")
    assert (tmp_path / "model.onnx").is_file()
    assert namespace["result"].model == "model"
    assert namespace["adapted"].spec.input_size == (64, 32)
    assert all(f"`{name}(" in text and name in "".join(blocks) for name in ADAPTERS)
