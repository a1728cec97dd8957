"""Who stands around an image: every look-up against a loop over lists, with ties, repeats and pools."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from robustreid.attacks.neighbours import FeatureBank, Neighbours, square_distances
from scipy.stats import chisquare  # type: ignore[import-untyped]

SIDES = ("query", "gallery")


def worlds(world: Any) -> list[Any]:
    """Both sides and goals, with and without the same-camera rule; each second one full of ties."""
    found = []
    for seed, (side, goal, junk) in enumerate(itertools.product(SIDES, ("untargeted", "targeted"), (True, False))):
        made = world(seed, side=side, goal=goal, same_camera_is_junk=junk)
        if seed % 2:
            # Three features for everybody: whole numbers, so that equal distances are equal to the last bit.
            three = np.eye(6)[:3]
            peers = three[np.arange(len(made.peers)) % 3]
            made = made.having(
                bank=three[np.arange(len(made.bank)) % 3],
                peers=peers,
                clean=np.where(made.places[:, None] < 0, 0.0, peers[made.places]),
            )
        found.append(made)
    return found


def near_of(made: Any) -> Neighbours:
    found = made.references().neighbours
    assert found is not None
    return found  # type: ignore[no-any-return]


def distance(made: Any, i: int, j: int) -> float:
    return float(((made.clean[i] - made.bank[j]) ** 2).sum())


def right_and_wrong(made: Any, i: int) -> tuple[list[int], list[int]]:
    """Images of the wanted identity less junk, and everybody else less junk."""
    wanted = made.aims[i]
    is_own = wanted == made.ids[i]
    right, wrong = [], []
    for j, (who, camera) in enumerate(zip(made.bank_ids.tolist(), made.bank_cams.tolist(), strict=True)):
        if wanted == -1 or who == -1:
            continue
        if who != wanted:
            wrong.append(j)
        elif not (made.same_camera_is_junk and is_own and camera == made.cams[i]):
            right.append(j)
    return right, wrong


def test_who_is_right_and_who_is_wrong(world: Any) -> None:
    """Junk is neither, distractors are wrong, the same camera counts only for the own identity; padding has nobody."""
    for made in worlds(world):
        near = near_of(made)
        for i in range(len(made.ids)):
            right, wrong = right_and_wrong(made, i)
            assert right == near.positives[i].nonzero()[:, 0].tolist()
            assert wrong == near.negatives[i].nonzero()[:, 0].tolist()
            assert sorted(right + wrong) == near.valid[i].nonzero()[:, 0].tolist()
        assert not near.valid[-1].any()


def test_distances(world: Any) -> None:
    """One pair at a time; never negative, not where a feature meets itself either."""
    for made in worlds(world):
        expected = [[distance(made, i, j) for j in range(len(made.bank))] for i in range(len(made.ids))]
        np.testing.assert_allclose(near_of(made).clean_distances, expected, rtol=0, atol=1e-12)
    same = torch.randn(50, 64, generator=torch.Generator().manual_seed(0)) * 100
    names = torch.zeros(50, dtype=torch.int64)
    assert square_distances(same, FeatureBank(features=same, identities=names, cameras=names)).min() >= 0


@pytest.mark.parametrize("pool", [0.0, 0.07, 0.3, 1.0])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_nearest(world: Any, count: int, pool: float) -> None:
    """From near to far with ties by index; the last one repeats; a pool is its first share, rounded up."""
    for made in worlds(world):
        near = near_of(made)
        for among, kind in ((near.valid, 2), (near.positives, 0), (near.negatives, 1)):
            found = near.nearest(among, count, pool)
            assert found.shape == (len(made.ids), count)
            for i in range(len(made.ids)):
                right, wrong = right_and_wrong(made, i)
                members = (right, wrong, sorted(right + wrong))[kind]
                order = sorted(members, key=lambda j: (round(distance(made, i, j), 12), j))
                if not order:
                    continue
                size = int(np.ceil(round(pool * len(order), 9)))
                ranks = [int(made.lots[i][m] * size) if pool else min(m, len(order) - 1) for m in range(count)]
                assert [order[rank] for rank in ranks] == found[i].tolist()


def test_a_pool_ends_where_it_says(world: Any) -> None:
    """A lot that rounds to one in float32 stays inside, and 0.07 of a hundred are seven, not eight."""
    made = world(0)
    source = np.random.default_rng(0)
    many = made.having(
        bank=source.normal(size=(100, 6)), bank_ids=np.full(100, 4), bank_cams=np.full(100, 9), lots=made.lots * 0
    )
    top = np.full_like(made.lots, 1 - 2.0**-53)
    for dtype in (torch.float32, torch.float64):
        near = near_of(many.having(lots=top))
        narrow = Neighbours(**{**vars(near), "lots": near.lots.to(dtype)})
        order = sorted(range(100), key=lambda j: distance(many, 1, j))
        assert near.valid[1].all()
        assert order[6] == int(narrow.nearest(narrow.valid, 1, 0.07)[1, 0])


def test_drawn(world: Any) -> None:
    """The image whose number the lot names, and every one as often as the other."""
    for made in worlds(world):
        near = near_of(made)
        found = near.drawn(near.negatives).tolist()
        for i in range(len(made.ids) - 1):
            wrong = right_and_wrong(made, i)[1]
            assert wrong[int(made.lots[i][0] * len(wrong))] == found[i]
    made = world(0)
    wrong = right_and_wrong(made, 1)[1]
    lots = np.random.default_rng(3).random((800, *made.lots.shape))
    drawn = [near_of(made.having(lots=one)) for one in lots]
    counts = np.bincount([int(near.drawn(near.negatives)[1]) for near in drawn], minlength=len(made.bank))
    assert counts.sum() == counts[wrong].sum() == 800
    assert chisquare(counts[wrong]).pvalue > 0.001


def means(made: Any) -> dict[int, Any]:
    somebody = sorted(set(made.bank_ids.tolist()) - {-1, 0})
    return {who: made.bank[made.bank_ids == who].mean(0) for who in somebody}


def test_centroids(world: Any) -> None:
    """One mean an identity, of all its images, ascending; junk and distractors have none."""
    for made in worlds(world):
        known, found = near_of(made).bank.centroids
        assert list(means(made)) == known.tolist()
        np.testing.assert_allclose(found, list(means(made).values()), rtol=0, atol=1e-12)


def test_centroids_of_float32_are_means_of_float64(world: Any) -> None:
    """Rounded once, at the end."""
    made = world(0)
    bank = near_of(made).bank
    narrow = FeatureBank(features=bank.features.float(), identities=bank.identities, cameras=bank.cameras)
    exact = FeatureBank(features=narrow.features.double(), identities=bank.identities, cameras=bank.cameras)
    assert torch.equal(exact.centroids[1].float(), narrow.centroids[1])


def test_furthest_and_nearest_others(world: Any) -> None:
    """Another identity than the wanted one, by its centroid's distance from the clean image; the last may repeat."""
    for made in worlds(world):
        near = near_of(made)
        for i in range(len(made.ids) - 1):
            others = [mean for who, mean in means(made).items() if who != made.aims[i]]
            order = sorted(others, key=lambda mean: round(float(((made.clean[i] - mean) ** 2).sum()), 12))
            expected = order + [order[-1]] * 4
            np.testing.assert_allclose(near.nearest_others(len(expected))[i], expected, rtol=0, atol=1e-12)
            reach = [float(((made.clean[i] - mean) ** 2).sum()) for mean in (order[-1], near.furthest[i].numpy())]
            assert pytest.approx(reach[0], abs=1e-12) == reach[1]


def test_where_nobody_else_is(world: Any) -> None:
    """One identity alone is its own furthest one; with none at all the clean feature stands in."""
    made = world(0)
    alone = made.having(bank_ids=np.where(made.bank_ids > 0, 4, made.bank_ids))
    np.testing.assert_allclose(near_of(alone).furthest, means(alone)[4][None].repeat(len(made.ids), 0), atol=1e-12)
    near = near_of(made.having(bank_ids=np.minimum(made.bank_ids, 0)))
    assert torch.equal(near.clean, near.furthest)
    assert torch.equal(near.clean[:, None].expand(-1, 2, -1), near.nearest_others(2))


def test_competitors(world: Any) -> None:
    """Distances from chosen queries to the attacked gallery, and who of it competes: neither junk nor the image."""
    for made in worlds(world):
        near = near_of(made)
        queries = torch.tensor([[3, 0], [0, 0], [5, 3], [1, 9], [2, 2], [0, 1], [3, 3]])
        found = near.competitors(queries)
        for (i, m), k in itertools.product(np.ndindex(7, 2), range(len(made.peers))):
            gap = made.bank[queries[i, m]] - made.peers[k]
            assert pytest.approx(float((gap**2).sum()), abs=1e-12) == found[i, m, k].item()
            assert (made.peer_ids[k] != -1 and k != made.places[i]) == bool(near.competing[i, 0, k])


def test_how_far_images_can_lie(world: Any) -> None:
    """2 for unit features; for others twice the largest distance from the clean image."""
    assert {2.0} == set(near_of(world(0)).largest_distance.tolist())
    made = world(0, unit=False)
    expected = [2 * max(distance(made, i, j) for j in range(len(made.bank))) ** 0.5 for i in range(len(made.ids))]
    assert pytest.approx(expected) == near_of(made).largest_distance.tolist()


def test_an_unstable_order_is_rejected(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong twin: among equals the last index comes first."""
    right = torch.argsort

    def backwards(values: torch.Tensor, dim: int, stable: bool) -> torch.Tensor:
        return values.shape[dim] - 1 - right(values.flip(dim), dim=dim, stable=stable)

    test_nearest(world, 3, 0.0)
    monkeypatch.setattr(torch, "argsort", backwards)
    with pytest.raises(AssertionError):
        test_nearest(world, 3, 0.0)
