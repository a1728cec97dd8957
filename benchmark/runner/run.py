"""A whole grid: open what it names, see what stands, run the rest group by group."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ... import StorageError, UserError
from ...models.base import ModelSpec
from ...models.load import build
from ...models.pixels import PixelEmbedder
from ..config.grid import Grid
from ..datasets.decoded import DecodedImages, decode
from ..datasets.opening import open_sets
from ..datasets.retrieval import SideName
from ..planner import Cost, Group, Plan, make_plan
from ..progress import Reporter, Stage, staged
from ..records import Cell, Environment, Row, digest
from ..runtime import BATCH_SIZES, Settings, environment, exact, pick_device
from ..selection import select_cells
from ..store.directory import RunDirectory
from .attacking import Arena, describe
from .batches import SideImages
from .features import CleanFeatures, embed, feature_identity, keep_features, load_features
from .group import GroupRun
from .journal import Journal, sweep_journals
from .keeping import Keeping
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
        modules=modules or {},
        keeping=frozenset(cell.cell_id for cell in keeping if settings.keep_images),
    )
    again = {"never": set(), "failed": {"failed"}, "always": {"done", "failed", "skipped"}}[settings.again]

    def to_run(stands: Mapping[str, str]) -> list[Cell]:
        return [cell for cell in chosen if stands.get(cell.cell_id) in {None, *again}][: settings.limit]

    ahead = to_run(run.stands())
    runner.check_models(ahead)
    runner.decode_sets(ahead)
    with runner.run.writing(), exact(device):
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
    modules: Mapping[str, torch.nn.Module]
    #: Ids of the cells whose images are kept.
    keeping: frozenset[str]
    landed: dict[str, int] = field(default_factory=lambda: {"n_done": 0, "n_failed": 0, "n_skipped": 0})
    #: Models whose code failed while it was built, by label.
    _broken: dict[str, str] = field(default_factory=dict)
    _decoded: dict[str, DecodedImages] = field(default_factory=dict)
    #: The model in use: label and embedder.
    _model: tuple[str, PixelEmbedder] | None = None
    #: The clean features in use: their identity, and who scores with them.
    _clean: tuple[str, Scorer] | None = None

    @property
    def batch_size(self) -> int:
        return self.settings.batch_size or BATCH_SIZES[self.device.type]

    def check_models(self, cells: Collection[Cell]) -> None:
        """Build every model of the cells once, so that a wrong file is refused before any work is done."""
        for spec in {cell.model.label: cell.model for cell in cells}.values():
            try:
                self._model = (spec.label, self._build(spec))
            except Exception as error:  # code that fails is a result: its cells get rows
                if isinstance(error, UserError) and not _is_fault_of_code(spec, error):
                    raise
                self._broken[spec.label] = str(error) if isinstance(error, UserError) else describe(error)
                self.reporter.note(f"The model {spec.label!r} does not build:\n{traceback.format_exc()}")

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
        first = group.cells[0]
        label = first.model.label

        def fail(cell: Cell, reason: str, trace: str) -> None:
            self.reporter.note(f"failed: {cell.label}: {reason}" + (f"\n{trace}" if trace else ""))
            row = Row(cell=cell, status="failed", reason=reason, environment=facts)
            self.run.commit(row)
            self._count(row)

        def fail_all(reason: str, trace: str) -> None:
            for cell in group.cells:
                fail(cell, reason, trace if cell is first else "")

        if label in self._broken:
            fail_all(self._broken[label], "")
            return
        try:
            scorer, spent, embedder = self._clean_features(first)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 (a model that fails on clean images fails all its cells)
            fail_all(describe(error), traceback.format_exc())
            return
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
            embedder=embedder,
            images=keeping.images,
            batch_size=self.batch_size,
            keeping=keeping,
            advance=both.advance,
            fail=fail,
        )
        GroupRun(
            group=group,
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

    def _group_id(self, group: Group) -> str:
        """Names a journal: its features hold for one batch shape, device and thread count."""
        place = [self.batch_size, str(self.device), torch.get_num_threads(), torch.__version__]
        return digest([group.cells[0].group_key, *place])

    def _images(self, cell: Cell, side: SideName) -> SideImages:
        opened = self.plan.sets[cell.dataset.label]
        return SideImages(
            decoded=self._pixels(cell.dataset.label),
            first=0 if side == "query" else len(opened.data.query),
            perturb_at=cell.perturb_at,
            input_size=cell.model.input_size,
            device=self.device,
        )

    def _build(self, spec: ModelSpec) -> PixelEmbedder:
        if spec.label in self.modules:
            return PixelEmbedder(self.modules[spec.label], spec).to(self.device)
        return build(spec, device=str(self.device), trust_code=self.settings.trust_code)

    def _clean_features(self, cell: Cell) -> tuple[Scorer, int, PixelEmbedder]:
        """Who scores a cell's model on its data, the clean passes that took, and the model."""
        if self._model is None or self._model[0] != cell.model.label:
            self._model = (cell.model.label, self._build(cell.model))
        embedder = self._model[1]
        identity = feature_identity(cell.model, cell.dataset, cell.perturb_at, self.batch_size, self.device)
        key, spent = digest(identity), 0
        if self._clean is None or self._clean[0] != key:
            found = load_features(self.run, identity)
            if found is None:
                data = self.plan.sets[cell.dataset.label].data
                title = f"clean features of {cell.model.label} on {cell.dataset.label}"
                with staged(self.reporter, title, len(data.paths)) as stage:
                    found = CleanFeatures(
                        query=self._embed(embedder, cell, "query", stage),
                        gallery=self._embed(embedder, cell, "gallery", stage),
                    )
                keep_features(self.run, identity, found)
                spent = len(data.paths)
            self._clean = (key, Scorer(metric=cell.model.metric, clean=found))
        return self._clean[1], spent, embedder

    def _embed(self, embedder: PixelEmbedder, cell: Cell, side: SideName, stage: Stage) -> NDArray[np.float32]:
        count = len(self.plan.sets[cell.dataset.label].data.side(side))
        return embed(embedder, self._images(cell, side), count, self.batch_size, stage.advance)


def _is_fault_of_code(spec: ModelSpec, error: UserError) -> bool:
    """Whether a plugin was found and then failed by itself; one that is not there is a wrong request."""
    found = error.__cause__
    return spec.plugin is not None and found is not None and not isinstance(found, ImportError | AttributeError)


@dataclass(frozen=True)
class _Both:
    """Moves the bar of the grid and that of the group."""

    whole: Stage
    stage: Stage
    work: float

    def advance(self, share: float) -> None:
        self.whole.advance(share * self.work)
        self.stage.advance(share * self.work)
