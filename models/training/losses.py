"""What training minimises: softmax over the training identities, batch-hard triplets, weighted triplets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: Added to nothing, but the least squared distance whose root is taken: the root has no slope at 0.
_LEAST = 1e-12


def softmax_loss(logits: Tensor, classes: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy, a scalar.

    Args:
        logits: (B, C), one column a training identity.
        classes: (B,) int64 in [0, C).
        smoothing: the share of the target spread evenly over all C classes, in [0, 1); Szegedy et al., CVPR 2016.
    """
    return F.cross_entropy(logits, classes, label_smoothing=smoothing)


def triplet_loss(features: Tensor, identities: Tensor, margin: float | None) -> Tensor:
    """Batch-hard triplet loss, a scalar: the mean over anchors of [margin + d(positive) - d(negative)]+.

    Hermans, Beyer, Leibe 2017 (arXiv 1703.07737), equation 5: for every image of the batch the furthest other image of
    its identity and the nearest image of another one, by Euclidean distance (not squared). Without a margin it is
    their soft margin, log(1 + exp(.)). An anchor without a positive or without a negative does not count.

    Args:
        features: (B, D), as they are ranked (of unit length for metric cosine).
        identities: (B,) int64.
        margin: in units of distance; None is the soft margin.
    """
    positive, negative, counts = hardest(features, identities)
    losses = _hinge(features, features[positive], features[negative], margin)
    weights = counts.to(losses.dtype)
    return (losses * weights).sum() / weights.sum().clamp_min(1)


def triplets_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float | None) -> Tensor:
    """Triplet loss of given triplets (B, D) each, a scalar: the mean of [margin + d(a, p) - d(a, n)]+, as above."""
    return _hinge(anchor, positive, negative, margin).mean()


def weighted_loss(features: Tensor, identities: Tensor) -> Tensor:
    """The weighted regularised triplet loss of AGW, a scalar: the mean over anchors of log(1 + exp(p - n)).

    Ye, Shen, Lin, Xiang, Shao, Hoi (TPAMI 2021), equation 5: p is the mean Euclidean distance of an anchor to the
    other images of its identity, weighted by their softmax(d); n that to the images of other identities, weighted by
    their softmax(-d). So far positives and near negatives count most, and no margin is chosen. Weights have gradients
    too, as in the public code, which counts the anchor itself among its positives, at distance 0. An anchor without a
    positive or without a negative does not count.

    Args:
        features: (B, D); the public code gives it what stands before the neck, not normalised.
        identities: (B,) int64.
    """
    squared = features.square().sum(1)
    distances = (squared[:, None] + squared[None, :] - 2 * features @ features.T).clamp_min(_LEAST).sqrt()
    same = identities[:, None] == identities[None, :]
    positives = same & ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    counts = (positives.any(1) & (~same).any(1)).to(features.dtype)
    losses = F.softplus(_weighted(distances, distances, positives) - _weighted(distances, -distances, ~same))
    return (losses * counts).sum() / counts.sum().clamp_min(1)


def _weighted(distances: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
    """The mean (B,) of each row where `mask` is, weighted by softmax of `logits`; any finite number where it is not."""
    return (distances * logits.masked_fill(~mask, torch.finfo(logits.dtype).min).softmax(1)).sum(1)


def _hinge(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float | None) -> Tensor:
    gap = _distance(anchor, positive) - _distance(anchor, negative)
    return F.softplus(gap) if margin is None else (gap + margin).clamp_min(0)


@torch.no_grad()
def hardest(features: Tensor, identities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For every anchor its furthest positive and nearest negative as indices (B,), and whether it has both (B,).

    Distances are compared in float64; of equal ones the first index is taken.
    """
    exact = features.double()
    squared = exact.square().sum(1)
    distances = squared[:, None] + squared[None, :] - 2 * exact @ exact.T
    same = identities[:, None] == identities[None, :]
    others = same & ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    positive = distances.masked_fill(~others, -torch.inf).argmax(1)
    negative = distances.masked_fill(same, torch.inf).argmin(1)
    return positive, negative, others.any(1) & (~same).any(1)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().sum(1).clamp_min(_LEAST).sqrt()
