"""Every objective against its plain loop: values, and gradients by finite differences."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from robustreid.attacks.objectives import OBJECTIVES

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "evict": [{}, {"candidates": 3}, {"candidates": 8, "pool": 0.3}, {"pool": 1.0}],
    "lower": [{}, {"candidates": 2}, {"candidates": 3, "pool": 0.5}],
    "toward-nearest": [{}, {"neighbour": 2}, {"neighbour": 9}],
    "raise": [{}, {"candidates": 2}, {"candidates": 8}],
    "soft-ap": [{}, {"bins": 25}, {"bins": 2}],
}


def cases() -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """Every objective with every setting, goal and side that it has."""
    for name, kind in OBJECTIVES.items():
        for options, goal, side in itertools.product(SETTINGS.get(name, [{}]), kind.goals, ("query", "gallery")):
            if side in kind.sides:
                yield name, options, goal, side


def test_every_objective_has_a_twin(equations: Any) -> None:
    """And no twin has lost its objective."""
    assert equations.names == set(OBJECTIVES)


@pytest.mark.parametrize(("name", "options", "goal", "side"), list(cases()))
def test_objectives_are_their_equations(
    equations: Any, world: Any, name: str, options: Any, goal: Any, side: Any
) -> None:
    """Unit and raw features, with and without the same-camera rule: values, and gradients by finite differences."""
    objective = OBJECTIVES[name](**options)
    name, objective = ("pull", objective.toward()) if (name, goal) == ("push", "targeted") else (name, objective)
    for seed, (is_unit, junk) in enumerate(itertools.product((True, False), (True, False))):
        made = world(seed, side=side, goal=goal, unit=is_unit, same_camera_is_junk=junk)
        equations.check(name, objective, made)


@pytest.mark.parametrize("times", [2.0, 3.0, 5.0])
def test_the_last_bin_has_no_end(equations: Any, world: Any, times: float) -> None:
    """Raw features can go further than any clean distance: images beyond the last bin count in it."""
    for seed in range(4):
        made = world(seed, unit=False)
        equations.check("soft-ap", OBJECTIVES["soft-ap"](), made, at=made.clean * times)


@pytest.mark.parametrize(("name", "options", "goal", "side"), list(cases()))
def test_objectives_are_their_equations_behind_a_model(
    equations: Any, smooth: Any, world: Any, name: str, options: Any, goal: Any, side: Any
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
    expected = equations.values(name, made, features, objective)
    ours = (loss(shifted) - (loss(images) if equations.has_constant(name) else 0))[: len(rows)].numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)
