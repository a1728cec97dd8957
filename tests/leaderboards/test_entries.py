"""Models of run and leaderboard directories become entries: told apart, joined, never mixed up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid import InvalidFileError, UserError
from robustreid.leaderboards.entries import read_entries

CELLS = [{"model": model, "side": "query", "attack": attack} for model in ("a", "b") for attack in ("fna", "noise")]


def labels(*paths: Path) -> list[str]:
    """What the entries are called."""
    return [entry.label for entry in read_entries(paths)]


@pytest.fixture
def board(make_run: Callable[..., Path], tmp_path: Path) -> Path:
    """A board of one accepted submission with one attack that somebody found."""
    folder = tmp_path / "board"
    entry = folder / "entries" / "mine"
    make_run(entry / "results", [{"model": "mine", "side": "query", "attack": "fna"}])
    note: dict[str, Any] = {"provenance": "reproduced", "is_adaptively_evaluated": True, "card": {"title": "<b>"}}
    (entry / "acceptance.json").write_text(json.dumps(note))
    found = make_run(folder / "found" / "mine-1", [{"model": "mine", "side": "query", "attack": "found-1"}])
    (found / "found.json").write_text(json.dumps({"entry": "mine", "finder": "A. Finder"}))
    return folder


def test_a_run_has_an_entry_a_model(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """In the order of the grid, each with its own cells."""
    entries = read_entries([make_run(tmp_path / "run", CELLS)])
    assert [(entry.label, len(entry.measurements), entry.provenance) for entry in entries] == [
        ("a", 2, "own run"),
        ("b", 2, "own run"),
    ]


def test_one_model_in_two_runs_is_one_entry(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """With the cells of both; a row counts more than none."""
    first = make_run(
        tmp_path / "one", [{**CELLS[0], "status": "missing", "sha": "5" * 64}, {**CELLS[1], "sha": "5" * 64}]
    )
    second = make_run(tmp_path / "two", [{**CELLS[0], "sha": "5" * 64}])
    (entry,) = read_entries([first, second])
    assert sorted(m.status for m in entry.measurements) == ["done", "done"]


def test_two_models_of_one_label_are_told_apart(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """By the digest of their weights."""
    one = make_run(tmp_path / "one", [{**CELLS[0], "sha": "1" * 64}])
    two = make_run(tmp_path / "two", [{**CELLS[0], "sha": "2" * 64}])
    assert labels(one, two) == ["a (11111111)", "a (22222222)"]


def test_a_board_brings_what_was_found(board: Path) -> None:
    """The found attack counts against the entry, with credit."""
    (entry,) = read_entries([board])
    attacks = {m.row["attack"]: entry.finders.get(m.cell_id, "") for m in entry.measurements}
    assert attacks == {"fna": "", "found-1": "A. Finder"}
    assert (entry.provenance, entry.is_adaptively_evaluated, entry.card) == ("reproduced", True, {"title": "<b>"})


def test_a_found_attack_belongs_to_one_entry(board: Path) -> None:
    """The planted bug would give it to everybody: another entry has only its own cells."""
    shutil.copytree(board / "entries" / "mine", board / "entries" / "other")
    sizes = {entry.label: len(entry.measurements) for entry in read_entries([board])}
    assert sizes == {"mine": 2, "other": 1}


@pytest.mark.parametrize("content", ["", "[]", '{"provenance": "trust me"}', "[" * 10_000])
def test_a_wrong_note_is_refused(board: Path, content: str) -> None:
    """It is named."""
    (board / "entries" / "mine" / "acceptance.json").write_text(content)
    with pytest.raises(InvalidFileError, match=r"acceptance\.json"):
        read_entries([board])


def test_neither_run_nor_board(tmp_path: Path) -> None:
    """One sentence."""
    with pytest.raises(UserError, match="is no run directory"):
        read_entries([tmp_path])
