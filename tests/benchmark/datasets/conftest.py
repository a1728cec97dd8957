"""Every test of this folder has a cache of its own; small sets in the layouts of the real ones are drawn once."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _own_cache(own_cache: Path) -> None:
    """The fixture of the whole suite, unasked."""


@pytest.fixture(scope="session")
def layouts() -> Any:
    """The module that draws data sets in the layouts of the real ones."""
    name = "dataset_layouts"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("layouts.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def drawn(layouts: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that gives the small set of a layout: drawn once, and not to be changed."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            root = tmp_path_factory.mktemp(name)
            made[name] = getattr(layouts, name.replace("-", "_"))(root)
        return made[name]

    return get


@pytest.fixture
def copied(drawn: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """A function that gives a copy of the small set of a layout, to be spoilt at will."""

    def copy(name: str, to: str = "set") -> Path:
        return Path(shutil.copytree(drawn(name), tmp_path / to))

    return copy
