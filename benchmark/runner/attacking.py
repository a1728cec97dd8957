"""Attacking one side of a data set: all cells of a group on one batch, then the next, each batch kept as it ends."""

from __future__ import annotations

import io
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ... import StorageError
from ...attacks.counts import quantise
from ...attacks.draw import Draw
from ...attacks.loss import FeatureMemo, Loss
from ...attacks.norms import NORM
from ...attacks.references import Selection, to_references
from ...models.base import Embedder
from ..datasets.retrieval import RetrievalSet, SideName
from ..evaluation import NonFiniteFeatureError
from ..planner import reference_key
from ..records import Cell
from ..store.directory import RunDirectory
from .batches import Batch, SideImages, make_batches
from .features import to_rows
from .journal import BatchResult, Journal


@dataclass(frozen=True, kw_only=True)
class Bank:
    """The references of every image of the attacked side: counts (N,) and mean features (N, D)."""

    selection: Selection
    counts: NDArray[np.int64]
    means: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Everything that the cells of a group share while they run."""

    run: RunDirectory
    journal: Journal
    data: RetrievalSet
    embedder: Embedder
    images: Callable[[SideName], SideImages]
    batch_size: int
    keep_images: int
    #: Told (units of work done, of how many) after each batch.
    advance: Callable[[float], None]
    #: Told when a cell fails: the cell, the reason, the traceback.
    fail: Callable[[Cell, str, str], None]
    #: Cells that failed, by id.
    failed: dict[str, str] = field(default_factory=dict)


def attack_side(
    arena: Arena, cells: Sequence[Cell], side: SideName, bank: Callable[[Cell], Bank], *, name: str = "", share: float
) -> None:
    """Run cells on one side and leave what they find in the journal.

    Args:
        arena: what they share.
        cells: cells of one group.
        side: the side whose images are changed.
        bank: references of a cell; cells with equal reference keys get equal ones.
        name: tells journals of one side apart.
        share: the part of the group's work that this is, for progress.
    """
    keys = list(dict.fromkeys(reference_key(cell) for cell in cells))
    for key in keys:
        same = [cell for cell in cells if reference_key(cell) == key]
        references = bank(same[0])
        batches = list(named_batches(arena, side, references.selection, key, name))
        for label, batch in batches:
            known = arena.journal.cells(label)
            todo = [cell for cell in same if cell.cell_id not in known and cell.cell_id not in arena.failed]
            if todo:
                found = _run_batch(arena, todo, side, references, batch)
                if found:
                    arena.journal.write(label, found)
            arena.advance(share / len(keys) / len(batches))


def named_batches(
    arena: Arena, side: SideName, selection: Selection, key: tuple[str, int], name: str
) -> Iterator[tuple[str, Batch]]:
    """The batches of the attacked images of a side, and what the journal calls them."""
    sizes = arena.images(side).sizes(len(arena.data.side(side)))
    policy, seed = key
    for index, batch in enumerate(make_batches(sizes, selection.attacked, arena.batch_size)):
        yield f"{side}-{policy}-{seed}{name and '-'}{name}-{index:06d}", batch


def _run_batch(arena: Arena, cells: Sequence[Cell], side: SideName, bank: Bank, batch: Batch) -> dict[str, BatchResult]:
    people = arena.data.side(side)
    images = arena.images(side).load(batch)
    n_real = len(batch.indices)
    references = to_references(batch.pad(bank.counts[batch.indices]), batch.pad(bank.means[batch.indices]), images)  # type: ignore[arg-type]
    memo = FeatureMemo(arena.embedder, n_real)
    ids = tuple(people.paths[index] for index in batch.indices) + ("",) * (batch.size - n_real)
    losses: dict[str, Loss] = {}
    found = {}
    for cell in cells:
        objective = cell.attack.objective
        loss = losses.setdefault(objective, Loss(memo, cell.attack.objective_for(cell.goal), references))
        try:
            found[cell.cell_id] = _attempt(cell, loss, memo, images, Draw(cell.seed, ids), n_real, arena, batch, side)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever a model or an attack does wrong is a result)
            arena.failed[cell.cell_id] = describe(error)
            arena.fail(cell, describe(error), traceback.format_exc())
    return found


def describe(error: Exception) -> str:
    """A failure in one line."""
    text = " ".join(str(error).split()) or "no message"
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        text += "; a smaller --batch-size needs less memory"
    return f"{type(error).__name__}: {text}"[:1000]


def _attempt(
    cell: Cell,
    loss: Loss,
    memo: FeatureMemo,
    images: Tensor,
    draw: Draw,
    n_real: int,
    arena: Arena,
    batch: Batch,
    side: SideName,
) -> BatchResult:
    started, before = time.perf_counter(), loss.passes
    (attempt,) = cell.attack.build()(loss, images, [cell.threat], draw)
    scored = quantise(attempt.images, images)
    is_rounded = not torch.equal(scored, attempt.images)
    features = to_rows(memo.features(scored), n_real)
    unrounded = to_rows(memo.features(attempt.images), n_real) if is_rounded else None
    if not all(np.isfinite(rows).all() for rows in (features, unrounded) if rows is not None):
        raise NonFiniteFeatureError("the model gives features that are not finite on attacked images")
    delta = (attempt.images.double() - images.double())[:n_real]
    _keep_images(arena, cell, side, batch, scored)
    return BatchResult(
        features=features,
        unrounded=unrounded,
        linf=NORM["linf"].measure(delta).cpu().numpy(),
        l2=NORM["l2"].measure(delta).cpu().numpy(),
        passes=loss.passes - before,
        seconds=time.perf_counter() - started,
        flags=attempt.flags,
    )


def _keep_images(arena: Arena, cell: Cell, side: SideName, batch: Batch, scored: Tensor) -> None:
    """Write the first `keep_images` images of the side, as 8-bit PNG under their own names."""
    from PIL import Image

    people = arena.data.side(side)
    for row, index in enumerate(batch.indices.tolist()):
        if index >= arena.keep_images:
            continue
        pixels = (scored[row] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        place = (arena.run.images(cell.cell_id) / people.paths[index]).with_suffix(".png")
        arena.run.write(place, buffer.getvalue())
