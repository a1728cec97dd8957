"""Scoring images that somebody attacked elsewhere, as a cell like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ... import UserError
from ...attacks.references import select
from ..config.grid import Grid
from ..datasets.decoded import decode
from ..datasets.opening import OpenSet, open_sets
from ..planner import make_plan
from ..prepared import PreparedImages, check_prepared, prepared_attack
from ..progress import Reporter
from ..records import Cell
from ..runtime import Settings
from .batches import make_batches
from .run import Summary, run_grid
from .scenes import scene_of

#: Images that are resized at once while they are compared.
_CHUNK = 64


def score_prepared(
    grid: Grid, images: PreparedImages, finder: str, path: Path, settings: Settings, reporter: Reporter
) -> Summary:
    """Score prepared images on the model, data set, side and radius of a grid; its own attacks are left aside.

    Args:
        grid: one model, one data set, one radius; the side of the images.
        images: what somebody made.
        finder: who.
        path: the run directory.
        settings: how.
        reporter: told how far it is.

    Raises:
        UserError: the grid is about more than one cell an attack, or about another side.
        InvalidFileError: an image is not one of the set, not of its size, or beyond the budget; nothing is written.
    """
    attack = prepared_attack(images, finder, grid.attacks[0].references)
    asked = replace(grid, attacks=(attack,), exclusions=(), checks="quick")
    sets, _ = open_sets(asked.datasets, workers=settings.workers, reporter=reporter)
    cells = make_plan(asked, sets).cells
    if len(cells) != 1 or cells[0].side != images.side:
        raise UserError(
            f"The images are of the {images.side} side; expected those of one cell, of side {cells[0].side}."
        )
    opened = sets[cells[0].dataset.label]
    check_prepared(images, opened.data, _clean(cells[0], opened, images, settings.workers), cells[0].threat)
    return run_grid(asked, path, settings, reporter)


def _clean(cell: Cell, opened: OpenSet, images: PreparedImages, workers: int | None) -> dict[str, NDArray[np.uint8]]:
    """(H, W, 3) of every clean image that was prepared and that the adversary may change, where it is perturbed."""
    data, side = opened.data, images.side
    other = data.gallery if side == "query" else data.query
    selection = select(cell.attack.references, attacked=data.side(side).people, reference=other.people)
    wanted = [index for index in selection.attacked.tolist() if data.side(side).paths[index] in images.files]
    scene = scene_of(opened, decode(data, opened.manifest, workers=workers))
    source = scene.images(
        side, perturb_at=cell.perturb_at, input_size=cell.walker.input_size, device=torch.device("cpu")
    )
    found = {}
    for batch in make_batches(source.kinds, np.array(wanted, dtype=np.int64), _CHUNK):
        counts = (source.load(batch) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        for place, index in enumerate(batch.indices.tolist()):
            found[data.side(side).paths[index]] = counts[place]
    return found
