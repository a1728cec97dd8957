"""Attacking one side of a data set: all cells of a group on one batch, then the next, each batch kept as it ends."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ... import StorageError
from ...attacks.base import Attempt
from ...attacks.counts import quantise
from ...attacks.draw import Draw
from ...attacks.loss import FeatureMemo, Loss, Passes
from ...attacks.norms import NORM
from ...attacks.references import References, Selection, to_references
from ...models.base import Embedder
from ...models.precision import Arithmetic, switched
from ..datasets.retrieval import RetrievalSet, SideName
from ..evaluation import NonFiniteFeatureError
from ..planner import reference_key
from ..records import Cell
from ..store.directory import RunDirectory
from .batches import Batch, SideImages, make_batches
from .features import to_rows
from .journal import BatchResult, Journal
from .keeping import Keeper, Keeping
from .prefetch import ahead
from .surroundings import Surroundings


@dataclass(frozen=True, kw_only=True)
class Bank:
    """The references of every image of the attacked side: counts (N,) and mean features (N, D), and who is around."""

    selection: Selection
    counts: NDArray[np.int64]
    means: NDArray[np.float64]
    surroundings: Surroundings

    def of_batch(self, batch: Batch, like: Tensor) -> References:
        """The references of a batch, in the type and place of its images."""
        counts, means, clean = (
            batch.pad(values[batch.indices]) for values in (self.counts, self.means, self.surroundings.clean)
        )
        return to_references(counts, means, like, clean)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Everything that the cells of a group share while they run."""

    run: RunDirectory
    journal: Journal
    data: RetrievalSet
    #: The model that is scored, and whose clean features are known.
    embedder: Embedder
    #: The model whose gradients are followed, and what it computes in; None where it is the same.
    twin: tuple[Embedder, Arithmetic] | None
    images: Callable[[SideName], SideImages]
    batch_size: int
    keeping: Keeping
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
        keepers = _keepers(arena, same, side, references.selection)
        with closing(ahead(_loader(arena, side), batches)) as loaded:
            for (label, batch), clean in loaded:
                done = _done_before(arena, same, keepers, label, batch)
                todo = [cell for cell in same if cell.cell_id not in {*done, *arena.failed}]
                if todo:
                    found = _run_batch(arena, todo, side, references, batch, clean, keepers)
                    if found:
                        arena.journal.write(label, found)
                arena.advance(share / len(keys) / len(batches))


def _loader(arena: Arena, side: SideName) -> Callable[[tuple[str, Batch]], Tensor]:
    images = arena.images(side)
    return lambda named: images.load(named[1])


def named_batches(
    arena: Arena, side: SideName, selection: Selection, key: tuple[str, int], name: str
) -> Iterator[tuple[str, Batch]]:
    """The batches of the attacked images of a side, and what the journal calls them."""
    sizes = arena.images(side).sizes(len(arena.data.side(side)))
    policy, seed = key
    for index, batch in enumerate(make_batches(sizes, selection.attacked, arena.batch_size)):
        yield f"{side}-{policy}-{seed}{name and '-'}{name}-{arena.batch_size}-{index:06d}", batch


def _keepers(arena: Arena, cells: Sequence[Cell], side: SideName, selection: Selection) -> dict[str, Keeper]:
    """Who decides which images are kept, by the id of each cell that keeps any."""
    keeping = [cell for cell in cells if cell.cell_id in arena.keeping.cells and cell.cell_id not in arena.failed]
    return _each(arena, keeping, lambda cell: arena.keeping.keeper(cell, side, selection))


def _done_before(
    arena: Arena, cells: Sequence[Cell], keepers: Mapping[str, Keeper], label: str, batch: Batch
) -> set[str]:
    """Ids of the cells whose results on a batch are in the journal, and all images of it that they need on the disk."""
    known = arena.journal.cells(label) - set(arena.failed)

    def is_kept(cell: Cell) -> bool:
        keeper = keepers.get(cell.cell_id)
        return keeper is None or keeper.has(batch, arena.journal.result(label, cell.cell_id).features)

    found = _each(arena, [cell for cell in cells if cell.cell_id in known], is_kept)
    return {cell_id for cell_id, is_done in found.items() if is_done}


def _run_batch(
    arena: Arena,
    cells: Sequence[Cell],
    side: SideName,
    bank: Bank,
    batch: Batch,
    images: Tensor,
    keepers: Mapping[str, Keeper],
) -> dict[str, BatchResult]:
    """What each cell comes to on a batch, its images kept where they have to be; one that fails is told and left out.

    First every cell walks, then every cell is scored: an image at which one cell is scored may be one at which another
    takes a gradient, and then its feature is there already.
    """
    people = arena.data.side(side)
    n_real = len(batch.indices)
    references = bank.of_batch(batch, images)
    memo = walked_memo = FeatureMemo(batch.placed(arena.embedder), n_real)
    arithmetic: Arithmetic = "float32"
    if arena.twin:
        follower, arithmetic = arena.twin
        walked_memo = FeatureMemo(batch.placed(follower), n_real)
    ids = tuple(people.paths[index] for index in batch.indices) + ("",) * (batch.size - n_real)
    losses: dict[Hashable, Loss] = {}

    def walk(cell: Cell) -> _Walked:
        attack, draw = cell.attack, Draw(cell.seed, ids)
        objective = attack.objective_for(cell.goal)
        key = (objective, attack.lens, cell.seed if attack.draws_in_loss else None)
        if key not in losses:
            seen = references
            if objective.needs_neighbours:
                seen = replace(seen, neighbours=bank.surroundings.of_batch(batch, seen, draw))
            losses[key] = Loss(walked_memo, objective, seen, clean=images, lens=attack.lens, draw=draw)
        return _walk(cell, losses[key], images, draw)

    def finish(cell: Cell) -> BatchResult:
        result, scored = _score(cell, walked[cell.cell_id], memo, images)
        if arithmetic != "float32":
            result = replace(result, flags=result.flags | {f"gradients-{arithmetic}"})
        if keeper := keepers.get(cell.cell_id):
            keeper.keep(batch, result.features, scored)
        return result

    with switched(arithmetic):
        walked = _each(arena, cells, walk)
    return _each(arena, [cell for cell in cells if cell.cell_id in walked], finish)


_T = TypeVar("_T")


def _each(arena: Arena, cells: Sequence[Cell], work: Callable[[Cell], _T]) -> dict[str, _T]:
    """What `work` gives for each cell, by id; where it raises, the cell has failed."""
    found = {}
    for cell in cells:
        try:
            found[cell.cell_id] = work(cell)
        except StorageError:
            raise
        except Exception as error:
            if is_out_of_memory(error) and arena.batch_size > 1:
                raise  # the run goes on with fewer images at once
            # Whatever else a model or an attack does wrong is a result.
            arena.failed[cell.cell_id] = describe(error)
            arena.fail(cell, describe(error), traceback.format_exc())
    return found


def is_out_of_memory(error: Exception) -> bool:
    """Whether fewer images at once may help."""
    if isinstance(error, RuntimeError) and "allocate memory" in str(error):  # how PyTorch says it of a CPU
        return True
    return isinstance(error, torch.OutOfMemoryError | MemoryError)


def describe(error: Exception) -> str:
    """A failure in one line."""
    text = " ".join(str(error).split()) or "no message"
    if is_out_of_memory(error):
        text += "; a smaller --batch-size needs less memory"
    return f"{type(error).__name__}: {text}"[:1000]


@dataclass(frozen=True, kw_only=True)
class _Walked:
    """A batch that a cell has attacked and not scored yet."""

    attempt: Attempt
    passes: Passes
    seconds: float


def _walk(cell: Cell, loss: Loss, images: Tensor, draw: Draw) -> _Walked:
    started, before = time.perf_counter(), loss.passes
    (attempt,) = cell.attack.build()(loss, images, [cell.threat], draw)
    return _Walked(attempt=attempt, passes=loss.passes - before, seconds=time.perf_counter() - started)


def _score(cell: Cell, walked: _Walked, memo: FeatureMemo, images: Tensor) -> tuple[BatchResult, Tensor]:
    """What a cell comes to on a batch, and the 8-bit images that were scored."""
    started, before, n_real = time.perf_counter(), memo.passes, memo.n_real
    attacked = walked.attempt.images
    scored = quantise(attacked, images)
    is_whole = cell.attack.optimiser.is_whole(cell.threat) and torch.equal(scored[:n_real], attacked[:n_real])
    features = to_rows(memo.features(scored), n_real)
    unrounded = None if is_whole else to_rows(memo.features(attacked), n_real)
    if not all(np.isfinite(rows).all() for rows in (features, unrounded) if rows is not None):
        raise NonFiniteFeatureError("the model gives features that are not finite on attacked images")
    delta = (attacked.double() - images.double())[:n_real]
    linf = walked.attempt.norm[:n_real] if cell.threat.norm == "linf" else NORM["linf"].measure(delta)
    result = BatchResult(
        features=features,
        unrounded=unrounded,
        linf=linf.cpu().numpy(),
        l2=NORM["l2"].measure(delta).cpu().numpy(),
        passes=walked.passes + (memo.passes - before),
        seconds=walked.seconds + time.perf_counter() - started,
        flags=walked.attempt.flags,
    )
    return result, scored
