"""One group of cells from clean features to rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from ... import StorageError
from ...attacks.loss import Passes
from ...attacks.references import Selection, select
from ...attacks.reliability.thresholds import ROUNDING
from ..costs import n_clean, reference_key
from ..datasets.retrieval import SideName
from ..planner import Group
from ..records import Cell, Outcome
from ..runtime import peak_memory_bytes
from ..store.schema import query_table
from .attacking import Arena, Bank, attack_side, named_batches
from .checks import Findings
from .delivering import Delivery
from .failures import describe
from .features import CleanFeatures
from .scoring import Scores, problem_of
from .surroundings import Surroundings

#: Raised where attacking both sides leaves a better score than attacking the gallery alone.
FLAG_BOTH_WEAKER = "both-weaker-than-gallery"


def _other(side: SideName) -> SideName:
    return "gallery" if side == "query" else "query"


@dataclass(frozen=True, kw_only=True)
class GroupRun:
    """A group, what its cells share, and what was known before."""

    group: Group
    arena: Arena
    #: Of the model whose gradients are followed.
    clean: CleanFeatures
    device: torch.device
    #: Passes of clean images that this run really made; charged to the first cell.
    clean_spent: int
    #: Where finished cells go.
    delivery: Delivery
    #: What checks found, by label of the model.
    findings: Mapping[str, Findings] = field(default_factory=dict)
    _selections: dict[tuple[SideName, tuple[str, int]], Selection] = field(default_factory=dict)

    def execute(self) -> None:
        """Attack, score and deliver every cell; a cell that fails leaves its row and the others go on."""
        cells = self._with_something_to_attack()
        if not cells:
            return
        if self.group.cells[0].side != "both":
            side: SideName = cells[0].side  # type: ignore[assignment]
            attack_side(self.arena, cells, side, lambda cell: self._bank(cell, side), share=1.0)
            for cell in cells:
                self._finish(cell, {side: lambda cell=cell: self._collect(cell, side)})  # type: ignore[misc]
        else:
            attack_side(self.arena, cells, "gallery", lambda cell: self._bank(cell, "gallery"), share=0.5)
            for cell in cells:
                self._second_side(cell, len(cells))

    def _second_side(self, cell: Cell, n_cells: int) -> None:
        """`both` is sequential: the queries are attacked against the attacked gallery."""
        if cell.cell_id in self.arena.failed:
            return
        gallery = self._collect(cell, "gallery")

        def bank(cell: Cell) -> Bank:
            return self._bank(cell, "query", gallery.features)

        attack_side(self.arena, [cell], "query", bank, name=cell.cell_id, share=0.5 / n_cells)
        self._finish(
            cell,
            {
                "gallery": lambda: gallery,
                "query": lambda: self._collect(cell, "query", cell.cell_id),
            },
        )

    def _with_something_to_attack(self) -> list[Cell]:
        able = []
        for cell in self.group.cells:
            first: SideName = "gallery" if cell.side == "both" else cell.side
            if len(self._selection(cell, first).attacked):
                able.append(cell)
            else:
                reason = f"nothing to attack: no {first} image has a reference under {cell.attack.references}"
                self.delivery.skipped(cell, reason)
        return able

    def _selection(self, cell: Cell, side: SideName) -> Selection:
        """Who is attacked on a side, by which references; one for all cells that agree on it."""
        key = (side, reference_key(cell))
        if key not in self._selections:
            self._selections[key] = select(
                cell.attack.references,
                attacked=self.arena.data.side(side).people,
                reference=self.arena.data.side(_other(side)).people,
                goal=cell.goal,
                seed=cell.seed,
            )
        return self._selections[key]

    def _bank(self, cell: Cell, side: SideName, attacked: NDArray[np.float32] | None = None) -> Bank:
        """The references of a cell on a side: clean features of the other side, or `attacked` ones in their place."""
        selection = self._selection(cell, side)
        data, own = self.arena.data, self.clean.side(side)
        features = self.clean.side(_other(side)) if attacked is None else attacked
        counts, means = selection.bank(features, own)
        surroundings = Surroundings(
            side=side,
            attacked=data.side(side).people,
            other=data.side(_other(side)).people,
            clean=own,
            features=features,
            selection=selection,
            protocol=data.protocol,
        )
        return Bank(selection=selection, counts=counts, means=means, surroundings=surroundings)

    def _collect(self, cell: Cell, side: SideName, name: str = "") -> _SideResult:
        selection = self._selection(cell, side)
        features = self.arena.scorers[cell.model.label].clean.side(side).copy()
        unrounded = features.copy()
        also: dict[str, NDArray[np.float32]] = {}
        found = _SideResult(features=features, unrounded=unrounded, also=also, selection=selection)
        for label, batch in named_batches(self.arena, side, selection, reference_key(cell), name):
            result = self.arena.journal.result(label, cell.cell_id)
            features[batch.indices] = result.features
            unrounded[batch.indices] = result.features if result.unrounded is None else result.unrounded
            for key, others in result.also.items():
                also.setdefault(key, self.arena.scorers[cell.model.label].clean.side(side).copy())
                also[key][batch.indices] = others
            found = replace(
                found,
                linf_max=max(found.linf_max, float(result.linf.max())),
                l2_sum=found.l2_sum + float(result.l2.sum()),
                passes=found.passes + result.passes,
                seconds=found.seconds + result.seconds,
                flags=found.flags | result.flags,
            )
        return found

    def _finish(self, cell: Cell, sides: dict[SideName, Callable[[], _SideResult]]) -> None:
        if cell.cell_id in self.arena.failed:
            return
        started = time.perf_counter()
        try:
            self._score(cell, {side: collect() for side, collect in sides.items()}, started)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 (a score that cannot be computed is a result too)
            import traceback

            self.arena.failed[cell.cell_id] = describe(error)
            self.arena.fail(cell, describe(error), traceback.format_exc())

    def _score(self, cell: Cell, results: dict[SideName, _SideResult], started: float) -> None:
        data = self.arena.data
        main: SideName = "gallery" if cell.side == "both" else cell.side
        problem = problem_of(cell, data, self._selection(cell, main))
        scorer = self.arena.scorers[cell.model.label]
        clean = scorer.clean_scores(problem)
        attacked = scorer.scores(problem, {side: r.features for side, r in results.items()})
        for side, result in results.items():
            for features in result.also.values():
                attacked = _worst(attacked, scorer.scores(problem, {side: features}), cell)
        rounded = any(not np.array_equal(r.features, r.unrounded) for r in results.values())
        unrounded = attacked.means
        if rounded:
            unrounded = scorer.scores(problem, {side: r.unrounded for side, r in results.items()}).means
        flags = frozenset[str]().union(*(result.flags for result in results.values()))
        if cell.side == "both":
            alone = scorer.scores(problem, {"gallery": results["gallery"].features}).means
            if attacked.means.mAP.value > alone.mAP.value:
                flags |= {FLAG_BOTH_WEAKER}
        flags |= self._doubts(cell, attacked.means.mAP.value - unrounded.mAP.value)
        n_attacked = sum(len(result.selection.attacked) for result in results.values())
        clean_spent = self.clean_spent if cell is self.group.cells[0] else 0
        passes = sum(
            (result.passes for result in results.values()),
            Passes(forwards=n_clean(cell, data), forwards_spent=clean_spent),
        )
        outcome = Outcome(
            clean=clean.means,
            attacked=attacked.means,
            attacked_float=unrounded,
            n_attacked=n_attacked,
            passes=passes,
            seconds=sum(result.seconds for result in results.values()) + time.perf_counter() - started,
            peak_memory_bytes=peak_memory_bytes(self.device),
            batch_size=self.arena.batch_size,
            linf_max=max(result.linf_max for result in results.values()),
            l2_mean=sum(result.l2_sum for result in results.values()) / n_attacked,
            flags=tuple(sorted(flags)),
        )
        targets = problem.target_identities

        def table_of(named: Cell, first_trial: int) -> pa.Table:
            return query_table(
                named,
                query_ids=data.query.paths,
                identities=data.query.identities.tolist(),
                cameras=data.query.cameras.tolist(),
                target_identities=None if targets is None else targets.tolist(),
                clean=[queries for queries, _ in clean.by_trial],
                attacked=[queries for queries, _ in attacked.by_trial],
                first_trial=first_trial,
            )

        if cell.cell_id in self.arena.keeping.cells:
            attacked_sides = {side: (result.selection, result.features) for side, result in results.items()}
            self.arena.keeping.finish(cell, attacked_sides)
        self.delivery.done(cell, outcome, table_of)

    def _doubts(self, cell: Cell, rounding: float) -> frozenset[str]:
        """Flags of a cell from the checks of its models, and from what rounding to 8 bit changes of its mAP."""
        nothing = Findings()
        found = self.findings.get(cell.model.label, nothing).features
        found |= self.findings.get(cell.walker.label, nothing).gradients
        return found | {"rounding-changes-score"} if abs(rounding) > ROUNDING else found


def _worst(scores: Scores, other: Scores, cell: Cell) -> Scores:
    """What two adversaries of an ensemble leave: the least AP, and the least hit at rank 1, by themselves.

    Query side: the first one is after the AP of each query, the second after its first place. Gallery side: one
    attacked gallery serves all queries, so whole galleries compete by their means.
    """
    if cell.side == "query":
        return scores.with_hits_of(other)
    by_ap = min(scores, other, key=lambda found: found.means.mAP.value)
    by_hit = min(scores, other, key=lambda found: found.means.rank1.value)
    return by_ap.with_hits_of(by_hit)


@dataclass(frozen=True, kw_only=True)
class _SideResult:
    """What a cell came to on one side."""

    features: NDArray[np.float32]
    unrounded: NDArray[np.float32]
    #: By name, the features of further images that were scored as well.
    also: Mapping[str, NDArray[np.float32]]
    selection: Selection
    linf_max: float = 0.0
    l2_sum: float = 0.0
    passes: Passes = field(default_factory=Passes)
    seconds: float = 0.0
    flags: frozenset[str] = frozenset()
