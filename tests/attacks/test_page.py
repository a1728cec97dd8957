"""The page of attacks names what the catalogue has, with its goals, sides, norms and parameters."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from robustreid.attacks.catalogue import OPTIMISERS, PRESETS, resolve_attack
from robustreid.attacks.objectives import OBJECTIVES
from robustreid.attacks.presets import FITTED
from robustreid.attacks.transforms import TRANSFORMS
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
GOALS = {"both": {"untargeted", "targeted"}, "untargeted": {"untargeted"}, "targeted": {"targeted"}}
SIDES = {"all": {"query", "gallery", "both"}}


def table(page: str, section: str) -> dict[str, list[str]]:
    """The rows of a section's table, by the name in backticks that each begins with."""
    text = page.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.replace("\\|", "!").strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip().strip("`"): [cell.strip() for cell in cells[1:]] for cells in rows}


def sides(cell: str) -> set[str]:
    return SIDES.get(cell) or set(cell.split(", "))


def assert_complete(page: str) -> None:
    """The check: every preset, objective, optimiser and transform has a row, and the row says what the code says."""
    rows = table(page, "Presets")
    assert list(rows) == list(PRESETS)
    for name, (parts, _, owns, goals, where, norms, _, evidence) in rows.items():
        spec = resolve_attack(name)
        assert parts == f"`{spec.objective_name}`, `{spec.optimiser_name}`"
        assert GOALS[goals] == set(spec.objective.goals)
        assert sides(where) == set(spec.sides)
        assert norms == ("linf" if spec.linf_only else "linf, l2")
        peers = spec.uses_references and set(spec.objective.peers_on) >= set(spec.sides)
        assert owns == ("both sides" if peers else "other side" if spec.uses_references else "self")
        assert any(word in evidence for word in ("code", "paper", "chosen"))
    objectives, optimisers, transforms = (table(page, title) for title in ("Objectives", "Optimisers", "Transforms"))
    assert list(objectives) == list(OBJECTIVES)
    assert set(optimisers) == set(OPTIMISERS.names())
    assert list(transforms) == list(TRANSFORMS)
    for name, (_, parameters, goals, where) in objectives.items():
        assert GOALS[goals] == set(OBJECTIVES[name].goals)
        assert sides(where) == set(OBJECTIVES[name].sides)
        assert_named(OBJECTIVES[name], parameters)
    for name, (_, parameters, _) in optimisers.items():
        if "the same" not in parameters:
            assert_named(OPTIMISERS.load(name), parameters)
    for name, (_, parameters) in transforms.items():
        assert_named(TRANSFORMS[name], parameters)
    assert all(f"`{name}`" in page for name in FITTED)


def assert_named(kind: Any, parameters: str) -> None:
    """Every parameter with its default, where that is a plain number."""
    for field in dataclasses.fields(kind):
        assert f"`{field.name}`" in parameters
        if isinstance(field.default, int | float):
            said = parameters.split(f"`{field.name}` (")
            assert len(said) == 2, field.name
            assert float(said[1].split(")")[0]) == field.default


def test_the_page_is_complete() -> None:
    """Nothing is missing, nothing is left over, nothing has changed since."""
    assert_complete((ROOT / "docs" / "attacks.md").read_text())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("| `gtt` |", "| `gt` |"),
        ("| `gtt` | `evict`, `ifgsm`", "| `gtt` | `evict`, `pgd`"),
        ("| both sides | targeted |", "| other side | targeted |"),
        ("| `toward-nearest` |", "| `toward` |"),
        ("`bins` (5)", "`bins` (25)"),
        ("| `nifgsm` |", "| `nesterov` |"),
        ("`ti_sigma` (3)", "`sigma` (3)"),
        ("`muap`", "`mu`"),
    ],
)
def test_a_page_that_lags_behind_is_rejected(old: str, new: str) -> None:
    """A missing name, another optimiser, another owner, another default."""
    page = (ROOT / "docs" / "attacks.md").read_text()
    assert old in page
    with pytest.raises((AssertionError, ValueError, KeyError)):
        assert_complete(page.replace(old, new))


def test_the_example_resolves() -> None:
    """Every entry of the grid on the page is an attack, and no two are the same one."""
    page = (ROOT / "docs" / "attacks.md").read_text()
    entries = YAML(typ="safe").load(page.split("```yaml\n", 1)[1].split("```", 1)[0])["attacks"]
    specs = []
    for entry in entries:
        options = {"name": entry} if isinstance(entry, str) else dict(entry)
        specs.append(resolve_attack(options.pop("name"), options))
    assert len({(spec.name, str(spec.parameters())) for spec in specs}) == len(specs) == 5


def test_the_page_can_be_found() -> None:
    """From the README and from the page of grid files."""
    for file in ("README.md", "docs/grid.md"):
        assert "attacks.md)" in (ROOT / file).read_text()
