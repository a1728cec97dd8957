"""Whether a gradient leads anywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from ..counts import from_counts, to_counts
from ..draw import Draw
from ..loss import Loss, NonFiniteGradientError
from ..norms import NORM
from .thresholds import PROBE, VANISHED_NORM, ZERO_ENTRIES


def gradient_findings(loss: Loss, images: Tensor, n_real: int, draw: Draw, *, vanishes: bool = False) -> frozenset[str]:
    """`zero-gradient` or `non-finite-gradient`, where one of them holds.

    Args:
        loss: of the batch; its passes are the caller's to leave out of account.
        images: (B, 3, H, W) in [0, 1], the clean ones, padding last.
        n_real: how many of them count.
        draw: the batch's random numbers.
        vanishes: whether the objective's gradient is zero at the clean image by nature; then it is measured at a
            random point too.
    """
    try:
        near = random_point(images, draw, 1) if vanishes else images
        here = loss.gradient(near)[:n_real]
        there = loss.gradient(random_point(images, draw, 0))[:n_real]
    except NonFiniteGradientError:
        return frozenset({"non-finite-gradient"})
    return frozenset({"zero-gradient"}) if leads_nowhere(here, there) else frozenset()


def random_point(images: Tensor, draw: Draw, index: int) -> Tensor:
    """(B, 3, H, W), uniformly random within `PROBE` of the images and inside [0, 1]."""
    norm, clean = NORM["linf"], to_counts(images)
    start = norm.start(draw.meant_for("probe").batch(index, 0, clean))
    return from_counts(norm.project(clean + 255 * PROBE * start, clean, 255 * PROBE))


def leads_nowhere(here: Tensor, there: Tensor) -> bool:
    """Whether gradients (B, C, H, W) at the images are nothing beside those at random points.

    Of the norms' quotients the median over images counts, so that one image does not speak for all.
    """
    if not here.numel():
        return False
    zero = (here == 0).double().mean()
    norms = [gradient.double().flatten(1).norm(dim=1) for gradient in (here, there)]
    quotients = norms[0] / norms[1].clamp_min(torch.finfo(torch.float64).tiny)
    return bool(zero > ZERO_ENTRIES) or bool(quotients.median() < VANISHED_NORM)
