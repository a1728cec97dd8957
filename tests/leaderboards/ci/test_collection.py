"""What the pytest plugin refuses before anything is measured, and what it costs a session that never asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

RunPytest = Callable[..., subprocess.CompletedProcess[str]]

MARKED = "import pytest\n\n@pytest.mark.robust({})\ndef test_model({}):\n    {}\n"


#: Marks that say nothing sensible, the fixtures of their test, and what is said.
REFUSED = [
    ("attack='ama-ifgsm', min_map=0.3", "robust", "robust takes no keyword 'min_map'. Did you mean 'min_mAP'?"),
    ("'ama-ifgsm'", "robust", "robust takes keywords only, got 'ama-ifgsm'; write robust(attack='ama-ifgsm')."),
    ("min_mAP=30", "robust", "min_mAP is 30; expected a fraction from 0 to 1, such as 0.30 for 30 points."),
    ("min_rank1=True", "robust", "min_rank1 is True; expected a fraction from 0 to 1"),
    ("goal='targeted', min_mAP=.3", "robust", "A cell with goal 'targeted' has no score for min_mAP; give max_target_"),
    ("accept_flags='zero-gradiant'", "robust", "accept_flags holds 'zero-gradiant'. Did you mean 'zero-gradient'?"),
    ("attack='noise'", "", "it is marked robust and measures nothing; let it take the fixture `robust`"),
]


def test_a_mark_that_says_nothing_sensible_is_refused(tmp_path: Path, run_pytest: RunPytest) -> None:
    """At collection, naming the test, with the nearest name; nothing runs, a good test beside it neither."""
    for number, (mark, fixture, _) in enumerate(REFUSED):
        (tmp_path / f"test_{number}.py").write_text(MARKED.format(mark, fixture, "pass"))
    (tmp_path / "test_good.py").write_text("def test_good(): pass\n")
    done = run_pytest(tmp_path)
    assert done.returncode == 2, done.stdout
    for number, (_, _, message) in enumerate(REFUSED):
        assert f"test_{number}.py::test_model: {message}" in done.stdout
    assert f"{len(REFUSED)} errors" in done.stdout
    assert "passed" not in done.stdout


def test_a_parametrized_mark_is_refused_as_well(tmp_path: Path, run_pytest: RunPytest) -> None:
    """A mark of one parameter, in a class; xdist's workers report it like any error of collection."""
    (tmp_path / "test_team.py").write_text(
        "import pytest\n\n"
        "class TestModel:\n"
        "    @pytest.mark.parametrize('path', [pytest.param('m.onnx', marks=pytest.mark.robust(epsilom='4/255'))])\n"
        "    def test_model(self, robust, path):\n"
        "        robust(path, 'mini')\n"
    )
    done = run_pytest(tmp_path, "-n", "1", plugins=("xdist",))
    assert done.returncode != 0
    assert "TestModel::test_model[m.onnx]: robust takes no keyword 'epsilom'. Did you mean 'epsilon'?" in done.stdout


def test_a_test_that_measures_nothing_fails(tmp_path: Path, run_pytest: RunPytest) -> None:
    """One that never calls its fixture, one without a mark, one whose keywords or name are wrong."""
    (tmp_path / "test_team.py").write_text(
        MARKED.format("attack='noise'", "robust", "pass")
        + "\ndef test_unmarked(robust):\n    robust('m.onnx', 'mini')\n"
        + "\n@pytest.mark.robust(min_mAP=.3)\ndef test_named(robust):\n    robust('m.onnx', 'mini', name='a b')\n"
        + "\n@pytest.mark.robust(min_mAP=.3)\ndef test_changed(robust):\n    robust('m.onnx', 'mini', min_map=1)\n"
        + "\n@pytest.mark.robust(min_mAP=.3)\ndef test_broken(robust):\n    assert 1 == 2\n"
    )
    done = run_pytest(tmp_path, "--robust-baseline", "base.parquet")
    assert done.returncode == 1
    assert "5 failed" in done.stdout
    for message in (
        "robust was never called, so nothing was measured; call robust(model, data).",
        "robust: the test has no mark; add @pytest.mark.robust(",
        "robust: name is 'a b'; expected 1 to 64 letters",
        "robust: robust takes no keyword 'min_map'. Did you mean 'min_mAP'?",
        "assert 1 == 2",
    ):
        assert done.stdout.count(message) >= 1, message
    assert not (tmp_path / "base.parquet").exists()


def test_an_update_of_nothing_is_refused(tmp_path: Path, run_pytest: RunPytest) -> None:
    """`--robust-update` alone is a wrong request."""
    done = run_pytest(tmp_path, "--robust-update")
    assert done.returncode == 4
    assert "--robust-update has nothing to update; add --robust-baseline FILE." in done.stderr


HEAVY = """
import sys
def test_quick(): assert 1
def test_light():
    assert {"torch", "numpy", "pandas", "pyarrow"} & set(sys.modules) == set()
    assert {name for name in sys.modules if name.startswith("robustreid.")} == {OURS}
"""


def test_a_session_without_the_mark_pays_nothing(tmp_path: Path, run_pytest: RunPytest) -> None:
    """No torch, numpy or pandas, nothing of this package but the plugin, and no section in the summary."""
    ours = {f"robustreid.leaderboards{name}" for name in ("", ".pytest_plugin", ".pytest_fixture")}
    (tmp_path / "test_team.py").write_text(HEAVY.replace("{OURS}", repr(ours)))
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "robustness" not in done.stdout


def test_an_eager_plugin_would_be_found(tmp_path: Path, run_pytest: RunPytest) -> None:
    """The same test fails beside a conftest that imports numpy at once."""
    (tmp_path / "test_team.py").write_text(HEAVY.replace("{OURS}", "set()"))
    (tmp_path / "conftest.py").write_text("import numpy\n")
    done = run_pytest(tmp_path)
    assert done.returncode == 1
    assert "{'numpy'} == set()" in done.stdout


def test_an_installed_plugin_is_found_once(tmp_path: Path) -> None:
    """Two distributions with the same entry point, as an editable install beside a wheel: the marker is listed once."""
    for name in ("first", "second"):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text("[pytest11]\nrobustreid = robustreid.leaderboards.pytest_plugin\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--markers", "-p", "robustreid"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("@pytest.mark.robust(") == 1
