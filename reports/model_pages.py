"""What the page of a model shows: a section a board, and the cards of its submissions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..leaderboards.entries import Entry
from .boards import Board, BoardRow, combine
from .cameras import camera_rows
from .curves import model_chart
from .naming import slug
from .pages import board_address
from .results import Result, Run

#: What a card may say, in the order of the page; other keys follow.
_CARD = ("title", "authors", "licence", "paper", "code")


def cards(entries: Sequence[Entry]) -> list[tuple[Entry, list[tuple[str, str]]]]:
    """Of each submission among some entries what its card says, and who computed its rows."""
    found = []
    for entry in entries:
        if entry.card or entry.provenance != "own run":
            names = [*_CARD, *(name for name in entry.card if name not in _CARD)]
            facts = [(name, entry.card[name]) for name in names if entry.card.get(name)]
            facts.append(("provenance", entry.provenance))
            if entry.is_adaptively_evaluated is not None:
                facts.append(("adaptively evaluated", "yes" if entry.is_adaptively_evaluated else "no"))
            found.append((entry, facts))
    return found


def model_sections(
    model: str, boards: Sequence[Board], runs: Sequence[Run], rankings: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Of each board that a model is on, what the template asks for.

    Args:
        model: its name on pages.
        boards: all of the site.
        runs: all of the site, which results count.
        rankings: by cell id, the pages of ranking lists.
    """
    sections = []
    for place, board in enumerate(boards):
        found = [result for result in board.results if result.model == model]
        if not found:
            continue
        row = next((row for row in board.rows if row.model == model), None)
        sections.append(
            {
                "board": board,
                "row": row,
                "place": 1 + board.rows.index(row) if row and row.is_complete else None,
                "matrix": _matrix(found),
                "chart": model_chart(board, model),
                "figure_name": f"{slug(model)}-{Path(board_address(board)).stem[:40]}-{place}",
                "cameras": _cameras(row, runs),
                "rankings": [(result, rankings[result.cell_id]) for result in found if result.cell_id in rankings],
            }
        )
    return sections


def _cameras(row: BoardRow | None, runs: Sequence[Run]) -> dict[str, Any] | None:
    if row is None or row.worst is None:
        return None
    result = row.worst.results[0]
    rows = camera_rows(runs[result.run].path, result.cell_id)
    if not rows:
        return None
    return {"attack": row.worst_attack, "seed": result.seed, "n_seeds": row.worst.n_seeds, "rows": rows}


def _matrix(results: Sequence[Result]) -> dict[str, Any]:
    """Attacks x epsilons of one model on one board."""
    by_pair: dict[tuple[str, float], list[Result]] = defaultdict(list)
    for result in results:
        by_pair[result.attack, result.epsilon].append(result)
    epsilons = sorted({(result.epsilon, result.epsilon_label) for result in results})
    attacks = tuple(dict.fromkeys(result.attack for result in results))
    return {
        "epsilons": [label for _, label in epsilons],
        "rows": [
            (attack, [combine(by_pair.get((attack, epsilon), [])) for epsilon, _ in epsilons]) for attack in attacks
        ],
        "clean": next((result for result in results if result.score("mAP_clean") is not None), None),
    }
