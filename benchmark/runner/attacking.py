"""Attacking one side of a data set: all cells of a group on one batch, then the next, each batch kept as it ends."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ... import StorageError
from ...attacks.draw import Draw
from ...attacks.loss import FeatureMemo
from ...attacks.references import References, Selection, to_references
from ...models.precision import Arithmetic, switched
from ..costs import reference_key
from ..datasets.retrieval import RetrievalSet, SideName
from ..records import Cell
from ..store.directory import RunDirectory
from .batches import Batch, SideImages, make_batches
from .failures import describe, is_out_of_memory
from .hills import Hills
from .journal import BatchResult, Journal
from .judging import Judge
from .keeping import Keeper, Keeping
from .loading import LoadedModel
from .prefetch import ahead
from .scoring import Scorer
from .surroundings import Surroundings
from .walks import Walked, score_walk, walk_alone, walk_ensemble


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
    #: The model whose gradients are followed.
    walker: LoadedModel
    #: The models that are scored, by label; the walker is one of them where it is attacked itself. And who scores.
    victims: Mapping[str, LoadedModel]
    scorers: Mapping[str, Scorer]
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
    policy, seed = key
    for index, batch in enumerate(make_batches(arena.images(side).kinds, selection.attacked, arena.batch_size)):
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
    walker = arena.walker.of(batch.modality)
    walked_memo = FeatureMemo(batch.placed(walker.embedder), n_real)
    memos = {walker.label: walked_memo}
    arithmetic: Arithmetic = "float32"
    if walker.twin:
        follower, arithmetic = walker.twin
        walked_memo = FeatureMemo(batch.placed(follower), n_real)
    for label in {cell.model.label for cell in cells} - memos.keys():
        memos[label] = FeatureMemo(batch.placed(arena.victims[label].of(batch.modality).embedder), n_real)
    ids = tuple(people.paths[index] for index in batch.indices) + ("",) * (batch.size - n_real)
    hills = Hills(
        memo=walked_memo,
        references=bank.of_batch(batch, images),
        surroundings=bank.surroundings,
        batch=batch,
        images=images,
        is_first=bool(batch.indices[0] == bank.selection.attacked[0]),
    )
    walks: dict[Hashable, Walked] = {}
    doubts: dict[str, frozenset[str]] = {}

    def walk(cell: Cell) -> Walked:
        attack, draw = cell.attack, Draw(cell.seed, ids)
        lens = walker.lens(attack.lens)
        if attack.is_ensemble:
            victim = memos[cell.model.label]
            scorer = arena.scorers[cell.model.label]

            def scored(images: Tensor) -> Tensor:
                with switched("float32"):  # what a judge sees is what is scored
                    return victim.features(images)

            judge = Judge(data=arena.data, scorer=scorer, batch=batch, features=scored)
            return walk_ensemble(
                cell,
                lambda member: hills.of(member.objective, lens, draw).loss,
                {walked_memo, victim},
                judge,
                images,
                draw,
            )
        hill = hills.of(attack.objective_for(cell.goal), lens, draw)
        doubts[cell.cell_id] = hill.flags if attack.optimiser.uses_gradients else frozenset()
        known = walks.get(what := (attack, cell.threat, draw))
        # Attacked once, whoever is scored on it.
        walks[what] = walk_alone(cell, hill.loss, images, draw) if known is None else known.again()
        return walks[what]

    def finish(cell: Cell) -> BatchResult:
        result, scored = score_walk(cell, walked[cell.cell_id], memos[cell.model.label], images)
        flags = result.flags | doubts.get(cell.cell_id, frozenset())
        if arithmetic != "float32":
            flags |= {f"gradients-{arithmetic}"}
        result = replace(result, flags=flags)
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
