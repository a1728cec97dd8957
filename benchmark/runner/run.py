"""A whole grid: open what it names, see what stands, run the rest group by group."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ... import StorageError
from ..config.grid import Grid
from ..costs import Cost
from ..datasets.opening import open_sets
from ..planner import Group, make_plan
from ..progress import Both, Reporter, staged
from ..records import Cell, Environment, Row
from ..runtime import Settings, environment, exact, kept_memory, pick_device
from ..selection import select_cells
from ..store.directory import RunDirectory
from .delivering import Store
from .failures import describe, is_out_of_memory
from .groups import Groups
from .journal import sweep_journals
from .loading import Models


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended."""

    path: Path
    #: Cells of the grid, and of those how many stood before.
    n_cells: int
    n_stood: int
    #: Rows of this run by status.
    n_done: int
    n_failed: int
    n_skipped: int


def run_grid(
    grid: Grid,
    path: Path,
    settings: Settings,
    reporter: Reporter,
    modules: Mapping[str, torch.nn.Module] | None = None,
) -> Summary:
    """Run every cell of the grid that does not stand yet.

    Args:
        grid: what to run.
        path: the run directory.
        settings: how.
        reporter: told how far it is.
        modules: networks that are in memory already, by the label of their model.

    Raises:
        UserError, InvalidFileError: the request is wrong; nothing has been written.
        StorageError: the file system failed; what was finished stands.
    """
    device = pick_device(settings.device)
    sets, _ = open_sets(grid.datasets, workers=settings.workers, reporter=reporter)
    plan = make_plan(grid, sets)
    chosen = select_cells(plan.cells, settings.select)
    run = RunDirectory(path)
    keeping = select_cells(plan.cells, settings.keep_images_of, option="--keep-images-of")
    groups = Groups(
        plan=plan,
        device=device,
        settings=settings,
        reporter=reporter,
        run=run,
        models=Models(
            device=device, settings=settings, reporter=reporter, modules=modules or {}, adaptive=grid.adaptive
        ),
        checks=grid.checks,
        keeping=frozenset(cell.cell_id for cell in keeping if settings.keep_images),
    )
    runner = _Runner(groups=groups)
    again = {"never": set(), "failed": {"failed"}, "always": {"done", "failed", "skipped"}}[settings.again]

    def to_run(stands: Mapping[str, str]) -> list[Cell]:
        return [cell for cell in chosen if stands.get(cell.cell_id) in {None, *again}][: settings.limit]

    ahead = to_run(run.stands())
    groups.models.check({model.label: model for cell in ahead for model in (cell.model, cell.walker)}.values())
    groups.decode_sets(ahead)
    with run.writing(), exact(device), kept_memory():
        stands = run.stands()
        pending = to_run(stands)
        run.note_plan(grid.text, plan.cells)
        n_stood = sum(cell.cell_id in stands for cell in plan.cells)
        reporter.note(f"{path}: {len(plan.cells)} cells, {n_stood} stand already, {len(pending)} to run on {device}.")
        runner.execute({cell.cell_id for cell in pending})
    return Summary(path=path, n_cells=len(plan.cells), n_stood=n_stood, **runner.landed)


@dataclass(kw_only=True)
class _Runner:
    """Runs what is wanted of a plan, and keeps count."""

    groups: Groups
    landed: dict[str, int] = field(default_factory=lambda: {"n_done": 0, "n_failed": 0, "n_skipped": 0})
    #: Ids of the cells that have a row of this run.
    _rows: set[str] = field(default_factory=set)

    def execute(self, wanted: Collection[str]) -> None:
        groups = self.groups.plan.groups(wanted)
        sweep_journals(self.groups.run, {each for group in groups for each in self.groups.ids(group)})
        facts = environment(self.groups.device)
        works = [(self.groups.plan.cost(group, shared=True) or Cost()).work for group in groups]
        with staged(self.groups.reporter, "grid", sum(works)) as whole:
            for index, (group, work) in enumerate(zip(groups, works, strict=True)):
                title = f"[{index + 1}/{len(groups)}] {group.title} ({len(group.cells)} cells)"
                with staged(self.groups.reporter, title, work) as stage:
                    self._run_group(group, facts, Both(whole, stage, work))

    def _run_group(self, group: Group, facts: Environment, both: Both) -> None:
        """Every cell of a group; where memory does not suffice, those without a row again with half as many images."""
        first, failed = group.cells[0], dict[str, str]()

        def fail(cell: Cell, reason: str, trace: str) -> None:
            self.groups.reporter.note(f"failed: {cell.label}: {reason}" + (f"\n{trace}" if trace else ""))
            failed[cell.cell_id] = reason
            row = Row(cell=cell, status="failed", reason=reason, environment=facts)
            self.groups.run.commit(row)
            self._count(row)

        def fail_all(reason: str, trace: str) -> None:
            for cell in self._without_row(group):
                fail(cell, reason, trace if cell is first else "")

        for cell in group.cells:
            broken = {cell.walker.label, cell.model.label} & self.groups.models.broken.keys()
            if broken:
                fail(cell, self.groups.models.broken[min(broken)], "")
        while True:
            try:
                store = Store(run=self.groups.run, environment=facts, landed=self._count)
                self.groups.attack(group, self._without_row(group), store, both.started_anew().advance, fail)
            except StorageError:
                raise
            except Exception as error:  # noqa: BLE001 (a model that fails on clean images fails all its cells)
                fewer = self.groups.halved(first) if is_out_of_memory(error) else None
                if fewer:
                    place = self.groups.device
                    self.groups.reporter.note(f"Out of memory on {place}: going on with batches of {fewer}.")
                    continue
                fail_all(describe(error), traceback.format_exc())
            return

    def _without_row(self, group: Group) -> tuple[Cell, ...]:
        return tuple(cell for cell in group.cells if cell.cell_id not in self._rows)

    def _count(self, row: Row) -> None:
        self.landed[f"n_{row.status}"] += 1
        self._rows.add(row.cell.cell_id)
