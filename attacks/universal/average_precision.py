"""MUAP: one perturbation under which the average precision of a batch falls, and which stays smooth.

Source: Ding, Wei, Hong, Ji, et al. 2021 (TIFS 16:3442). Read in the public code that goes with it: the histogram
average precision between perturbed queries and the clean features of their P x K batch (their own ones among them), 5
bins with triangular edges over distances from 0 to 2 of unit features, 10 times the total variation of the perturbed
image on top, steps of 0.004 along the sign, momentum 0.4, the gradient over its L1 length channel by channel, and,
from the second epoch on, the rescaling to a share of 0.8 on the ball. Chosen here: the perturbed image is clamped to
[0, 1] (there it is not), recall is counted in the images that an identity has in the batch (there, in 4), the network
is in evaluation mode, the start is no perturbation (there, noise of 1e-6), the last epoch is kept (there, the one
with the lowest training loss).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ...models.base import Embedder
from .procedure import Batch, Procedure, saturation

#: The total variation is that of images in units of ImageNet's standard deviations, as in the public code.
_STD = (0.229, 0.224, 0.225)
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class MUAP(Procedure):
    """A smooth average precision of perturbed queries against clean features, and total variation, both lowered."""

    momentum: float = 0.4
    bins: int = 5
    #: The weight of the total variation.
    variation: float = 10.0
    #: The length of a step, in [0, 1] pixel units.
    step: float = 0.004
    #: The share of entries that lie on the ball from the second epoch on.
    saturation: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.bins <= 1000:
            raise ValueError(f"bins: expected 2 to 1000, got {self.bins}")
        if self.variation < 0 or self.step <= 0:
            raise ValueError("variation: expected at least 0; step: expected more than 0")
        if not 0 <= self.saturation < 1:
            raise ValueError(f"saturation: expected a share from 0, less than 1, got {self.saturation}")

    def step_size(self, epsilon: Fraction, epoch: int) -> float:  # noqa: ARG002
        return self.step

    def normalised(self, gradient: Tensor) -> Tensor:
        """Channel by channel."""
        return gradient / gradient.abs().sum((1, 2), keepdim=True).clamp_min(_TINY)

    def after_step(self, delta: Tensor, radius: float, epoch: int) -> Tensor:
        """From the second epoch on enlarged until the wanted share of entries lies on the ball."""
        return delta if epoch == 0 else saturated(delta, radius, self.saturation)

    def value(
        self,
        batch: Batch,
        clean: Tensor,
        perturbed: Tensor,
        embedder: Embedder,
        known: None,  # noqa: ARG002
        lot: float,  # noqa: ARG002
    ) -> Tensor:
        precision = histogram_precision(embedder(perturbed), clean, batch.identities, self.bins)
        return precision + self.variation * total_variation(perturbed)


def histogram_precision(queries: Tensor, gallery: Tensor, identities: Tensor, bins: int) -> Tensor:
    """The mean over queries of a smooth average precision, sum over m of (R_m - R_(m-1)) / n * R_m / A_m.

    R_m and A_m are the right images and all images up to bin m, where every image counts for the two bins next to its
    distance by how near they are; n is how many are right.

    Args:
        queries: (B, D), features; only their directions count.
        gallery: (B, D), clean features of the same images, their own ones among the right.
        identities: (B,).
        bins: evenly over distances from 0 to 2.
    """
    queries, gallery = (side / side.norm(dim=1, keepdim=True).clamp_min(_TINY) for side in (queries, gallery))
    distances = ((2 - 2 * queries @ gallery.T).clamp_min(0) + _TINY).sqrt()
    right = (identities[:, None] == identities[None, :]).to(queries.dtype)
    centres = torch.linspace(0, 2, bins, dtype=queries.dtype, device=queries.device)
    share = (1 - (distances[:, :, None] - centres).abs() * (bins - 1) / 2).clamp_min(0)
    n_right, n_all = (share * right[:, :, None]).sum(1), share.sum(1)
    precision = n_right.cumsum(1) / n_all.cumsum(1).clamp_min(_TINY)
    return ((n_right * precision).sum(1) / right.sum(1)).mean()


def total_variation(images: Tensor) -> Tensor:
    """Twice the squared differences of neighbours, down and across, over the number of neighbours of one channel.

    Of images (B, 3, H, W) in units of the channels' standard deviations; the mean over images.
    """
    std = torch.tensor(_STD, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    scaled = images / std
    total = images.new_zeros(())
    for dim in (2, 3):
        gaps = scaled.diff(dim=dim).square()
        total = total + gaps.sum() / max(gaps[0, 0].numel(), 1)
    return 2 * total / len(images)


def saturated(delta: Tensor, radius: float, share: float) -> Tensor:
    """The perturbation times the factor that puts a share of its entries on the ball, clamped; never made smaller.

    Unchanged where that share lies there already, or where too many entries are zero.
    """
    if saturation(delta, radius) >= share:
        return delta
    ordered = delta.abs().flatten().sort(descending=True).values
    smallest = float(ordered[min(int(len(ordered) * share), len(ordered) - 1)])
    return (delta * (radius / smallest)).clamp(-radius, radius) if smallest > 0 else delta
