"""`adaptive` and `checks` in a grid file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from robustreid import UserError
from robustreid.benchmark import records
from robustreid.benchmark.config.grid import load_grid
from robustreid.benchmark.datasets.opening import open_sets
from robustreid.benchmark.planner import make_plan
from robustreid.benchmark.progress import Silent
from robustreid.benchmark.records import Cell
from robustreid.models.stages import AUTO, OFF, Adaptive


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("", AUTO),
        ("adaptive: auto", AUTO),
        ("adaptive: off", OFF),
        ("adaptive: {bpda: [jpeg, front.resize, jpeg], eot: 5}", Adaptive(bpda=("jpeg", "front.resize"), eot=5)),
        ("adaptive: {bpda: jpeg}", Adaptive(bpda=("jpeg",))),
        ("adaptive: {eot: 3}", Adaptive(eot=3)),
        ("adaptive: {}", AUTO),
        ("adaptive: {bpda: [], eot: 1}", OFF),
    ],
)
def test_one_line_says_it(write_grid: Callable[..., Path], line: str, wanted: Adaptive) -> None:
    """Words, or settings of which each may be left out; two ways to say one thing are one thing."""
    assert load_grid(write_grid(line)).adaptive == wanted


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("adaptive: of", "adaptive: expected one of auto, off, got 'of'. Did you mean 'off'?"),
        ("adaptive: {bdpa: [a]}", "unknown key 'bdpa'. Did you mean 'bpda'?"),
        ("adaptive: {eot: 0}", "expected 1 to 1000 samples a gradient, got 0."),
        ("adaptive: {bpda: 3}", "expected a list of names of sub-modules"),
        ("checks: fast", "checks: expected one of full, quick, got 'fast'."),
    ],
)
def test_what_means_nothing_is_refused(write_grid: Callable[..., Path], line: str, said: str) -> None:
    """In one sentence, with the line and the nearest name."""
    with pytest.raises(UserError) as caught:
        load_grid(write_grid(line))
    assert said in str(caught.value)
    assert "grid.yml:9: " in str(caught.value)


@pytest.fixture
def cell(write_grid: Callable[..., Path]) -> Cell:
    """The one cell of the usual grid."""
    grid = load_grid(write_grid())
    sets, _ = open_sets(grid.datasets, workers=1, reporter=Silent())
    (found,) = make_plan(grid, sets).cells
    return found


def test_ordinary_cells_keep_their_ids(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the model decides is in no id; what a grid spells out is, and in `attack_params` too."""
    hashed: list[dict[str, Any]] = []

    def note(value: dict[str, Any]) -> str:
        hashed.append(value)
        return "noted"

    monkeypatch.setattr(records, "digest", note)
    for adaptive in (AUTO, OFF, Adaptive(bpda=("jpeg",), eot=2)):
        other = replace(cell, adaptive=adaptive)
        _ = other.cell_id, other.group_key
    assert ["adaptive" in value for value in hashed] == [False, False, True, True, True, True]
    assert cell.attack_parameters == cell.attack.parameters()
    assert replace(cell, adaptive=OFF).attack_parameters == {**cell.attack.parameters(), "adaptive": "off"}


def test_ids_differ_where_settings_do(cell: Cell) -> None:
    """Of cells, and of the groups that share gradients."""
    several = [replace(cell, adaptive=each) for each in (AUTO, OFF, Adaptive(eot=2), Adaptive(bpda=("a",)))]
    assert len({each.cell_id for each in several}) == len({each.group_key for each in several}) == len(several)


def test_checks_are_in_no_id_and_samples_are_in_the_cost(write_grid: Callable[..., Path]) -> None:
    """`plan` knows what a grid spells out."""

    def planned(extra: str) -> tuple[str, int]:
        grid = load_grid(write_grid(extra))
        sets, _ = open_sets(grid.datasets, workers=1, reporter=Silent())
        plan = make_plan(grid, sets)
        cost = plan.cost(plan.groups()[0], shared=True)
        assert cost is not None
        return plan.cells[0].cell_id, cost.gradients

    plain, n_gradients = planned("")
    assert planned("checks: quick") == (plain, n_gradients)
    other, more = planned("adaptive: {eot: 4}")
    assert other != plain
    assert more == 4 * n_gradients
