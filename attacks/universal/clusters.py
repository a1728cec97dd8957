"""K-means: the landmarks that stand for a training set of any size.

Source: Lloyd 1982; starting points by Arthur and Vassilvitskii 2007 (k-means++). In float64 on the CPU, the same for
one seed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...models.training.chance import stream

#: Rounds after which it stops, where the members of the clusters still change.
ROUNDS = 30


def kmeans(points: Tensor, count: int, *, seed: int, rounds: int = ROUNDS) -> Tensor:
    """Centroids (K, D) of points (N, D), in their type and place; K is `count`, or less where fewer points differ.

    A cluster that loses all its members takes the point that is furthest from its own centroid.
    """
    data = points.detach().to("cpu", torch.float64)
    centroids = _starts(data, count, seed)
    members = None
    for _ in range(rounds):
        distances = _squared(data, centroids)
        nearest = distances.argmin(1)
        if members is not None and torch.equal(nearest, members):
            break
        members = nearest
        sizes = torch.bincount(members, minlength=len(centroids))
        sums = torch.zeros_like(centroids).index_add_(0, members, data)
        centroids = sums / sizes.clamp_min(1)[:, None]
        empty = (sizes == 0).nonzero().flatten()
        if len(empty):
            own = distances.gather(1, members[:, None])[:, 0]
            centroids[empty] = data[own.argsort(descending=True, stable=True)[: len(empty)]]
    return centroids.to(points)


def _starts(data: Tensor, count: int, seed: int) -> Tensor:
    """Points far from one another: each drawn with the squared distance to those before it as its weight."""
    if not len(data) or count < 1:
        raise ValueError(f"expected at least one point and one cluster, got {len(data)} and {count}")
    random = stream(seed, "kmeans")
    chosen = [int(random.integers(len(data)))]
    nearest = _squared(data, data[chosen[-1:]])[:, 0]
    # What is left of a point's distance to itself by rounding is no distance.
    floor = 1e-20 * float(data.square().sum(1).max())
    while len(chosen) < count:
        weights = torch.where(nearest > floor, nearest, 0).numpy()
        total = weights.cumsum()
        if not total[-1]:
            break  # every point is a centroid already
        chosen.append(int(np.searchsorted(total, random.random() * total[-1], side="right")))
        nearest = torch.minimum(nearest, (data - data[chosen[-1]]).square().sum(1))
    return data[chosen].clone()


def _squared(data: Tensor, centroids: Tensor) -> Tensor:
    """(N, K)."""
    products = data @ centroids.T
    return (data.square().sum(1, keepdim=True) + centroids.square().sum(1) - 2 * products).clamp_min(0)
