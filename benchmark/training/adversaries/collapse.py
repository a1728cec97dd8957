"""Anti-collapse training's adversary: a positive and a negative are changed until they lie together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ....models.training.chance import stream
from ....models.training.plan import Batch, Embed, Hardened
from .ball import Ball


@dataclass(frozen=True, kw_only=True)
class CollapsePerturb:
    """ACT's adversary (called PNP in robrank's code): a positive and a negative that minimise ||f(p) - f(n)||^2.

    For every image of the batch as an anchor, which stays clean, a positive and a negative of the batch are drawn and
    changed together; the triplet loss is over those. That code's other ways to choose a triplet are left out.
    """

    ball: Ball

    def __call__(self, embed: Embed, batch: Batch, step: int) -> Hardened:
        """2 `steps` gradients an image."""
        sources = torch.cat(pairs(batch.classes, seed=self.ball.seed, step=step))

        def value(features: Tensor) -> Tensor:
            positive, negative = features.chunk(2)
            return -(positive - negative).square().sum(1)

        if batch.modalities is not None:
            embed = partial(embed, modalities=batch.modalities[sources])
        images = self.ball.climb(embed, value, batch.images[sources], step)
        return Hardened(images=images, sources=sources, is_triplets=True)


def pairs(classes: Tensor, *, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """For every image of a batch (B,) another of its class and one of another class, as indices (B,), drawn evenly."""
    lots = torch.from_numpy(stream(seed, "pairs", step).random((2, len(classes), len(classes)))).to(classes.device)
    same = classes[:, None] == classes[None, :]
    own = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    positive = lots[0].masked_fill(~same | own, -1.0).argmax(1)
    return positive, lots[1].masked_fill(same, -1.0).argmax(1)
