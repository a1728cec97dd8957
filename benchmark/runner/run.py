"""A whole grid: open what it names, see what stands, run the rest group by group."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ... import StorageError
from ..config.grid import Grid
from ..datasets.decoded import DecodedImages, decode
from ..datasets.opening import open_sets
from ..datasets.retrieval import SIDE_NAMES, SideName
from ..planner import Cost, Group, Plan, make_plan
from ..progress import Reporter, Stage, staged
from ..records import Cell, Environment, Row, digest
from ..runtime import Settings, environment, exact, kept_memory, pick_device
from ..selection import select_cells
from ..store.directory import RunDirectory
from .attacking import Arena, describe, is_out_of_memory
from .batches import SideImages
from .features import CleanFeatures, embed, feature_identity, keep_features, load_features
from .group import GroupRun
from .journal import Journal, sweep_journals
from .keeping import Keeping
from .loading import LoadedModel, Models
from .scoring import Scorer


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
    runner = _Runner(
        plan=plan,
        device=device,
        settings=settings,
        reporter=reporter,
        run=run,
        models=Models(device=device, settings=settings, reporter=reporter, modules=modules or {}),
        keeping=frozenset(cell.cell_id for cell in keeping if settings.keep_images),
    )
    again = {"never": set(), "failed": {"failed"}, "always": {"done", "failed", "skipped"}}[settings.again]

    def to_run(stands: Mapping[str, str]) -> list[Cell]:
        return [cell for cell in chosen if stands.get(cell.cell_id) in {None, *again}][: settings.limit]

    ahead = to_run(run.stands())
    runner.models.check({cell.model.label: cell.model for cell in ahead}.values())
    runner.decode_sets(ahead)
    with runner.run.writing(), exact(device), kept_memory():
        stands = runner.run.stands()
        pending = to_run(stands)
        runner.run.note_plan(grid.text, plan.cells)
        n_stood = sum(cell.cell_id in stands for cell in plan.cells)
        reporter.note(f"{path}: {len(plan.cells)} cells, {n_stood} stand already, {len(pending)} to run on {device}.")
        runner.execute({cell.cell_id for cell in pending})
    return Summary(path=path, n_cells=len(plan.cells), n_stood=n_stood, **runner.landed)


@dataclass(kw_only=True)
class _Runner:
    """What a run keeps between groups."""

    plan: Plan
    device: torch.device
    settings: Settings
    reporter: Reporter
    run: RunDirectory
    #: Ids of the cells whose images are kept.
    keeping: frozenset[str]
    models: Models
    landed: dict[str, int] = field(default_factory=lambda: {"n_done": 0, "n_failed": 0, "n_skipped": 0})
    #: Ids of the cells that have a row of this run.
    _rows: set[str] = field(default_factory=set)
    _decoded: dict[str, DecodedImages] = field(default_factory=dict)
    #: The clean features in use: their identity, and who scores with them.
    _clean: tuple[str, Scorer] | None = None

    def decode_sets(self, cells: Collection[Cell]) -> None:
        """Decode every data set of the cells once, so that a broken image is found before any work is done."""
        for cell in cells:
            self._pixels(cell.dataset.label)

    def _pixels(self, label: str) -> DecodedImages:
        if label not in self._decoded:
            opened = self.plan.sets[label]
            with staged(self.reporter, f"decoding {label}", len(opened.data.paths)) as stage:
                self._decoded[label] = decode(
                    opened.data, opened.manifest, workers=self.settings.workers, advance=stage.advance
                )
        return self._decoded[label]

    def execute(self, wanted: Collection[str]) -> None:
        groups = self.plan.groups(wanted)
        sweep_journals(self.run, {self._group_id(group) for group in groups})
        facts = environment(self.device)
        works = [(self.plan.cost(group, shared=True) or Cost()).work for group in groups]
        with staged(self.reporter, "grid", sum(works)) as whole:
            for index, (group, work) in enumerate(zip(groups, works, strict=True)):
                title = f"[{index + 1}/{len(groups)}] {group.title} ({len(group.cells)} cells)"
                with staged(self.reporter, title, work) as stage:
                    self._run_group(group, facts, _Both(whole, stage, work))

    def _run_group(self, group: Group, facts: Environment, both: _Both) -> None:
        """Every cell of a group; where memory does not suffice, those without a row again with half as many images."""
        first, failed = group.cells[0], dict[str, str]()

        def fail(cell: Cell, reason: str, trace: str) -> None:
            self.reporter.note(f"failed: {cell.label}: {reason}" + (f"\n{trace}" if trace else ""))
            failed[cell.cell_id] = reason
            row = Row(cell=cell, status="failed", reason=reason, environment=facts)
            self.run.commit(row)
            self._count(row)

        def fail_all(reason: str, trace: str) -> None:
            for cell in self._without_row(group):
                fail(cell, reason, trace if cell is first else "")

        if first.model.label in self.models.broken:
            fail_all(self.models.broken[first.model.label], "")
            return
        while True:
            try:
                self._attack_group(group, facts, both.started_anew(), fail)
            except StorageError:
                raise
            except Exception as error:  # noqa: BLE001 (a model that fails on clean images fails all its cells)
                fewer = self._halved(first) if is_out_of_memory(error) else None
                if fewer:
                    self.reporter.note(f"Out of memory on {self.device}: going on with batches of {fewer}.")
                    continue
                fail_all(describe(error), traceback.format_exc())
            return

    def _without_row(self, group: Group) -> tuple[Cell, ...]:
        return tuple(cell for cell in group.cells if cell.cell_id not in self._rows)

    def _attack_group(
        self, group: Group, facts: Environment, both: _Both, fail: Callable[[Cell, str, str], None]
    ) -> None:
        cells = self._without_row(group)
        if not cells:
            return
        first = cells[0]
        model = self.models.ready(first, self._batch_size(first))
        scorer, spent = self._clean_features(first, model)
        data = self.plan.sets[first.dataset.label].data
        keeping = Keeping(
            run=self.run,
            data=data,
            clean=scorer.clean,
            images=lambda side: self._images(first, side),
            count=self.settings.keep_images,
            cells=self.keeping,
        )
        arena = Arena(
            run=self.run,
            journal=Journal(run=self.run, group_id=self._group_id(group)),
            data=data,
            embedder=model.embedder,
            twin=model.twin,
            images=keeping.images,
            batch_size=self._batch_size(first),
            keeping=keeping,
            advance=both.advance,
            fail=fail,
        )
        GroupRun(
            group=Group(cells=cells),
            arena=arena,
            clean=scorer.clean,
            scorer=scorer,
            environment=facts,
            device=self.device,
            clean_spent=spent,
            landed=self._count,
        ).execute()

    def _count(self, row: Row) -> None:
        self.landed[f"n_{row.status}"] += 1
        self._rows.add(row.cell.cell_id)

    def _group_id(self, group: Group) -> str:
        """Names a journal: its features hold for one device and thread count; its batches carry their size."""
        arithmetic = self.settings.fast_with if group.cells[0].precision == "fast" else ""
        return digest(
            [group.cells[0].group_key, arithmetic, str(self.device), torch.get_num_threads(), torch.__version__]
        )

    def _image_size(self, cell: Cell) -> tuple[int, int]:
        """Of the largest images that a cell perturbs."""
        if cell.perturb_at == "input" and cell.model.input_size is not None:
            return cell.model.input_size
        return max(self.plan.sets[cell.dataset.label].manifest.shapes, key=lambda shape: shape[0] * shape[1])

    def _batch_size(self, cell: Cell) -> int:
        return self.models.batch_size(cell, self._image_size(cell))

    def _halved(self, cell: Cell) -> int | None:
        return self.models.halve(cell, self._image_size(cell))

    @property
    def _ranking_device(self) -> str:
        """MPS knows no float64."""
        return str(self.device) if self.device.type == "cuda" else "cpu"

    def _images(self, cell: Cell, side: SideName) -> SideImages:
        opened = self.plan.sets[cell.dataset.label]
        return SideImages(
            decoded=self._pixels(cell.dataset.label),
            first=0 if side == "query" else len(opened.data.query),
            perturb_at=cell.perturb_at,
            input_size=cell.model.input_size,
            device=self.device,
        )

    def _clean_features(self, cell: Cell, model: LoadedModel) -> tuple[Scorer, int]:
        """Who scores a cell's model on its data, and the clean passes that took."""
        size = self._batch_size(cell)
        identity = feature_identity(cell.model, cell.dataset, cell.perturb_at, size, self.device)
        key, spent = digest(identity), 0
        if self._clean is None or self._clean[0] != key:
            found = load_features(self.run, identity)
            if found is None:
                data = self.plan.sets[cell.dataset.label].data
                title = f"clean features of {cell.model.label} on {cell.dataset.label}"
                with staged(self.reporter, title, len(data.paths)) as stage:
                    query, gallery = (
                        embed(model.embedder, self._images(cell, side), len(data.side(side)), size, stage.advance)
                        for side in SIDE_NAMES
                    )
                found = CleanFeatures(query=query, gallery=gallery)
                keep_features(self.run, identity, found)
                spent = len(data.paths)
            self._clean = (key, Scorer(metric=cell.model.metric, clean=found, device=self._ranking_device))
        return self._clean[1], spent


@dataclass
class _Both:
    """Moves the bar of the grid and that of the group."""

    whole: Stage
    stage: Stage
    work: float
    _done: float = 0.0

    def advance(self, share: float) -> None:
        self._done += share
        self.whole.advance(share * self.work)
        self.stage.advance(share * self.work)

    def started_anew(self) -> _Both:
        """Itself, with nothing done."""
        if self._done:
            self.advance(-self._done)
        return self
