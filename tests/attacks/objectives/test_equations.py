"""Every objective against a plain loop over one image and one pair at a time, written from the papers' equations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from robustreid.attacks.neighbours import square_distances
from robustreid.attacks.objectives import OBJECTIVES, Given, Objective
from robustreid.attacks.references import References
from torch import Tensor

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
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "evict": [{}, {"candidates": 3}, {"candidates": 8, "pool": 0.3}, {"pool": 1.0}],
    "lower": [{}, {"candidates": 2}, {"candidates": 3, "pool": 0.5}],
    "toward-nearest": [{}, {"neighbour": 2}, {"neighbour": 9}],
    "raise": [{}, {"candidates": 2}, {"candidates": 8}],
    "soft-ap": [{}, {"bins": 5}, {"bins": 2}],
}


def cases() -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """Every objective with every setting, goal and side that it has."""
    for name, kind in OBJECTIVES.items():
        for options, goal, side in itertools.product(SETTINGS.get(name, [{}]), kind.goals, ("query", "gallery")):
            if side in kind.sides:
                yield name, options, goal, side


def test_every_objective_has_a_twin() -> None:
    """And no twin has lost its objective."""
    assert set(TWINS) == set(OBJECTIVES)


def twin_values(name: str, world: Any, features: Array, objective: Objective) -> Array:
    """(B,), NaN where there is nobody to attack."""
    found = np.full(len(features), np.nan)
    for i, members in enumerate(world.members):
        if members:
            found[i] = TWINS[name](world, i, features[i], objective)
            if name in UP_TO_A_CONSTANT:
                found[i] -= TWINS[name](world, i, world.clean[i], objective)
    return found


def moved(world: Any, seed: int = 1) -> Array:
    """Features a little off the clean ones, of the same kind."""
    off = world.clean + 0.3 * np.random.default_rng(seed).normal(size=world.clean.shape)
    is_unit = np.abs((world.bank**2).sum(1) - 1).max() < 1e-9
    found: Array = off / np.linalg.norm(off, axis=1, keepdims=True) if is_unit else off
    return found


def assert_is_the_equation(
    name: str, objective: Objective, world: Any, twin: Objective | None = None, at: Array | None = None
) -> None:
    """The check of this file, values and gradients; `twin` has the parameters where `objective` is a wrong one."""
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
    expected = twin_values(name, world, features, twin or objective)
    np.testing.assert_allclose(ours[attacked], expected[attacked], rtol=0, atol=1e-9)
    slope, h = np.zeros_like(features), 1e-6
    for k in range(features.shape[1]):
        up, down = features.copy(), features.copy()
        up[:, k] += h
        down[:, k] -= h
        rise = (twin_values(name, world, one, twin or objective) for one in (up, down))
        slope[:, k] = np.subtract(*rise) / (2 * h)
    np.testing.assert_allclose(gradient.numpy()[attacked], slope[attacked], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "options", "goal", "side"), list(cases()))
def test_objectives_are_their_equations(world: Any, name: str, options: Any, goal: Any, side: Any) -> None:
    """Unit and raw features, with and without the same-camera rule: values, and gradients by finite differences."""
    objective = OBJECTIVES[name](**options)
    name, objective = ("pull", objective.toward()) if (name, goal) == ("push", "targeted") else (name, objective)
    for seed, (is_unit, junk) in enumerate(itertools.product((True, False), (True, False))):
        made = world(seed, side=side, goal=goal, unit=is_unit, same_camera_is_junk=junk)
        assert_is_the_equation(name, objective, made)


@pytest.mark.parametrize("times", [2.0, 3.0, 5.0])
def test_the_last_bin_has_no_end(world: Any, times: float) -> None:
    """Raw features can go further than any clean distance: images beyond the last bin count in it."""
    for seed in range(4):
        made = world(seed, unit=False)
        assert_is_the_equation("soft-ap", OBJECTIVES["soft-ap"](), made, at=made.clean * times)


@pytest.mark.parametrize(("name", "options", "goal", "side"), list(cases()))
def test_objectives_are_their_equations_behind_a_model(
    smooth: Any, world: Any, name: str, options: Any, goal: Any, side: Any
) -> None:
    """The same through images, model, selection and batch, at images that are not clean."""
    scene = smooth.having(goal=goal, side=side)
    objective = OBJECTIVES[name](**options)
    objective = objective.toward() if goal == "targeted" else objective
    name = "pull" if (name, goal) == ("push", "targeted") else name
    rows = scene.selection.attacked.tolist()
    loss, images, draw = scene.batch(rows, len(rows) + 1, objective)
    shifted = (images + 0.03).clamp(0, 1)
    bank, peers, features = (
        scene.features(one).numpy() for one in (scene.reference_images, scene.images, shifted[: len(rows)])
    )
    aims = scene.selection.target_identities[rows]
    made = world().having(
        side=side,
        bank=bank,
        bank_ids=scene.reference.identities,
        bank_cams=scene.reference.cameras,
        peers=peers,
        peer_ids=scene.attacked.identities,
        places=np.array(rows),
        clean=peers[rows],
        ids=scene.attacked.identities[rows],
        aims=aims,
        cams=scene.attacked.cameras[rows],
        lots=draw.meant_for("lots").rows(0, 0, (8,)).numpy(),
        members=tuple(np.flatnonzero(scene.reference.identities == aim).tolist() for aim in aims),
    )
    expected = twin_values(name, made, features, objective)
    ours = (loss(shifted) - (loss(images) if name in UP_TO_A_CONSTANT else 0))[: len(rows)].numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)


def _junk_is_right(o: Any, f: Tensor, r: References) -> Tensor:
    assert r.neighbours is not None
    r.neighbours.__dict__["positives"] = r.neighbours.bank.identities == r.neighbours.aims[:, None]
    return o(f, r)  # type: ignore[no-any-return]


def _junk_is_wrong(o: Any, f: Tensor, r: References) -> Tensor:
    n = r.neighbours
    assert n is not None
    n.__dict__["negatives"] = n.bank.identities != n.aims[:, None]
    n.__dict__.pop("valid", None)
    return o(f, r)  # type: ignore[no-any-return]


def _nobody_counts(o: Any, f: Tensor, r: References) -> Tensor:
    """Junk and distractors have centroids like persons."""
    n = r.neighbours
    assert n is not None
    known = torch.unique(n.bank.identities)
    n.bank.__dict__["centroids"] = (
        known,
        torch.stack([n.bank.features[n.bank.identities == who].mean(0) for who in known]),
    )
    return o(f, r)  # type: ignore[no-any-return]


def _now(o: Any, f: Tensor, r: References) -> Tensor:
    """Who is near is looked up at the perturbed feature, not at the clean one."""
    n = r.neighbours
    assert n is not None
    n.__dict__["clean_distances"] = square_distances(f.detach(), n.bank)
    return o(f, r)  # type: ignore[no-any-return]


def _fewer_bins(o: Any, f: Tensor, r: References) -> Tensor:
    return OBJECTIVES["soft-ap"](bins=o.bins - 1)(f, r)  # type: ignore[call-arg]


def _open_end(o: Any, f: Tensor, r: References) -> Tensor:
    """Precision without the images of the own bin."""
    n = r.neighbours
    assert n is not None
    at = (square_distances(f, n.bank) + 1e-12).sqrt() / (n.largest_distance[:, None] / (o.bins - 1))
    shares = torch.stack([(1 - (at - m).abs()).clamp_min(0) for m in range(o.bins)])
    hits, seen = (shares * n.positives).sum(2), (shares * n.valid).sum(2)
    before, all_before = hits.cumsum(0) - hits, seen.cumsum(0) - seen
    return -(hits * before / all_before.clamp_min(1e-12)).sum(0) / n.positives.sum(1).clamp_min(1)


def _itself_too(o: Any, f: Tensor, r: References) -> Tensor:
    """The attacked gallery image competes with itself."""
    n = r.neighbours
    assert n is not None
    n.__dict__["competing"] = (n.peers.identities != -1).expand(len(f), -1)[:, None]
    return o(f, r)  # type: ignore[no-any-return]


def _swapped(o: Any, f: Tensor, r: References) -> Tensor:
    """Nearest wrong near, furthest right away."""
    n = r.neighbours
    assert n is not None
    distances = square_distances(f, n.bank)
    away = torch.where(n.positives, distances, -torch.inf).amax(1)
    return (away - torch.where(n.negatives, distances, torch.inf).amin(1)).nan_to_num(posinf=0, neginf=0)


def _normalised_mean(o: Any, f: Tensor, r: References) -> Tensor:
    return r.count * (f - torch.nn.functional.normalize(r.mean)).square().sum(1)


#: The objective, its parameters, and what the wrong twin computes in its place.
BUGS: list[tuple[str, dict[str, Any], Callable[..., Tensor]]] = [
    ("push", {}, lambda o, f, r: -o(f, r)),
    ("push", {}, lambda o, f, r: (f - r.mean).square().sum(1)),
    ("push", {}, _normalised_mean),
    ("push", {}, lambda o, f, r: r.count * (f - r.mean).norm(dim=1)),
    ("pull", {}, lambda o, f, r: -o(f, r)),
    ("self", {}, lambda o, f, r: (f - r.mean).square().sum(1)),
    ("opposite", {}, lambda o, f, r: -o(f, r)),
    ("opposite", {}, lambda o, f, r: -(f + r.clean).square().sum(1)),
    ("furthest", {}, lambda o, f, r: -o(f, r)),
    ("furthest", {}, _nobody_counts),
    (
        "furthest",
        {},
        lambda o, f, r: r.count * (f - r.mean).square().sum(1) - (f - r.neighbours.furthest).square().sum(1),
    ),
    (
        "furthest",
        {},
        lambda o, f, r: (f - r.mean).square().sum(1) - (f - r.neighbours.nearest_others(1)[:, 0]).square().sum(1),
    ),
    ("furthest-pull", {}, _nobody_counts),
    ("furthest-sum", {}, lambda o, f, r: OBJECTIVES["furthest"]()(f, r)),
    ("misrank", {}, _swapped),
    ("misrank", {}, _junk_is_right),
    ("misrank", {}, _junk_is_wrong),
    ("nearest-wrong", {}, _now),
    ("nearest-wrong", {}, _junk_is_wrong),
    ("toward-nearest", {}, lambda o, f, r: OBJECTIVES["furthest-pull"]()(f, r)),
    ("toward-nearest", {"neighbour": 2}, lambda o, f, r: OBJECTIVES["toward-nearest"]()(f, r)),
    ("evict", {}, lambda o, f, r: -o(f, r)),
    ("evict", {}, _now),
    ("evict", {}, _junk_is_wrong),
    ("evict", {"candidates": 3}, lambda o, f, r: OBJECTIVES["evict"]()(f, r)),
    ("evict", {"pool": 1.0}, lambda o, f, r: OBJECTIVES["evict"]()(f, r)),
    ("raise", {}, lambda o, f, r: OBJECTIVES["evict"]()(f, r)),
    ("raise", {}, _junk_is_wrong),
    ("lower", {}, _itself_too),
    ("lower", {}, lambda o, f, r: OBJECTIVES["raise"]()(f, r)),
    ("target-feature", {}, lambda o, f, r: -o(f, r)),
    ("target-feature", {}, _junk_is_wrong),
    ("soft-ap", {}, lambda o, f, r: -o(f, r)),
    ("soft-ap", {}, _fewer_bins),
    ("soft-ap", {"bins": 5}, _open_end),
    ("soft-ap", {}, _junk_is_right),
    ("soft-ap", {}, _junk_is_wrong),
    ("local-gray", {}, lambda o, f, r: (f - r.mean).square().sum(1)),
]


@pytest.mark.parametrize(("name", "options", "wrong"), BUGS)
def test_a_wrong_objective_is_rejected(world: Any, name: str, options: Any, wrong: Any) -> None:
    """A reversed sign, junk counted, the wrong one chosen, hinges and bins that are off: the check fails for each."""
    right = OBJECTIVES[name](**options)
    side = "query" if "query" in right.sides else "gallery"
    made = [world(seed, side=side, goal=right.goals[0], unit=seed < 3) for seed in range(6)]

    def assert_all() -> None:
        for one in made:
            assert_is_the_equation(name, Given(function=lambda f, r: wrong(right, f, r)), one, twin=right)

    with pytest.raises(AssertionError):
        assert_all()


def test_every_objective_has_a_wrong_twin() -> None:
    """So that the check is known to be able to fail for each."""
    assert {name for name, _, _ in BUGS} == set(OBJECTIVES)
