"""What a card says of the weights: a small grid of the recipe's own, run by the harness like any other."""

from __future__ import annotations

import json
from collections.abc import Mapping
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


def grid_about(model: Mapping[str, Any], recipe: Document, section: str, asked: Mapping[str, Any]) -> Grid:
    """The grid that a section of a recipe asks for, about one model.

    Args:
        model: an entry of a grid's `models`.
        recipe: the whole recipe; relative paths start where it lies.
        section: its name, for what is wrong with it.
        asked: its keys: data sets, attacks, epsilons, side ...

    Raises:
        UserError: a name or number in it that no grid could have.
    """
    for key in ("name", "models", "surrogates"):
        if key in asked:
            raise UserError(
                f"{recipe.where((section, key))}: the grid of a recipe is about its own network; leave {key!r} out."
            )
    whole = {"name": model["name"], **asked, "models": [dict(model)]}
    name = f"{recipe.name}: {section}"
    return resolve_grid(replace(recipe, name=name, text=json.dumps(whole, default=str), data=whole, lines={}))


def score_weights(grid: Grid, out: Path, settings: Settings, reporter: Reporter) -> list[dict[str, Any]]:
    """Run the grid into the run directory `out`; one record a cell, scores as fractions.

    Raises:
        UserError: a cell failed; its row says why.
    """
    from ..runner.run import run_grid

    run_grid(grid, out, replace(settings, again="failed"), reporter)
    frame = RunDirectory(out).load()
    failed = frame[frame["status"] != "done"]
    if len(failed):
        raise UserError(f"The new weights could not be scored: {failed['reason'].iloc[0]}; see {str(out)!r}.")
    return [{name: row[name] for name in _COLUMNS} for row in frame.to_dict("records")]
