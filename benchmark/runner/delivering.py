"""Where finished cells go: into the store at once, or together once every split of them is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from ...attacks.loss import Passes
from ..evaluation import over_trials
from ..records import Cell, Environment, Outcome, Row
from ..store.directory import RunDirectory

#: The per-query table of a cell, given the cell that its rows name and the number of its first trial.
TableOf = Callable[[Cell, int], pa.Table]


class Delivery(Protocol):
    """Takes what cells come to."""

    def done(self, cell: Cell, outcome: Outcome, table_of: TableOf) -> None:
        """A cell that was scored."""
        ...

    def skipped(self, cell: Cell, reason: str) -> None:
        """A cell with nothing to do."""
        ...


@dataclass(frozen=True, kw_only=True)
class Store:
    """Writes a row as soon as its cell is done."""

    run: RunDirectory
    environment: Environment
    #: Told each row as it is written.
    landed: Callable[[Row], None]

    def done(self, cell: Cell, outcome: Outcome, table_of: TableOf) -> None:
        row = Row(cell=cell, status="done", outcome=outcome, environment=self.environment)
        self.run.commit(row, table_of(cell, 0))
        self.landed(row)

    def skipped(self, cell: Cell, reason: str) -> None:
        row = Row(cell=cell, status="skipped", reason=reason, environment=self.environment)
        self.run.commit(row)
        self.landed(row)


@dataclass(kw_only=True)
class Splits:
    """Holds what each split of a cell came to, and hands the whole on when the last one is there."""

    whole: Store
    n_splits: int
    #: The split under way, from 0, and which cell each of its cells is a part of, by id.
    number: int = 0
    parents: Mapping[str, Cell] = field(default_factory=dict)
    #: By id of the whole cell, what its splits came to so far.
    _parts: dict[str, list[tuple[Outcome, pa.Table]]] = field(default_factory=dict)
    #: Ids of whole cells that have a row already.
    settled: set[str] = field(default_factory=set)

    def done(self, cell: Cell, outcome: Outcome, table_of: TableOf) -> None:
        parent = self.parents[cell.cell_id]
        parts = self._parts.setdefault(parent.cell_id, [])
        parts.append((outcome, table_of(parent, self.number)))
        if len(parts) == self.n_splits:
            table = pa.concat_tables([part for _, part in parts])
            self.whole.done(parent, merged([each for each, _ in parts]), lambda *_: table)
            self.settled.add(parent.cell_id)

    def skipped(self, cell: Cell, reason: str) -> None:
        parent = self.parents[cell.cell_id]
        self.settled.add(parent.cell_id)
        self.whole.skipped(parent, f"split {self.number + 1}: {reason}")


def merged(parts: Sequence[Outcome]) -> Outcome:
    """One outcome of all splits: scores are means over them, costs are sums, extremes are extremes."""
    n_attacked = sum(part.n_attacked for part in parts)
    return Outcome(
        clean=over_trials([part.clean for part in parts]),
        attacked=over_trials([part.attacked for part in parts]),
        attacked_float=over_trials([part.attacked_float for part in parts]),
        n_attacked=n_attacked,
        passes=sum((part.passes for part in parts), Passes()),
        seconds=sum(part.seconds for part in parts),
        peak_memory_bytes=max(part.peak_memory_bytes for part in parts),
        batch_size=min(part.batch_size for part in parts),
        linf_max=max(part.linf_max for part in parts),
        l2_mean=sum(part.l2_mean * part.n_attacked for part in parts) / n_attacked,
        flags=tuple(sorted(frozenset().union(*(part.flags for part in parts)))),
    )
