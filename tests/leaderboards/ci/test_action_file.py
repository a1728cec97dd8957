"""What the GitHub action's file says; every check is a function of its text, so that a wrong twin meets it too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ACTION = Path(__file__).resolve().parents[3] / ".github" / "actions" / "gate"


def read_action(text: str) -> dict[str, Any]:
    """The action's file as plain values."""
    found: dict[str, Any] = YAML(typ="safe").load(text)
    return found


def injections(action: dict[str, Any]) -> list[str]:
    """Steps whose script has an expression in it: whatever the expression holds would be run."""
    return [step["name"] for step in action["runs"]["steps"] if "${{" in step.get("run", "")]


def scripts(action: dict[str, Any]) -> list[str]:
    """The files beside the action that its steps call."""
    return [name for step in action["runs"]["steps"] for name in re.findall(r"[\w.-]+\.sh", step.get("run", ""))]


def loose_ends(action: dict[str, Any], texts: list[str]) -> set[str]:
    """Inputs that no step is given, and variables that a step is given and no script reads."""
    steps = action["runs"]["steps"]
    given = " ".join(str(value) for step in steps for value in (step.get("env"), step.get("if"), step.get("with")))
    unused = {name for name in action["inputs"] if f"inputs.{name} " not in given}
    variables = {name for step in steps for name in step.get("env", {})}
    return unused | {name for name in variables if not any(name in text for text in texts)}


def test_the_action_is_whole() -> None:
    """It is composite, its scripts are there and executable, everything it takes is used, and all of it described."""
    action = read_action((ACTION / "action.yml").read_text())
    assert action["runs"]["using"] == "composite"
    assert sorted(scripts(action)) == ["gate.sh", "install.sh"]
    assert {path.name for path in ACTION.iterdir()} == {"action.yml", "gate.sh", "install.sh"}
    assert all(os.access(ACTION / name, os.X_OK) for name in scripts(action))
    assert loose_ends(action, [(ACTION / name).read_text() for name in scripts(action)]) == set()
    assert all(entry["description"] for kind in ("inputs", "outputs") for entry in action[kind].values())
    assert all(step.get("shell") == "bash" for step in action["runs"]["steps"] if "run" in step)
    written = set(re.findall(r"^ *output ([a-z-]+) ", (ACTION / "gate.sh").read_text(), re.MULTILINE))
    assert written == set(action["outputs"])


def test_no_input_is_pasted_into_a_script() -> None:
    """Inputs reach scripts through the environment alone; a step that pastes one, and one nobody uses, are found."""
    text = (ACTION / "action.yml").read_text()
    assert injections(read_action(text)) == []
    twin = text.replace("""'"$GITHUB_ACTION_PATH/gate.sh"'""", "robustreid run ${{ inputs.grid }}")
    assert injections(read_action(twin)) == ["Gate"]
    unread = text.replace("GATE_POLICY: ${{ inputs.policy }}", "GATE_POLICE: ${{ inputs.grid }}")
    assert loose_ends(read_action(unread), [(ACTION / "gate.sh").read_text()]) == {
        "policy",
        "GATE_POLICE",
        "GATE_PACKAGE",
    }


@pytest.mark.parametrize("name", ["gate.sh", "install.sh"])
def test_a_script_is_sound(name: str) -> None:
    """It stops at the first error and at unset variables, and parses; shellcheck has nothing to say where it is."""
    text = (ACTION / name).read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text
    checker = ["shellcheck"] if shutil.which("shellcheck") else ["bash", "-n"]
    done = subprocess.run([*checker, str(ACTION / name)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
