"""Models that have a stream for each modality: what an image passes depends on what it was taken by."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .base import MODALITIES, Modality
from .pixels import PixelEmbedder

if TYPE_CHECKING:
    from torch import Tensor

Found = TypeVar("Found")


class TwoStreamEmbedder(PixelEmbedder):
    """One embedder a modality behind the contract of `Embedder`; without `of`, images are taken for visible ones.

    Its streams are whole embedders, each with a network, a layout and defences of its own: whatever makes another
    embedder of one (a twin, an adversary's stages, a compiled form) is done to each of them (`each_stream`). Weights
    that the streams share may be shared or copied.

    Args:
        visible: what visible images pass.
        infrared: what infrared images pass.
    """

    has_streams = True

    def __init__(self, visible: PixelEmbedder, infrared: PixelEmbedder) -> None:
        super().__init__(visible.network, visible.spec, layout=visible.layout, dtype=visible.dtype)
        self.visible = visible
        self.infrared = infrared
        self.to(visible.mean.device)

    def of(self, modality: Modality) -> PixelEmbedder:
        """The embedder of images of one modality."""
        return self.visible if modality == "visible" else self.infrared

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D) of visible images (B, 3, H, W), float in [0, 1]."""
        found: Tensor = self.visible(images)
        return found


def has_streams(network: object) -> bool:
    """Whether a network has a stream for each modality: `network.stream(modality)`, images (B, 3, H, W) to (B, D)."""
    return getattr(network, "has_streams", False) is True


def of_streams(network: Any, make: Callable[[Any], PixelEmbedder]) -> TwoStreamEmbedder:
    """The embedder of a network that has streams.

    Args:
        network: see `has_streams`.
        make: one stream to its embedder.
    """
    visible, infrared = (make(network.stream(modality)) for modality in MODALITIES)
    return TwoStreamEmbedder(visible, infrared)


def each_stream(embedder: PixelEmbedder, make: Callable[[PixelEmbedder], Found]) -> tuple[Found, Found]:
    """What `make` gives for each stream of an embedder that has streams, in the order of `MODALITIES`."""
    visible, infrared = (make(embedder.of(modality)) for modality in MODALITIES)
    return visible, infrared
