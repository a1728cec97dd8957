"""Every objective as a plain loop over one image and one pair at a time, written from the papers' equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from robustreid.attacks.objectives import Objective

Array = NDArray[np.float64]
Rule = Callable[[Any, int, Array, Any], float]


def d(a: Array, b: Array) -> float:
    """The squared Euclidean distance."""
    return float(((a - b) ** 2).sum())


def unit(a: Array) -> Array:
    found: Array = a / np.sqrt((a * a).sum())
    return found


def hinge(value: float) -> float:
    return max(value, 0.0)


def own(w: Any, i: int) -> list[Array]:
    """The images that an attack pushes from, or pulls to."""
    return [w.bank[j] for j in w.members[i]]


def right(w: Any, i: int) -> list[int]:
    """Those of the wanted identity, less the same camera's, which count only where another one is wanted."""
    found = []
    for j in range(len(w.bank)):
        is_junk = w.same_camera_is_junk and w.aims[i] == w.ids[i] and w.bank_cams[j] == w.cams[i]
        if w.bank_ids[j] == w.aims[i] and not is_junk:
            found.append(j)
    return found


def wrong(w: Any, i: int) -> list[int]:
    """Everybody else, distractors too, but junk."""
    return [j for j in range(len(w.bank)) if w.bank_ids[j] not in (-1, w.aims[i])]


def by_distance(w: Any, i: int, among: list[int]) -> list[int]:
    """From near to far, from the clean image, ties by index."""
    return sorted(among, key=lambda j: (d(w.clean[i], w.bank[j]), j))


def head(w: Any, i: int, o: Any) -> list[int]:
    """Candidates from the head of the ranking: the first ones, or drawn from its first share."""
    order = by_distance(w, i, sorted(right(w, i) + wrong(w, i)))
    if not o.pool:
        return [order[min(m, len(order) - 1)] for m in range(o.candidates)]
    size = int(np.ceil(round(o.pool * len(order), 9)))
    return [order[int(w.lots[i][m] * size)] for m in range(o.candidates)]


def centre(group: list[Array]) -> Array:
    found: Array = np.mean(group, axis=0)
    return found


def far(w: Any, i: int) -> list[Array]:
    """The images of the other identity whose mean is furthest from the clean image."""
    groups = [[w.bank[j] for j in range(len(w.bank)) if w.bank_ids[j] == who] for who in (4, 7, 9)]
    others = [group for who, group in zip((4, 7, 9), groups, strict=True) if who != w.aims[i]]
    return max(others, key=lambda group: d(w.clean[i], centre(group)))


def nearest_centroid(w: Any, i: int, k: int) -> Array:
    """The mean of the other identity that is the k-th nearest to the clean image; the last where there are fewer."""
    means = [w.bank[w.bank_ids == who].mean(0) for who in (4, 7, 9) if who != w.aims[i]]
    found: Array = sorted(means, key=lambda mean: d(w.clean[i], mean))[min(k, len(means)) - 1]
    return found


def mean_of(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def rivals(w: Any, i: int) -> list[Array]:
    """The other images of the attacked gallery."""
    return [w.peers[k] for k in range(len(w.peers)) if w.peer_ids[k] != -1 and k != w.places[i]]


def push(w: Any, i: int, f: Array, o: Any) -> float:
    return sum(d(f, r) for r in own(w, i))


def furthest(w: Any, i: int, f: Array, o: Any) -> float:
    return mean_of([d(f, g) for g in own(w, i)]) - mean_of([d(f, g) for g in far(w, i)])


def furthest_sum(w: Any, i: int, f: Array, o: Any) -> float:
    group = far(w, i)
    return push(w, i, f, o) + d(f, w.clean[i]) - d(f, centre(group))


def target_feature(w: Any, i: int, f: Array, o: Any) -> float:
    target = centre(own(w, i))
    if w.aims[i] == w.ids[i]:
        others = wrong(w, i)
        target = w.bank[others[int(w.lots[i][0] * len(others))]]
    return float((unit(f) * unit(target)).sum())


def misrank(w: Any, i: int, f: Array, o: Any) -> float:
    near = min((d(f, w.bank[j]) for j in right(w, i)), default=0.0)
    return near - max((d(f, w.bank[j]) for j in wrong(w, i)), default=0.0)


def evict(w: Any, i: int, f: Array, o: Any) -> float:
    ranked = right(w, i) + wrong(w, i)
    return -mean_of([hinge(d(f, w.bank[x]) - d(f, w.bank[c])) for c in head(w, i, o) for x in ranked])


def lower(w: Any, i: int, f: Array, o: Any) -> float:
    queries = [w.bank[j] for j in head(w, i, o)]
    return -mean_of([hinge(d(q, x) - d(q, f)) for q in queries for x in rivals(w, i)])


def raise_(w: Any, i: int, f: Array, o: Any) -> float:
    order = by_distance(w, i, right(w, i))
    chosen = [order[min(m, len(order) - 1)] for m in range(o.candidates)]
    if w.side == "query":
        ranked = [w.bank[x] for x in right(w, i) + wrong(w, i)]
        return -mean_of([hinge(d(f, w.bank[c]) - d(f, x)) for c in chosen for x in ranked])
    return -mean_of([hinge(d(w.bank[q], f) - d(w.bank[q], x)) for q in chosen for x in rivals(w, i)])


def soft_ap(w: Any, i: int, f: Array, o: Any) -> float:
    reach = 2.0
    if any(abs(sum(g * g) - 1) > 1e-6 for g in w.bank):
        reach = 2 * max(np.sqrt(d(w.clean[i], g)) for g in w.bank)
    step, n = reach / (o.bins - 1), len(right(w, i))

    hits, misses = ([np.sqrt(d(f, w.bank[j])) / step for j in among] for among in (right(w, i), wrong(w, i)))

    def counted(places: list[float], m: int) -> float:
        """How many lie in bin m, each shared between its two bins; the last one takes what is beyond."""
        return sum(1.0 if m == o.bins - 1 and at >= m else hinge(1 - abs(at - m)) for at in places)

    ap = r = everyone = 0.0
    for m in range(o.bins):
        found = counted(hits, m)
        r, everyone = r + found, everyone + found + counted(misses, m)
        if everyone:
            ap += found / n * r / everyone
    return -ap


TWINS: dict[str, Rule] = {
    "push": push,
    "pull": lambda w, i, f, o: -push(w, i, f, o),
    "self": lambda w, i, f, o: d(f, w.clean[i]),
    "opposite": lambda w, i, f, o: -d(unit(f), -unit(w.clean[i])),
    "furthest": furthest,
    "furthest-pull": lambda w, i, f, o: -mean_of([d(f, g) for g in far(w, i)]),
    "furthest-sum": furthest_sum,
    "misrank": misrank,
    "nearest-wrong": lambda w, i, f, o: -d(f, w.bank[by_distance(w, i, wrong(w, i))[0]]),
    "toward-nearest": lambda w, i, f, o: -d(f, nearest_centroid(w, i, o.neighbour)),
    "evict": evict,
    "raise": raise_,
    "lower": lower,
    "target-feature": target_feature,
    "soft-ap": soft_ap,
    # What stands for the clean feature is another suite's.
    "local-gray": lambda w, i, f, o: d(unit(f), unit(w.clean[i])),
}
#: Equal up to a constant of the image: sums of squares that are replaced by their mean.
UP_TO_A_CONSTANT = {"push", "pull", "furthest", "furthest-pull", "furthest-sum"}


def moved(world: Any, seed: int = 1) -> Array:
    """Features a little off the clean ones, of the same kind."""
    off = world.clean + 0.3 * np.random.default_rng(seed).normal(size=world.clean.shape)
    is_unit = np.abs((world.bank**2).sum(1) - 1).max() < 1e-9
    found: Array = off / np.linalg.norm(off, axis=1, keepdims=True) if is_unit else off
    return found


class Equations:
    """The loops, and the check that an objective is one of them."""

    names = frozenset(TWINS)

    @staticmethod
    def has_constant(name: str) -> bool:
        """Whether the objective is equal to its loop only up to a constant of the image."""
        return name in UP_TO_A_CONSTANT

    @staticmethod
    def values(name: str, world: Any, features: Array, objective: Objective) -> Array:
        """(B,), NaN where there is nobody to attack."""
        found = np.full(len(features), np.nan)
        for i, members in enumerate(world.members):
            if members:
                found[i] = TWINS[name](world, i, features[i], objective)
                if name in UP_TO_A_CONSTANT:
                    found[i] -= TWINS[name](world, i, world.clean[i], objective)
        return found

    def check(
        self, name: str, objective: Objective, world: Any, twin: Objective | None = None, at: Array | None = None
    ) -> None:
        """The check, values and gradients; `twin` has the parameters where `objective` is a wrong one."""
        references, features = world.references(), moved(world) if at is None else at
        leaf = torch.from_numpy(features).clone().requires_grad_()
        value = objective(leaf, references)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        ours = value.detach().numpy().copy()
        if name in UP_TO_A_CONSTANT:
            ours -= objective(torch.from_numpy(world.clean), references).numpy()
        assert np.isfinite(ours).all()
        assert bool(gradient.isfinite().all())
        attacked = np.array([bool(members) for members in world.members])
        expected = self.values(name, world, features, twin or objective)
        np.testing.assert_allclose(ours[attacked], expected[attacked], rtol=0, atol=1e-9)
        slope, h = np.zeros_like(features), 1e-6
        for k in range(features.shape[1]):
            up, down = features.copy(), features.copy()
            up[:, k] += h
            down[:, k] -= h
            rise = (self.values(name, world, one, twin or objective) for one in (up, down))
            slope[:, k] = np.subtract(*rise) / (2 * h)
        np.testing.assert_allclose(gradient.numpy()[attacked], slope[attacked], rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="session")
def equations() -> Equations:
    """The loops and the check."""
    return Equations()
