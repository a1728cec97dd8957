"""What an import of the package brings along: floors below alone, nothing heavy, and examples that hold.

Every check is a function, so that a planted wrong twin meets the same function.
"""

from __future__ import annotations

import doctest
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import robustreid

ROOT = Path(__file__).resolve().parent.parent


def upward_imports(folder: Path) -> str:
    """What import-linter says of the package that `folder` imports as `robustreid`; empty where floors are kept."""
    pytest.importorskip("importlinter", reason="import-linter is not installed: pip install -e '.[dev]'")
    script = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(sys.argv[1], no_logo=True))"
    command = [sys.executable, "-c", script, str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def failed_examples(module: ModuleType) -> list[str]:
    """The examples in a module's docstrings that do not give what they show."""
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder().find(module, module.__name__):
        runner.run(test, out=report.append)
    return report


def imported_by(statement: str, folder: Path) -> set[str]:
    """The modules that a fresh interpreter started in `folder` holds after a statement and did not hold before."""
    script = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def unwanted_imports(modules: set[str]) -> set[str]:
    """Of modules imported along with `robustreid`, the heavy ones and our own."""
    ours = {name for name in modules if name.startswith("robustreid.")}
    return ours | {name for name in modules if name in {"torch", "numpy", "pandas"}}


def test_floors_import_only_downward(tmp_path: Path) -> None:
    """import-linter keeps its contract on the installed package."""
    said = upward_imports(tmp_path)
    assert not said, said


def test_an_upward_import_is_found(twin: Path) -> None:
    """import-linter, asked in the same way, rejects a model that knows an attack."""
    assert upward_imports(twin.parent) == ""
    (twin / "models" / "climbs.py").write_text('"""Climbs."""\n\nfrom .. import attacks\n')
    assert "robustreid.models is not allowed to import robustreid.attacks" in upward_imports(twin.parent)


def test_importing_the_package_imports_nothing_else(tmp_path: Path) -> None:
    """`import robustreid` costs no torch, numpy or pandas, and no floor of ours."""
    modules = imported_by("import robustreid", tmp_path)
    assert "robustreid" in modules
    assert unwanted_imports(modules) == set()


def test_an_eager_import_is_found(twin: Path) -> None:
    """A root that imports a floor and numpy at once is seen to."""
    (twin / "__init__.py").write_text("import numpy\nfrom . import models\n")
    assert unwanted_imports(imported_by("import robustreid", twin.parent)) == {"numpy", "robustreid.models"}


def test_examples_in_docstrings_run() -> None:
    """Every module of the installed package can be imported, and its examples give what they show."""
    names = [module.name for module in pkgutil.walk_packages(robustreid.__path__, "robustreid.")]
    assert {"robustreid.models.base", "robustreid.models.registry"} <= set(names)
    failures = {name: failed_examples(import_module(name)) for name in ["robustreid", *names]}
    assert {name: report for name, report in failures.items() if report} == {}


def test_a_wrong_example_is_found() -> None:
    """An example that shows 3 for 1 + 1 fails, one that shows 2 passes."""
    module = ModuleType("shows", "Doctest.\n\n>>> 1 + 1\n2\n")
    assert failed_examples(module) == []
    module.__doc__ = "Doctest.\n\n>>> 1 + 1\n3\n"
    assert len(failed_examples(module)) == 1
