"""The contract of a model: what it is given, what it gives back, and what decides its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from .defences.base import Defence, title

if TYPE_CHECKING:
    from torch import Tensor

Metric = Literal["cosine", "euclidean"]
METRICS: tuple[Metric, ...] = ("cosine", "euclidean")

#: What an image was taken by; `infrared` is near-infrared and thermal alike.
Modality = Literal["visible", "infrared"]
MODALITIES: tuple[Modality, ...] = ("visible", "infrared")


@runtime_checkable
class Embedder(Protocol):
    """A model as the harness sees it; resizing and normalising live inside."""

    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, D) of images (B, 3, H, W), float in [0, 1], RGB; differentiable in the images."""
        ...


def seen_as(embedder: Embedder, modality: Modality) -> Embedder:
    """What a model is to images of a modality: its stream for it, or all of it where it has none."""
    of = getattr(embedder, "of", None)
    found: Embedder = embedder if of is None else of(modality)
    return found


@dataclass(frozen=True, kw_only=True)
class Normalise:
    """Per-channel (x - mean) / std, on RGB in [0, 1]."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if {len(self.mean), len(self.std)} != {3} or min(self.std) <= 0:
            raise ValueError(f"expected three means and three positive stds, got {self.mean} and {self.std}")


NORMALISATIONS: Mapping[str, Normalise] = {
    "none": Normalise(),
    "imagenet": Normalise(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
}


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Everything about a model that can change its features. Label and path identify nothing: the digest does."""

    #: What the user calls it; unique in a grid.
    label: str
    #: A registered architecture, or `onnx` for a program, or `plugin` for code.
    architecture: str
    #: The weights file (safetensors, or the ONNX program); None where the plugin brings its own.
    weights: Path | None = None
    #: sha256 of the weights file, hexadecimal; empty while it has not been read.
    sha256: str = ""
    #: `package:callable`, only with architecture `plugin`.
    plugin: str | None = None
    #: (height, width) the network is fed; None: whatever size the images have.
    input_size: tuple[int, int] | None = None
    #: Done inside the graph, after the resize.
    normalise: Normalise = NORMALISATIONS["none"]
    #: How features are compared.
    metric: Metric = "cosine"
    #: Whether the network may run in a faster form (see `engine`), which moves the last bits; else as it was written.
    folding: bool = True
    #: What stands before the resize, the first one first; see `defences`.
    defence: tuple[Defence, ...] = ()
    #: A model for each split of a data set, the first one first, where each was trained on that split's people: this
    #: stands for all of them, and is never built itself.
    by_trial: tuple[ModelSpec, ...] = ()

    def of_trial(self, number: int) -> ModelSpec:
        """The model of one split, from 0: itself where it is the same for all."""
        return self.by_trial[number] if self.by_trial else self

    @property
    def defence_title(self) -> str | None:
        """The column `defence`; None where there is none."""
        return title(self.defence)

    @property
    def samples(self) -> int:
        """Gradients over the draws of its defences that an adversary takes the mean of by default."""
        return max((each.samples for each in self.defence), default=1)

    def identity(self) -> dict[str, Any]:
        """What goes into a cell's id: no label, no path."""
        # Named only where there is one: what has none is what it was before there were any.
        defence = {"defence": [each.identity() for each in self.defence]} if self.defence else {}
        splits = {"by_trial": [each.identity() for each in self.by_trial]} if self.by_trial else {}
        return {
            **defence,
            **splits,
            "architecture": self.architecture,
            "sha256": self.sha256,
            "plugin": self.plugin,
            "input_size": list(self.input_size) if self.input_size else None,
            "normalise": [list(self.normalise.mean), list(self.normalise.std)],
            "metric": self.metric,
            "folding": self.folding,
        }
