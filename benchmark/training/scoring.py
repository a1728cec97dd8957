"""What a card says of the weights: a small grid of the recipe's own, run by the harness like any other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ... import UserError
from ..config.grid import Grid
from ..config.grid import resolve as resolve_grid
from ..config.reading import Document
from ..progress import Reporter
from ..runtime import Settings
from ..store.directory import RunDirectory

#: The columns of a row that a card repeats.
_COLUMNS = (
    *("cell_id", "dataset", "dataset_sha256", "attack", "attack_params", "epsilon_label", "side"),
    *("rank1_clean", "rank1_attacked", "mAP_clean", "mAP_attacked"),
)


def grid_about(model: dict[str, Any], recipe: Document) -> Grid:
    """The grid that a recipe's `scores` asks for, about one model.

    Args:
        model: an entry of a grid's `models`.
        recipe: the whole recipe; relative paths start where it lies.

    Raises:
        UserError: a name or number in `scores` that no grid could have.
    """
    asked = {"name": model["name"], "models": [model], **recipe.data["scores"]}
    return resolve_grid(replace(recipe, name=f"{recipe.name}: scores", text=json.dumps(asked), data=asked, lines={}))


def score_weights(grid: Grid, out: Path, settings: Settings, reporter: Reporter) -> list[dict[str, Any]]:
    """Run the grid into the run directory `out`; one record a cell, scores as fractions.

    Raises:
        UserError: a cell failed; its row says why.
    """
    from ..runner.run import run_grid

    run_grid(grid, out, settings, reporter)
    frame = RunDirectory(out).load()
    failed = frame[frame["status"] != "done"]
    if len(failed):
        raise UserError(f"The new weights could not be scored: {failed['reason'].iloc[0]}; see {str(out)!r}.")
    return [{name: row[name] for name in _COLUMNS} for row in frame.to_dict("records")]
