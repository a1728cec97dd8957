"""A whole grid: open what it names, see what stands, run the rest group by group."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ... import StorageError
from ...models.base import ModelSpec
from ..config.grid import Grid
from ..costs import Cost
from ..datasets.decoded import DecodedImages, decode
from ..datasets.opening import open_sets
from ..datasets.retrieval import SIDE_NAMES, SideName
from ..planner import Group, Plan, make_plan
from ..progress import Both, Reporter, staged
from ..records import Cell, Checks, Environment, Row, digest
from ..runtime import Settings, environment, exact, kept_memory, pick_device
from ..selection import select_cells
from ..store.directory import RunDirectory
from .attacking import Arena
from .batches import SideImages
from .checks import Checker
from .failures import describe, is_out_of_memory
from .features import CleanFeatures, embed, feature_identity, keep_features, load_features
from .group import GroupRun
from .journal import Journal, sweep_journals
from .keeping import Keeping
from .loading import Models
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
        models=Models(
            device=device, settings=settings, reporter=reporter, modules=modules or {}, adaptive=grid.adaptive
        ),
        checks=grid.checks,
        keeping=frozenset(cell.cell_id for cell in keeping if settings.keep_images),
    )
    again = {"never": set(), "failed": {"failed"}, "always": {"done", "failed", "skipped"}}[settings.again]

    def to_run(stands: Mapping[str, str]) -> list[Cell]:
        return [cell for cell in chosen if stands.get(cell.cell_id) in {None, *again}][: settings.limit]

    ahead = to_run(run.stands())
    runner.models.check({model.label: model for cell in ahead for model in (cell.model, cell.walker)}.values())
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
    checks: Checks
    landed: dict[str, int] = field(default_factory=lambda: {"n_done": 0, "n_failed": 0, "n_skipped": 0})
    #: Ids of the cells that have a row of this run.
    _rows: set[str] = field(default_factory=set)
    _decoded: dict[str, DecodedImages] = field(default_factory=dict)
    #: Who scores with the clean features in use, by their identity.
    _clean: dict[str, Scorer] = field(default_factory=dict)

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
                    self._run_group(group, facts, Both(whole, stage, work))

    def _run_group(self, group: Group, facts: Environment, both: Both) -> None:
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

        for cell in group.cells:
            broken = {cell.walker.label, cell.model.label} & self.models.broken.keys()
            if broken:
                fail(cell, self.models.broken[min(broken)], "")
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
        self, group: Group, facts: Environment, both: Both, fail: Callable[[Cell, str, str], None]
    ) -> None:
        cells = self._without_row(group)
        if not cells:
            return
        first = cells[0]
        specs = {spec.label: spec for cell in cells for spec in (cell.walker, cell.model)}
        self.models.keep_only(specs.values())
        walker = self.models.ready(first, self._batch_size(first))
        found = {label: self._clean_features(first, spec) for label, spec in specs.items()}
        self._clean = {key: scorer for key, scorer, _ in found.values()}
        scorers = {label: scorer for label, (_, scorer, _) in found.items()}
        data = self.plan.sets[first.dataset.label].data
        keeping = Keeping(
            run=self.run,
            data=data,
            clean={label: scorer.clean for label, scorer in scorers.items()},
            images=lambda side: self._images(first, side),
            count=self.settings.keep_images,
            cells=self.keeping,
        )
        arena = Arena(
            run=self.run,
            journal=Journal(run=self.run, group_id=self._group_id(group)),
            data=data,
            walker=walker,
            scorers=scorers,
            victims={cell.model.label: self.models.scored(cell.model).embedder for cell in cells},
            images=keeping.images,
            batch_size=self._batch_size(first),
            keeping=keeping,
            advance=both.advance,
            fail=fail,
        )
        checker = Checker(arena=arena, device=self.device, level=self.checks, note=self.reporter.note)
        GroupRun(
            group=Group(cells=cells),
            arena=arena,
            clean=scorers[first.walker.label].clean,
            environment=facts,
            device=self.device,
            clean_spent=sum(spent for _, _, spent in found.values()),
            landed=self._count,
            findings=checker.all(first, {label: (self.models.scored(specs[label]), scorers[label]) for label in specs}),
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
        if cell.perturb_at == "input" and cell.walker.input_size is not None:
            return cell.walker.input_size
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
            input_size=cell.walker.input_size,
            device=self.device,
        )

    def _clean_features(self, cell: Cell, spec: ModelSpec) -> tuple[str, Scorer, int]:
        """The identity of a model's clean features on a cell's data, who scores with them, and the passes they took."""
        size = self._batch_size(cell)
        identity = feature_identity(spec, cell.dataset, cell.perturb_at, size, self.device)
        key, spent = digest(identity), 0
        if key in self._clean:
            return key, self._clean[key], 0
        found = load_features(self.run, identity)
        if found is None:
            data, model = self.plan.sets[cell.dataset.label].data, self.models.scored(spec)
            with staged(
                self.reporter, f"clean features of {spec.label} on {cell.dataset.label}", len(data.paths)
            ) as stage:
                query, gallery = (
                    embed(model.embedder, self._images(cell, side), len(data.side(side)), size, stage.advance)
                    for side in SIDE_NAMES
                )
            found = CleanFeatures(query=query, gallery=gallery)
            keep_features(self.run, identity, found)
            spent = len(data.paths)
        return key, Scorer(metric=spec.metric, clean=found, device=self._ranking_device), spent
