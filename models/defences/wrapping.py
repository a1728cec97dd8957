"""A defence around a model that is in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from ..pixels import PixelEmbedder
from .base import Defence
from .stage import Stages


class Defended(nn.Module):
    """Any embedder behind defences: images (B, 3, H, W) in [0, 1] to features (B, D)."""

    def __init__(self, embedder: Callable[[Tensor], Tensor], defences: tuple[Defence, ...]) -> None:
        super().__init__()
        self.defences = Stages(defences)
        self.embedder = embedder

    @property
    def bpda_stages(self) -> tuple[str, ...]:
        """What an adversary goes straight through."""
        return self.defences.paths

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D)."""
        found: Tensor = self.defences(self.embedder, images)
        return found


def wrap(embedder: Callable[[Tensor], Tensor], defences: tuple[Defence, ...]) -> PixelEmbedder | Defended:
    """The embedder behind defences; an image meets them before those that the embedder has already."""
    if type(embedder) is PixelEmbedder:
        spec = replace(embedder.spec, defence=(*defences, *embedder.spec.defence))
        made = PixelEmbedder(embedder.network, spec, layout=embedder.layout, dtype=embedder.dtype)
        return made.to(embedder.mean.device)
    return Defended(embedder, defences)
