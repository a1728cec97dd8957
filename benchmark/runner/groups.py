"""What the groups of a run share (decoded images, clean features, models), and one group's way through them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch

from ... import StorageError
from ...models.base import ModelSpec
from ..datasets.decoded import DecodedImages, decode
from ..datasets.retrieval import SIDE_NAMES, SideName
from ..planner import Group, Plan
from ..progress import Reporter, staged
from ..records import Cell, Checks, digest
from ..runtime import Settings
from ..store.directory import RunDirectory
from .attacking import Arena
from .batches import SideImages
from .checks import Checker
from .delivering import Delivery, Splits, Store
from .failures import describe, is_out_of_memory
from .features import CleanFeatures, embed, feature_identity, keep_features, load_features
from .group import GroupRun
from .journal import Journal
from .keeping import Keeping
from .loading import Models
from .scenes import Scene, cell_of_split, scene_of
from .scoring import Scorer

#: Told when a cell fails: the cell, the reason, the traceback.
Fail = Callable[[Cell, str, str], None]


@dataclass(kw_only=True)
class Groups:
    """Attacks the cells of one group after the other."""

    plan: Plan
    device: torch.device
    settings: Settings
    reporter: Reporter
    run: RunDirectory
    #: Ids of the cells whose images are kept.
    keeping: frozenset[str]
    models: Models
    checks: Checks
    _decoded: dict[str, DecodedImages] = field(default_factory=dict)
    #: Who scores with the clean features in use, by their identity.
    _clean: dict[str, Scorer] = field(default_factory=dict)

    def decode_sets(self, cells: Collection[Cell]) -> None:
        """Decode every data set of the cells once, so that a broken image is found before any work is done."""
        for cell in cells:
            self._pixels(cell.dataset.label)

    def ids(self, group: Group) -> list[str]:
        """The names of a group's journals: one, or one a split."""
        n_splits = group.cells[0].n_splits
        return [self._id(group, None)] if n_splits is None else [self._id(group, number) for number in range(n_splits)]

    def attack(
        self, group: Group, cells: Sequence[Cell], store: Store, advance: Callable[[float], None], fail: Fail
    ) -> None:
        """Attack, score and write some cells of a group.

        Args:
            group: all of it.
            cells: those without a row; none is none.
            store: where rows go.
            advance: told shares of the group's work.
            fail: told of cells that fail.
        """
        if not cells:
            return
        scene = scene_of(self.plan.sets[cells[0].dataset.label], self._pixels(cells[0].dataset.label))
        n_splits = cells[0].n_splits
        if n_splits is None:
            self._attack(cells, scene, self._journal(group, None), store, advance, fail)
        else:
            self._attack_splits(group, cells, scene, n_splits, store, advance, fail)
        for journal_id in self.ids(group):
            Journal(run=self.run, group_id=journal_id).drop()

    def _attack_splits(
        self,
        group: Group,
        cells: Sequence[Cell],
        scene: Scene,
        n_splits: int,
        store: Store,
        advance: Callable[[float], None],
        fail: Fail,
    ) -> None:
        """Each split with its own model and people; a cell's row waits for the last one."""
        splits = Splits(whole=store, n_splits=n_splits)
        if any(cell.cell_id in self.keeping for cell in cells):
            self.reporter.note("No images are kept of cells that run split by split, each with a model of its own.")

        def fail_whole(cell: Cell, reason: str, trace: str) -> None:
            parent = splits.parents[cell.cell_id]
            splits.settled.add(parent.cell_id)
            fail(parent, f"split {splits.number + 1}: {reason}", trace)

        for number in range(n_splits):
            own = scene.split(number)
            left = [cell for cell in cells if cell.cell_id not in splits.settled]
            parts = [cell_of_split(cell, own, number) for cell in left]
            splits.number = number
            splits.parents = {part.cell_id: cell for part, cell in zip(parts, left, strict=True)}
            if not parts:
                return
            self.reporter.note(f"split {number + 1} of {n_splits}")
            try:
                journal = self._journal(group, number)
                self._attack(parts, own, journal, splits, lambda share: advance(share / n_splits), fail_whole)
            except StorageError:
                raise
            except Exception as error:
                if is_out_of_memory(error):
                    raise  # the run goes on with fewer images at once
                # What a model does wrong on clean images fails all cells that it is a part of.
                for part in parts:
                    if splits.parents[part.cell_id].cell_id not in splits.settled:
                        fail_whole(part, describe(error), traceback.format_exc() if part is parts[0] else "")

    def _attack(
        self,
        cells: Sequence[Cell],
        scene: Scene,
        journal: Journal,
        delivery: Delivery,
        advance: Callable[[float], None],
        fail: Fail,
    ) -> None:
        first = cells[0]
        specs = {spec.label: spec for cell in cells for spec in (cell.walker, cell.model)}
        self.models.keep_only(specs.values())
        walker = self.models.ready(first, self.batch_size(first))
        found = {label: self._clean_features(first, scene, spec) for label, spec in specs.items()}
        self._clean = {key: scorer for key, scorer, _ in found.values()}
        scorers = {label: scorer for label, (_, scorer, _) in found.items()}
        keeping = Keeping(
            run=self.run,
            data=scene.data,
            clean={label: scorer.clean for label, scorer in scorers.items()},
            images=lambda side: self._images(first, scene, side),
            count=self.settings.keep_images,
            cells=self.keeping,
        )
        arena = Arena(
            run=self.run,
            journal=journal,
            data=scene.data,
            walker=walker,
            scorers=scorers,
            victims={cell.model.label: self.models.scored(cell.model) for cell in cells},
            images=keeping.images,
            batch_size=self.batch_size(first),
            keeping=keeping,
            advance=advance,
            fail=fail,
        )
        checker = Checker(arena=arena, device=self.device, level=self.checks, note=self.reporter.note)
        GroupRun(
            group=Group(cells=tuple(cells)),
            arena=arena,
            clean=scorers[first.walker.label].clean,
            device=self.device,
            clean_spent=sum(spent for _, _, spent in found.values()),
            delivery=delivery,
            findings=checker.all(first, {label: (self.models.scored(specs[label]), scorers[label]) for label in specs}),
        ).execute()

    def batch_size(self, cell: Cell) -> int:
        """How many images the models of a cell are fed at once."""
        return self.models.batch_size(cell, self._image_size(cell))

    def halved(self, cell: Cell) -> int | None:
        """Half as many from now on; None where that is none."""
        return self.models.halve(cell, self._image_size(cell))

    def _image_size(self, cell: Cell) -> tuple[int, int]:
        """Of the largest images that a cell perturbs."""
        if cell.perturb_at == "input" and cell.walker.input_size is not None:
            return cell.walker.input_size
        return max(self.plan.sets[cell.dataset.label].manifest.shapes, key=lambda shape: shape[0] * shape[1])

    def _pixels(self, label: str) -> DecodedImages:
        if label not in self._decoded:
            opened = self.plan.sets[label]
            with staged(self.reporter, f"decoding {label}", len(opened.data.paths)) as stage:
                self._decoded[label] = decode(
                    opened.data, opened.manifest, workers=self.settings.workers, advance=stage.advance
                )
        return self._decoded[label]

    def _journal(self, group: Group, split: int | None) -> Journal:
        return Journal(run=self.run, group_id=self._id(group, split))

    def _id(self, group: Group, split: int | None) -> str:
        """Names a journal: its features hold for one device and thread count; its batches carry their size."""
        arithmetic = self.settings.fast_with if group.cells[0].precision == "fast" else ""
        circumstances = [arithmetic, str(self.device), torch.get_num_threads(), torch.__version__]
        return digest([group.cells[0].group_key, *circumstances, *([] if split is None else [split])])

    @property
    def _ranking_device(self) -> str:
        """MPS knows no float64."""
        return str(self.device) if self.device.type == "cuda" else "cpu"

    def _images(self, cell: Cell, scene: Scene, side: SideName) -> SideImages:
        return scene.images(side, perturb_at=cell.perturb_at, input_size=cell.walker.input_size, device=self.device)

    def _clean_features(self, cell: Cell, scene: Scene, spec: ModelSpec) -> tuple[str, Scorer, int]:
        """The identity of a model's clean features on a cell's data, who scores with them, and the passes they took."""
        size, data = self.batch_size(cell), scene.data
        identity = feature_identity(spec, cell.dataset, cell.perturb_at, size, self.device)
        key, spent = digest(identity), 0
        if key in self._clean:
            return key, self._clean[key], 0
        found = load_features(self.run, identity)
        if found is None:
            model = self.models.scored(spec)
            title = f"clean features of {spec.label} on {cell.dataset.label}"
            with staged(self.reporter, title, len(data.paths)) as stage:
                query, gallery = (
                    embed(model.embedder, self._images(cell, scene, side), size, stage.advance) for side in SIDE_NAMES
                )
            found = CleanFeatures(query=query, gallery=gallery)
            keep_features(self.run, identity, found)
            spent = len(data.paths)
        scorer = Scorer(metric=spec.metric, clean=found, device=self._ranking_device, trials=data.trials)
        return key, scorer, spent
