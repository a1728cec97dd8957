"""The models of a run: built once, with a cheaper twin where the grid says `fast`, fed as many images as fit."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import torch

from ... import UserError
from ...attacks.transforms import Lens
from ...models.base import Modality, ModelSpec
from ...models.engine import embedder
from ...models.load import build
from ...models.pixels import PixelEmbedder
from ...models.precision import Arithmetic, compiled, fast_arithmetic, twin
from ...models.stages import AUTO, Adaptive, StraightThrough, declared_behind, followed
from ..progress import Reporter
from ..records import Cell
from ..runtime import BATCH_SIZES, Settings
from .failures import describe
from .fitting import largest_batch


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model in memory."""

    label: str
    embedder: PixelEmbedder
    #: Whose gradients an attack follows where that is not the model itself (`precision: fast`, or stages that they
    #: pass straight through), and what that computes in.
    twin: tuple[PixelEmbedder, Arithmetic] | None = None
    #: Whether its twin is the one of `precision: fast`.
    is_fast: bool = False
    #: What the adversary does about stages, and the samples a gradient that the model asks for.
    adaptive: Adaptive = AUTO
    samples: int = 1

    def of(self, modality: Modality) -> LoadedModel:
        """What it is to images of a modality: its stream for it, or all of it where it has none."""
        if not self.embedder.has_streams:
            return self
        twin = None if self.twin is None else (self.twin[0].of(modality), self.twin[1])
        return replace(self, embedder=self.embedder.of(modality), twin=twin)

    @property
    def follower(self) -> PixelEmbedder:
        """The model in float32 whose gradients an adversary follows who knows its stages."""
        return followed(self.embedder, self.adaptive)

    @property
    def passes_straight(self) -> bool:
        """Whether gradients pass straight through a stage of it."""
        return isinstance(self.follower, StraightThrough)

    def lens(self, lens: Lens) -> Lens:
        """What stands between images and this model under an attack."""
        return replace(lens, samples=self.adaptive.samples(lens.samples, self.samples))


@dataclass(kw_only=True)
class Models:
    """Builds the models of a run, those of one group in memory at a time."""

    device: torch.device
    settings: Settings
    reporter: Reporter
    #: Networks that are in memory already, by the label of their model.
    modules: Mapping[str, torch.nn.Module]
    #: What the adversary does about stages that hide gradients.
    adaptive: Adaptive = AUTO
    #: Models whose code failed while it was built, by label: why.
    broken: dict[str, str] = field(default_factory=dict)
    #: Those in memory, by label and digest.
    _loaded: dict[tuple[str, str], LoadedModel] = field(default_factory=dict)
    #: The model and batch that the twin in memory was compiled for.
    _compiled_for: tuple[tuple[str, str], int] | None = None
    #: Images a forward by model and image size, where memory or a measurement decided it.
    _batch_sizes: dict[tuple[str, tuple[int, int]], int] = field(default_factory=dict)

    def check(self, specs: Collection[ModelSpec]) -> None:
        """Build every model once, so that a wrong file is refused before any work is done."""
        for spec in specs:
            try:
                for each in spec.by_trial or (spec,):
                    self._loaded = {_key(each): self._load(each)}
            except Exception as error:  # code that fails is a result: its cells get rows
                if isinstance(error, UserError) and not _is_fault_of_code(spec, error):
                    raise
                self.broken[spec.label] = str(error) if isinstance(error, UserError) else describe(error)
                self.reporter.note(f"The model {spec.label!r} does not build:\n{traceback.format_exc()}")

    def keep_only(self, specs: Collection[ModelSpec]) -> None:
        """Let all other models go."""
        keys = {_key(spec) for spec in specs}
        self._loaded = {key: model for key, model in self._loaded.items() if key in keys}

    def scored(self, spec: ModelSpec) -> LoadedModel:
        """A model that is scored."""
        key = _key(spec)
        if key not in self._loaded:
            self._loaded[key] = self._load(spec)
        return self._loaded[key]

    def load(self, cell: Cell) -> LoadedModel:
        """The model whose gradients a cell follows, with its twin where the cell's precision is `fast`."""
        found = self.scored(cell.walker)
        if cell.precision == "fast" and not found.is_fast:
            wanted = fast_arithmetic(self.device, self.settings.fast_with)
            follower, arithmetic = twin(found.embedder, wanted)
            if arithmetic == "float32":
                why = "has no faster arithmetic" if wanted == "float32" else f"does not keep its features in {wanted}"
                subject = f"{self.device}" if wanted == "float32" else f"The model {found.label!r}"
                self.reporter.note(f"{subject} {why}, so `precision: fast` follows float32 gradients here.")
            found = replace(found, twin=(followed(follower, self.adaptive), arithmetic), is_fast=True)
        self._loaded[_key(cell.walker)] = found
        return found

    def ready(self, cell: Cell, count: int) -> LoadedModel:
        """The model that a cell follows, for batches of `count` images: compiled where that was asked for."""
        model = self.load(cell)
        is_wanted = self.settings.compile and model.is_fast and (_key(cell.walker), count) != self._compiled_for
        if not is_wanted or model.twin is None:
            return model
        if isinstance(model.twin[0], StraightThrough) and model.twin[0].reaches_network:
            return model  # a compiled network has no stages
        follower, arithmetic = self._uncompiled(model)
        self.reporter.note(f"Compiling {model.label!r} for batches of {count}; this takes a minute or more.")
        found = compiled(follower, count)
        if found is None:
            self.reporter.note(f"{model.label!r} does not compile here; it is followed as it is.")
        self._compiled_for = (_key(cell.walker), count)
        ready = replace(model, twin=(followed(found or follower, self.adaptive), arithmetic))
        self._loaded[_key(cell.walker)] = ready
        return ready

    def _uncompiled(self, model: LoadedModel) -> tuple[PixelEmbedder, Arithmetic]:
        """The twin anew, where an earlier one was compiled for another batch."""
        return twin(model.embedder, fast_arithmetic(self.device, self.settings.fast_with))

    def batch_size(self, cell: Cell, size: tuple[int, int]) -> int:
        """How many images the models of a cell are fed at once, of (height, width) `size`."""
        key = (cell.walker.label, size)
        if key not in self._batch_sizes:
            chosen = self.settings.batch_size
            if chosen is None and self.device.type == "cuda":
                model = self.load(cell)
                follower = model.twin[0] if model.twin else model.embedder
                chosen = largest_batch(follower, cell.walker, size, self.device)
            self._batch_sizes[key] = chosen or BATCH_SIZES[self.device.type]
        return self._batch_sizes[key]

    def halve(self, cell: Cell, size: tuple[int, int]) -> int | None:
        """Half as many from now on, or None where one image is too many already."""
        before = self.batch_size(cell, size)
        if before == 1:
            return None
        self._batch_sizes[cell.walker.label, size] = before // 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return before // 2

    def _load(self, spec: ModelSpec) -> LoadedModel:
        if spec.label in self.modules:
            made = embedder(self.modules[spec.label], spec).to(self.device)
        else:
            made = build(spec, device=str(self.device), trust_code=self.settings.trust_code)
        follower = followed(made, self.adaptive)
        return LoadedModel(
            label=spec.label,
            embedder=made,
            twin=None if follower is made else (follower, "float32"),
            adaptive=self.adaptive,
            samples=declared_behind(made).samples,
        )


def _key(spec: ModelSpec) -> tuple[str, str]:
    return spec.label, spec.sha256


def _is_fault_of_code(spec: ModelSpec, error: UserError) -> bool:
    """Whether a plugin was found and then failed by itself; one that is not there is a wrong request."""
    found = error.__cause__
    return spec.plugin is not None and found is not None and not isinstance(found, ImportError | AttributeError)
