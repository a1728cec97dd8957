"""Every command and every list: it resolves, it explains itself, it loads nothing slow to do so."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from robustreid.attacks.bridge import list_foreign
from robustreid.attacks.catalogue import PRESETS
from robustreid.attacks.presets import FITTED
from robustreid.benchmark.cli import COMMANDS, LISTS
from robustreid.benchmark.datasets.catalogue import FORMATS
from robustreid.leaderboards.track import track_names
from robustreid.models.catalogue import ARCHITECTURES
from robustreid.models.defences.catalogue import DEFENCES
from robustreid.models.registry import load_reference
from robustreid.models.zoo import ZOO

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW = ("torch", "pandas", "pyarrow", "onnx", "scipy")


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_where_the_table_says(name: str) -> None:
    """The reference resolves to a command of that name, and its line is a sentence."""
    reference, summary = COMMANDS[name]
    found = load_reference(reference)
    assert isinstance(found, click.Command)
    assert (found.name, summary[-1]) == (name, ".")


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_help_teaches(call: Callable[..., subprocess.CompletedProcess[str]], name: str, flag: str) -> None:
    """Exit code 0, on standard output: usage, at least one full sentence, and what every option does."""
    done = call(name, flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: robustreid {name} ")
    text = " ".join(done.stdout.split())
    found = load_reference(COMMANDS[name][0])
    assert " ".join(found.help.split())[:60].replace("\b ", "") in text
    assert len(text.split()) > 20
    options = [option for option in found.params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []
    assert all(option.opts[0] in text for option in options)


def test_the_first_help_lists_every_command(call: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """In the order of the table, with what to do first; without arguments it is shown as well, with exit code 2."""
    done = call("--help")
    lines = done.stdout.splitlines()
    places = [next(i for i, line in enumerate(lines) if line.startswith(f"  {name} ")) for name in COMMANDS]
    assert places == sorted(places)
    assert "Start with `robustreid demo`" in done.stdout
    bare = call()
    assert (bare.returncode, bare.stdout, bare.stderr.strip()) == (2, "", done.stdout.strip())


def test_no_help_loads_what_is_slow(command: Callable[..., list[str]]) -> None:
    """Neither torch nor pandas, for `--help` and for that of each command."""
    before = (
        "import atexit, io\nfrom robustreid.benchmark import cli\nsys.stdout = io.StringIO()\n"
        f"for name in {list(COMMANDS)!r}:\n    assert cli.main([name, '--help']) == 0, name\n"
        f"atexit.register(lambda: sys.stderr.write(repr([name for name in {SLOW!r} if name in sys.modules])))"
    )
    done = subprocess.run(command("--help", before=before), capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "[]"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("models", [*ZOO, *ARCHITECTURES.names()]),
        ("attacks", [*PRESETS, "auto", *FITTED, *(record["name"] for record in list_foreign())]),
        ("datasets", FORMATS.names()),
        ("defences", DEFENCES.names()),
        ("tracks", list(track_names())),
    ],
)
def test_every_list_names_all_there_is(
    call: Callable[..., subprocess.CompletedProcess[str]], kind: str, names: list[str]
) -> None:
    """One array of objects, each with its name; the same names as text, each with a summary."""
    records = json.loads(call("ls", kind, "--json").stdout)
    assert [record["name"] for record in records] == names
    lines = [line for line in call("ls", kind).stdout.splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in lines] == names
    assert all(len(line.split()) > 2 for line in lines)


def test_every_kind_of_list_is_tested() -> None:
    """A list that is added is added to the test above; each reference resolves to records with names."""
    assert sorted(LISTS) == ["attacks", "datasets", "defences", "models", "tracks"]
    for reference in LISTS.values():
        assert all(record["name"] for record in load_reference(reference)())


def test_the_version_says_what_decides_numbers(call: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """As text and as one object, with the same content."""
    facts = json.loads(call("version", "--json").stdout)
    assert {"robustreid", "engine", "metric", "schema", "python", "torch", "torchattacks"} == set(facts)
    assert call("version").stdout.splitlines() == [f"{name} {value}" for name, value in facts.items()]


def test_the_console_script_is_the_same_command(command: Callable[..., list[str]]) -> None:
    """`robustreid` as it is installed gives the exit code and the sentence."""
    script = Path(command()[0]).with_name("robustreid")
    if not script.exists():
        pytest.skip("the console script is not installed beside this Python")
    done = subprocess.run([script, "rum"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Unknown command 'rum'. Did you mean 'run'?")
