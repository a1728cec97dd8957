"""Wrong twins of every objective: the check against the plain loops fails for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from robustreid.attacks.neighbours import square_distances
from robustreid.attacks.objectives import OBJECTIVES, Given
from robustreid.attacks.references import References
from torch import Tensor


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
    ("soft-ap", {"bins": 25}, _fewer_bins),
    ("soft-ap", {}, _fewer_bins),
    ("soft-ap", {"bins": 5}, _open_end),
    ("soft-ap", {}, _junk_is_right),
    ("soft-ap", {}, _junk_is_wrong),
    ("local-gray", {}, lambda o, f, r: (f - r.mean).square().sum(1)),
]


@pytest.mark.parametrize(("name", "options", "wrong"), BUGS)
def test_a_wrong_objective_is_rejected(equations: Any, world: Any, name: str, options: Any, wrong: Any) -> None:
    """A reversed sign, junk counted, the wrong one chosen, hinges and bins that are off: the check fails for each."""
    right = OBJECTIVES[name](**options)
    side = "query" if "query" in right.sides else "gallery"
    made = [world(seed, side=side, goal=right.goals[0], unit=seed < 3) for seed in range(6)]

    def assert_all() -> None:
        for one in made:
            equations.check(name, Given(function=lambda f, r: wrong(right, f, r)), one, twin=right)

    with pytest.raises(AssertionError):
        assert_all()


def test_every_objective_has_a_wrong_twin() -> None:
    """So that the check is known to be able to fail for each."""
    assert {name for name, _, _ in BUGS} == set(OBJECTIVES)
