"""K-means against a plain loop and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from robustreid.attacks.universal.clusters import kmeans
from sklearn.cluster import KMeans
from torch import Tensor


def heaps(n: int = 200, k: int = 6, dim: int = 4) -> Tensor:
    """Points around a few centres."""
    random = np.random.default_rng(0)
    centres = 5 * random.standard_normal((k, dim))
    return torch.from_numpy(centres[random.integers(k, size=n)] + 0.3 * random.standard_normal((n, dim)))


def inertia(points: Tensor, centroids: Tensor) -> float:
    """The mean squared distance to the nearest."""
    return float(torch.cdist(points, centroids).square().amin(1).mean())


def assert_settled(points: Tensor, centroids: Tensor) -> None:
    """The check: every centroid is the mean of the points that are nearest to it, counted one by one."""
    members: dict[int, list[list[float]]] = {}
    for point in points.tolist():
        gaps = [sum((a - b) ** 2 for a, b in zip(point, c, strict=True)) for c in centroids.tolist()]
        members.setdefault(gaps.index(min(gaps)), []).append(point)
    assert len(members) == len(centroids)
    for place, own in members.items():
        assert centroids[place].tolist() == pytest.approx(np.mean(own, axis=0).tolist())


def test_centroids_are_means_of_their_members() -> None:
    """The fixed point of Lloyd's rounds."""
    assert_settled(heaps(), kmeans(heaps(), 6, seed=0, rounds=100))


def test_points_instead_of_means_are_rejected() -> None:
    """The wrong twin: starting points that were never moved."""
    with pytest.raises(AssertionError):
        assert_settled(heaps(), kmeans(heaps(), 6, seed=0, rounds=0))


@pytest.mark.parametrize("count", [2, 6, 20])
def test_about_as_good_as_scikit_learn(count: int) -> None:
    """From one start it is at most a quarter worse than the best of ten of another implementation."""
    points = heaps()
    other = KMeans(count, n_init=10, random_state=0).fit(points.numpy())
    best = min(inertia(points, kmeans(points, count, seed=seed)) for seed in range(3))
    assert best <= 1.25 * other.inertia_ / len(points)


def test_the_seed_decides() -> None:
    """The same centroids for one seed, others for another; the type of the points is kept."""
    points = heaps(k=40).float()
    first = kmeans(points, 10, seed=0)
    assert first.dtype == torch.float32
    assert torch.equal(first, kmeans(points, 10, seed=0))
    assert not torch.equal(first, kmeans(points, 10, seed=1))


def test_fewer_points_than_clusters() -> None:
    """Every different point is a centroid, none comes twice."""
    points = torch.tensor([[0.0, 0], [1, 0], [0, 0], [5, 5], [1, 0]])
    found = sorted(kmeans(points, 512, seed=0).tolist())
    assert found == [[0, 0], [1, 0], [5, 5]]


def test_nothing_to_cluster() -> None:
    """No point, or no cluster, is an error of the caller."""
    for points, count in ((torch.zeros(0, 2), 3), (torch.zeros(2, 2), 0)):
        with pytest.raises(ValueError, match="at least one"):
            kmeans(points, count, seed=0)
