"""The command beside a number means exactly its cell."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from robustreid.benchmark.selection import matcher
from robustreid.reports.reproduce import Selector

LABELS = [
    "osnet mini ama-ifgsm linf 4/255 gallery",
    "osnet mini ama-ifgsm linf 14/255 gallery",
    "osnet mini ama-ifgsm linf 4/255 query",
    "osnet mini ama-ifgsm(steps=3) linf 4/255 gallery",
    "osnet2 mini ama-ifgsm linf 4/255 gallery",
    "OSNET mini2 ama-ifgsm linf 4/255 gallery",
    "osnet mini ama-ifgsm linf 4/255 gallery targeted",
    "osnet mini ama-ifgsm linf 4/255 gallery targeted seed=1",
    "osnet mini ama-ifgsm linf 4/255 gallery targeted seed=11",
    "not and or linf 4/255 gallery",
]


def chosen(command: str | None, labels: list[str]) -> list[str]:
    """What `robustreid run` makes of a command's `-k`."""
    assert command is not None
    words = shlex.split(command)
    matches = matcher(words[words.index("-k") + 1])
    return [label for label in labels if matches(label)]


@pytest.mark.parametrize("label", LABELS)
def test_a_command_selects_its_cell_alone(label: str) -> None:
    """Among names that are parts of each other, with parentheses, and with words of the language itself."""
    command = Selector(LABELS).command(label)
    assert command is not None
    assert command.startswith("robustreid run grid.yml --out again -k ")
    assert chosen(command, LABELS) == [label]


def test_every_cell_of_a_grid() -> None:
    """A whole grid, cell by cell."""
    grid = [
        f"{m} mini {a} linf {k}/255 {s}" for m in ("a", "aa", "b") for a in ("x", "x-y") for k in (1, 11) for s in "qg"
    ]
    selector = Selector(grid)
    assert [chosen(selector.command(label), grid) for label in grid] == [[label] for label in grid]


@given(st.lists(st.text("ab ().=/1'\"$;", min_size=1, max_size=12), min_size=1, max_size=6))
def test_never_another_cell(labels: list[str]) -> None:
    """Whatever the labels are: exactly this one, or no command at all."""
    selector = Selector(labels)
    for label in labels:
        command = selector.command(label)
        if command is not None:
            assert {found.lower() for found in chosen(command, labels)} == {label.lower()}


def test_no_expression_where_there_can_be_none() -> None:
    """Two cells of one label, and a label that holds every word of another, have none."""
    assert Selector(["a b", "a b"]).command("a b") is None
    assert Selector(["a b"]).command("c") is None
