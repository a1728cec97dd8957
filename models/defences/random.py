"""Defences that draw: what they draw is a function of the image, see `draws`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..passing import resumption
from .draws import keys, normal, split, uniform
from .parameters import ResizePad, Smoothing
from .stage import Rest, Stage


class ResizePadStage(Stage):
    """Each image shrunk to whole pixels, at a place of its own, black around it; the size stays."""

    is_random: ClassVar[bool] = True
    defence: ResizePad

    def around(self, rest: Rest, images: Tensor, own: Tensor) -> Tensor:
        """Features (B, D): bilinear, pixel centres at halves, without antialiasing; differentiable."""
        lots = uniform(keys(own, self.defence.name, self.defence.seed), 3)
        share = self.defence.share + (1 - self.defence.share) * lots[:, 0]
        # Two matrix products: unlike PyTorch's resizing they take another size for every image.
        rows, columns = (
            _shrinking(length, share, place).to(images)[:, None]
            for length, place in ((images.shape[2], lots[:, 1]), (images.shape[3], lots[:, 2]))
        )
        return rest(rows @ images @ columns.mT, own)


def _shrinking(length: int, share: Tensor, place: Tensor) -> Tensor:
    """Matrices (B, length, length) that shrink a line to a share (B,) of its pixels, `place` (B,) in [0, 1) on it."""
    size = (share * length).round().clamp_min(1)
    first = (place * (length - size + 1)).floor()
    at = torch.arange(length, dtype=share.dtype, device=share.device)
    inside = (at >= first[:, None]) & (at < (first + size)[:, None])
    source = ((at - first[:, None] + 0.5) * (length / size)[:, None] - 0.5).clamp(0, length - 1)
    return (1 - (source[:, :, None] - at).abs()).clamp_min(0) * inside[:, :, None]


class SmoothingStage(Stage):
    """The mean feature of noisy copies; with gradients, each copy is embedded once more during the backward pass.

    So the memory is that of one copy, whatever their number.
    """

    is_random: ClassVar[bool] = True
    is_mean: ClassVar[bool] = True
    defence: Smoothing

    def around(self, rest: Rest, images: Tensor, own: Tensor) -> Tensor:
        """Mean features (B, D) of images (B, 3, H, W)."""
        drawn = keys(own, self.defence.name, self.defence.seed)
        again = resumption()

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), again()

        total: Tensor | None = None
        for copy in range(self.defence.copies):
            one = partial(self._copy, rest, split(drawn, copy))
            found: Tensor = (
                checkpoint(one, images, use_reentrant=False, context_fn=contexts)
                if torch.is_grad_enabled() and images.requires_grad
                else one(images)
            )
            total = found if total is None else total + found
        if total is None:
            raise ValueError("expected at least one copy")
        return total / self.defence.copies

    def _copy(self, rest: Rest, drawn: Tensor, images: Tensor) -> Tensor:
        noise = normal(drawn, images.shape[1:]).to(images.dtype)
        return rest(images + self.defence.sigma * noise, drawn)
