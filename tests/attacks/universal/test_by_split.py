"""A perturbation for each split of a data set: one attack that stands for ten, and never runs itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from robustreid import UserError
from robustreid.attacks.catalogue import AttackSpec, resolve_attack
from robustreid.attacks.draw import Draw
from robustreid.attacks.threat import Threat
from robustreid.attacks.universal import Perturbation, UniversalBySplit

Make = Callable[..., Perturbation]
EIGHT = Threat(norm="linf", epsilon=Fraction(8, 255))


@pytest.fixture
def perturbations(make_perturbation: Make) -> tuple[Perturbation, ...]:
    """Ten."""
    return tuple(make_perturbation(seed=seed, procedure="cmps") for seed in range(1, 11))


def resolved(perturbations: Any) -> AttackSpec:
    """The attack of a grid."""
    return resolve_attack("cmps", {"perturbation": perturbations})


def test_each_split_has_its_own(perturbations: tuple[Perturbation, ...]) -> None:
    """In order, each as if it stood alone; one for all is itself everywhere."""
    spec = resolved(perturbations)
    assert len(spec.by_trial) == 10
    for number, fitted in enumerate(perturbations):
        assert spec.of_trial(number) == resolved(fitted)
        assert spec.of_trial(number).perturbation is fitted
        assert spec.of_trial(number).of_trial(number) == spec.of_trial(number)
    assert resolved(perturbations[0]).by_trial == ()


def test_what_a_plan_knows(perturbations: tuple[Perturbation, ...]) -> None:
    """Digests of all, in order; other files or another order are another attack; no pass is counted."""
    spec, same = resolved(perturbations), resolved(tuple(perturbations))
    assert spec.parameters() == {
        "objective": "cmps",
        "optimiser": "universal",
        "perturbation": [f"{seed:064x}" for seed in range(1, 11)],
    }
    json.dumps(spec.parameters())
    assert (spec, hash(spec), spec.label) == (same, hash(same), same.label)
    others = [resolved(perturbations[::-1]), resolved(perturbations[:-1]), resolved(perturbations[0])]
    assert len({spec.label, *(other.label for other in others)}) == 4
    assert spec not in others
    assert spec.perturbation is None
    assert not spec.optimiser.uses_gradients
    assert not spec.asks_scores
    assert not spec.depends_on_seed("untargeted")
    assert spec.optimiser.trace(EIGHT).gradients == ()
    assert spec.sides == ("query", "gallery")
    with pytest.raises(UserError, match="L-inf only"):
        spec.refuse(Threat(norm="l2", epsilon=Fraction(1, 2)), "query", "untargeted")


def test_it_never_runs(perturbations: tuple[Perturbation, ...]) -> None:
    """Whoever forgets the splits is stopped, rather than given the first one's perturbation."""
    optimiser = resolved(perturbations).optimiser
    assert isinstance(optimiser, UniversalBySplit)
    images = torch.zeros(1, 3, 9, 6)
    with pytest.raises(NotImplementedError, match="of_trial"):
        optimiser.run(lambda images: images, images, [EIGHT], Draw(0, ("a",)))  # type: ignore[arg-type]


def test_refusals(perturbations: tuple[Perturbation, ...], make_perturbation: Make) -> None:
    """One file for two splits, several epsilons, another procedure, something that is none."""
    with pytest.raises(UserError, match="splits 1 and 10 have the same perturbation"):
        resolved((*perturbations[:-1], perturbations[0]))
    smaller = make_perturbation(seed=99, procedure="cmps", epsilon="4/255")
    with pytest.raises(UserError, match="2 different epsilons"):
        resolved((*perturbations[:-1], smaller))
    with pytest.raises(UserError, match="was fitted by muap"):
        resolved((*perturbations[:-1], make_perturbation(seed=99)))
    with pytest.raises(UserError, match="expected the path"):
        resolved((*perturbations[:-1], 3))
