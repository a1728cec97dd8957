"""The checkout is the package: what is on disk, what is declared and what is shipped agree, and files keep the rules.

Every check is a function of a folder or of a text, so that a planted wrong twin meets the same function.
"""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import robustreid

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("models", "attacks", "benchmark", "leaderboards", "reports")
LONGEST_MODULE = 300
MACHINE_PATH = re.compile(r"(?<![\w.~})>*-])/(?:home|root|Users|work|mnt|scratch)/[\w.-]+|[A-Z]:\\Users\\")
PERSON_IMAGE = re.compile(r"_c\d+s\d_\d{6}_\d{2}\.(jpg|png)")


def files(root: Path) -> Iterator[Path]:
    """Every file under `root` that git would keep, relative to `root`; of hidden folders, CI's alone."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line.endswith("/")]
    for folder, subfolders, names in os.walk(root):
        kept = (name for name in subfolders if not name.startswith(".") or name in {".ci", ".github"})
        subfolders[:] = sorted(name for name in kept if not any(fnmatch.fnmatch(name, i) for i in ignored))
        yield from (Path(folder, name).relative_to(root) for name in sorted(names) if name != ".git")


def declared(root: Path) -> dict[str, Any]:
    """The table `[tool.setuptools]` of `root`."""
    table: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    return table


def folder_of(package: str, root: Path) -> Path:
    """Where a package of ours lies: `robustreid` is `root` itself."""
    return root.joinpath(*package.split(".")[1:])


def packages_on_disk(root: Path) -> set[str]:
    """The packages that `root` holds: it and every folder of a floor with an `__init__.py`."""
    inits = (path.parent for path in files(root) if path.name == "__init__.py")
    return {".".join(("robustreid", *folder.parts)) for folder in inits}


def shipped(root: Path) -> set[Path]:
    """What a wheel of `root` contains by its declarations, relative to `root`."""
    table = declared(root)
    found = set()
    for package in table["packages"]:
        folder = folder_of(package, root)
        patterns = ["*.py", *table["package-data"].get("*", []), *table["package-data"].get(package, [])]
        found |= {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return {path.relative_to(root) for path in found}


def unshipped(root: Path) -> list[str]:
    """Files of the floors that an installed package would miss."""
    ours = {path for path in files(root) if path.parts[0] in FLOORS or path.name == "py.typed"}
    return sorted(str(path) for path in ours - shipped(root))


def sources(root: Path) -> Iterator[Path]:
    """The modules of the package, relative to `root`."""
    for path in files(root):
        if path.suffix == ".py" and (path.parts[0] in FLOORS or path == Path("__init__.py")):
            yield path


def misplaced(root: Path) -> list[str]:
    """Python files at the root other than `__init__.py`: they would be shipped."""
    return sorted(path.name for path in root.glob("*.py") if path.name != "__init__.py")


def too_long(root: Path) -> list[str]:
    """Python files of `LONGEST_MODULE` lines or more, those of tests too, with their length."""
    python = (path for path in files(root) if path.suffix == ".py")
    lengths = {str(path): len((root / path).read_text().splitlines()) for path in python}
    return [f"{path}: {length} lines" for path, length in lengths.items() if length >= LONGEST_MODULE]


def without_docstring(root: Path) -> list[str]:
    """Modules that do not say what they are for."""
    return [str(path) for path in sources(root) if not ast.get_docstring(ast.parse((root / path).read_text()))]


def stray_imports(source: str) -> list[str]:
    """Absolute imports of a floor by its bare name, as `line: name`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        found += [f"{node.lineno}: {name}" for name in names if name.split(".")[0] in FLOORS]
    return found


def machine_paths(text: str) -> list[str]:
    """Absolute paths that exist on one machine only."""
    return [match.group() for match in MACHINE_PATH.finditer(text)]


def person_images(paths: list[str]) -> list[str]:
    """Paths whose file is named like an image of a person in a data set."""
    return [path for path in paths if PERSON_IMAGE.search(Path(path).name)]


def test_the_installed_package_is_this_checkout() -> None:
    """The suite would otherwise judge another checkout's code."""
    assert Path(robustreid.__file__).resolve().parent == ROOT, "install this checkout: pip install -e '.[dev]'"


def test_version_is_said_once() -> None:
    """The package and pyproject.toml name one version."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == robustreid.__version__


def test_declared_packages_are_those_on_disk() -> None:
    """A package that is not declared is missing from the wheel, one that is gone breaks the build."""
    table = declared(ROOT)["packages"]
    assert sorted(table) == sorted(packages_on_disk(ROOT))


def test_an_undeclared_package_is_found(twin: Path) -> None:
    """The list of a checkout with one more package than it declares differs."""
    assert set(declared(twin)["packages"]) == packages_on_disk(twin)
    (twin / "models" / "zoo").mkdir()
    (twin / "models" / "zoo" / "__init__.py").touch()
    assert packages_on_disk(twin) - set(declared(twin)["packages"]) == {"robustreid.models.zoo"}


def test_every_file_of_the_package_is_shipped() -> None:
    """Each module and data file lies in a declared package and matches its package data."""
    assert unshipped(ROOT) == []


def test_an_undeclared_data_file_is_found(twin: Path) -> None:
    """Data that no pattern names and modules in a folder without `__init__.py` would be missing."""
    assert unshipped(twin) == []
    (twin / "reports" / "page.html").touch()
    (twin / "models" / "loose").mkdir()
    (twin / "models" / "loose" / "module.py").touch()
    (twin / "models" / "__pycache__").mkdir()
    (twin / "models" / "__pycache__" / "cache.pyc").touch()
    assert unshipped(twin) == ["models/loose/module.py", "reports/page.html"]


def test_only_the_package_file_lies_at_the_root() -> None:
    """Another module at the root would be shipped as one of the package's."""
    assert misplaced(ROOT) == []


def test_a_module_at_the_root_is_found(twin: Path) -> None:
    """The rule sees a stray `setup.py`."""
    (twin / "setup.py").touch()
    assert misplaced(twin) == ["setup.py"]


def test_no_module_is_long() -> None:
    """A module has under 300 lines, whether it is shipped or tests what is."""
    assert too_long(ROOT) == []


def test_every_module_says_what_it_is_for() -> None:
    """A module begins with a docstring."""
    assert without_docstring(ROOT) == []


def test_long_and_silent_modules_are_found(twin: Path) -> None:
    """Three hundred lines are one too many, and a comment is no docstring."""
    assert (too_long(twin), without_docstring(twin)) == ([], [])
    (twin / "tests").mkdir()
    for folder in ("attacks", "tests"):
        (twin / folder / "long.py").write_text("# no docstring\n" * LONGEST_MODULE)
    assert too_long(twin) == ["attacks/long.py: 300 lines", "tests/long.py: 300 lines"]
    assert without_docstring(twin) == ["attacks/long.py"]


def test_floors_are_not_imported_by_their_bare_names() -> None:
    """`import attacks` would take a user's own folder of that name."""
    python = [path for path in files(ROOT) if path.suffix == ".py"]
    assert python
    found = {str(path): stray_imports((ROOT / path).read_text()) for path in python}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import attacks", ["1: attacks"]),
        ("import numpy, models.base as base", ["1: models.base"]),
        ("def late():\n    from benchmark.store import rows", ["2: benchmark.store"]),
        ("from ..models.base import Embedder\nfrom . import reports\nimport robustreid.models", []),
    ],
)
def test_a_bare_import_is_found(source: str, expected: list[str]) -> None:
    """The check sees late and dotted imports, and lets relative ones pass."""
    assert stray_imports(source) == expected


def test_no_file_names_a_machine() -> None:
    """Paths of one person's machine mean nothing to a reader."""
    found = {}
    for path in files(ROOT):
        content = (ROOT / path).read_bytes()
        if b"\0" not in content[:8192]:
            found[str(path)] = machine_paths(content.decode(errors="replace"))
    assert "pyproject.toml" in found
    assert {path: names for path, names in found.items() if names} == {}


def test_no_image_of_a_person_is_committed() -> None:
    """Data sets of people are read from where their owners put them, never copied here."""
    assert person_images([str(path) for path in files(ROOT)]) == []


def test_machine_paths_and_person_images_are_found() -> None:
    """Both patterns see what they are for and let relative and system paths pass."""
    home = "/home"
    assert machine_paths(f"cd {home}/ann/robustreid") == [f"{home}/ann"]
    assert machine_paths("runs/ama/work/group, ${DATA}/work/x, /usr/bin/env, ../shared/data") == []
    assert person_images(["tests/data/0002_c1s1_000451_03.jpg", "docs/curve.png"]) == [
        "tests/data/0002_c1s1_000451_03.jpg"
    ]


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="not a git checkout")
def test_the_walk_sees_what_git_keeps() -> None:
    """No file that git tracks or would add escapes these checks."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {path for path in listed if (ROOT / path).exists()} - {str(path) for path in files(ROOT)} == set()
