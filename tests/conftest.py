"""Shared fixtures: where the real data lies, and small doubles that several suites use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
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
