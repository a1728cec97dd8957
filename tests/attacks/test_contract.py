"""What every preset promises, whatever its name: a new preset without a row here fails."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from robustreid.attacks.catalogue import PRESETS, AttackSpec, resolve_attack
from robustreid.attacks.counts import quantise
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import Loss
from robustreid.attacks.norms import NORM
from robustreid.attacks.optimisers import FGSM
from robustreid.attacks.threat import Goal, NormName, Threat
from torch import Tensor, nn

#: Each preset, and the parameters that make it quick enough for a test.
SUITE: dict[str, dict[str, Any]] = {
    "ama-fgsm": {},
    "ama-ifgsm": {},
    "ama-mifgsm": {},
    "pgd": {"steps": 5, "restarts": 2},
    "apgd": {"steps": 6, "restarts": 2},
    "noise": {},
    "sma": {"steps": 5},
    "odfa": {},
    "fna": {"steps": 5},
    "fna-no-push": {"steps": 5},
    "fna-no-pull": {"steps": 5},
    "fna-public": {"steps": 5},
    "sg-ifgsm": {"steps": 5},
    "pire": {"steps": 6},
    "tma": {"steps": 6},
    "ltm": {"steps": 5},
    "gtm": {"steps": 5},
    "gtt": {"steps": 5},
    "qa-plus": {"steps": 5},
    "qa-minus": {"steps": 5, "pool": 0.5},
    "ca-plus": {"steps": 5},
    "ca-minus": {"steps": 5, "pool": 0.5},
    "soft-ap": {"steps": 6},
    "lta": {"steps": 5},
    "di-ti-mi": {"steps": 5},
}
#: Those that look at the loss, with the numbers of steps that are compared; none where there is one step.
GAINS: dict[str, tuple[int, ...]] = {
    "ama-fgsm": (),
    **dict.fromkeys(
        [name for name in SUITE if name not in {"ama-fgsm", "noise", "odfa", "apgd", "soft-ap", "pire", "tma"}],
        (1, 3, 8),
    ),
    "odfa": (1, 3, 8),
    **dict.fromkeys(["apgd", "soft-ap", "pire", "tma"], (2, 6, 20)),
}
FIVE = Threat(norm="linf", epsilon=Fraction(5, 255))


@pytest.fixture(params=PRESETS)
def spec(request: pytest.FixtureRequest) -> AttackSpec:
    """Every preset of the catalogue."""
    assert request.param in SUITE, f"preset {request.param} has no row in the contract suite"
    return resolve_attack(request.param, SUITE[request.param])


def threats(spec: AttackSpec) -> Iterator[Threat]:
    for norm, radii in (("linf", ("0", "1/255", "5/255", "3/510")), ("l2", ("0", "1/5", "3/2"))):
        if norm == "linf" or not spec.linf_only:
            for radius in radii:
                chosen: NormName = "linf" if norm == "linf" else "l2"
                yield Threat(norm=chosen, epsilon=Fraction(radius))


def test_every_preset_has_a_row() -> None:
    """And no row has lost its preset; those that use a loss have a row of gains."""
    assert set(SUITE) == set(PRESETS)
    assert set(GAINS) == {name for name in PRESETS if resolve_attack(name).optimiser.uses_loss}


def assert_keeps_budget(scene: Any, spec: AttackSpec, threat: Threat) -> None:
    """The check: inside the ball without help, in [0, 1], as 8-bit images too, and only attacked images moved."""
    found, attempts = scene.attempts_by(spec, threat, size=4)
    assert all(attempt.flags == frozenset() for attempt in attempts)
    for images in (found, quantise(found, scene.images)):
        size = NORM[threat.norm].measure(images.double() - scene.images.double())
        assert (size <= float(threat.epsilon) + 1e-6).all()
        assert images.min() >= 0
        assert images.max() <= 1
    clean = np.setdiff1d(np.arange(len(found)), scene.selection.attacked)
    assert torch.equal(scene.images[clean], found[clean])
    assert (threat.epsilon == 0) == torch.equal(scene.images, found)


def test_budget(smooth: Any, spec: AttackSpec) -> None:
    """Whole and fractional radii, both norms where both are defined; epsilon 0 is the clean image bit for bit."""
    for goal, threat in itertools.product(spec.objective.goals, threats(spec)):
        if spec.references != "self" or goal == "untargeted":
            assert_keeps_budget(smooth.of(spec, goal), spec, threat)


def test_budget_in_float32_on_a_real_model(real32: Any, spec: AttackSpec) -> None:
    """The type, the size and the model that are really used."""
    for threat in (*([Threat(norm="l2", epsilon=Fraction(3))] if not spec.linf_only else []), FIVE):
        assert_keeps_budget(real32.of(spec), spec, threat)


class Greedy(FGSM):
    """The wrong twin: a budget that is 1.1 times the one allowed."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        return super().run(
            loss, images, [Threat(norm=t.norm, epsilon=t.epsilon * Fraction(11, 10)) for t in threats], draw
        )


def test_a_larger_budget_is_rejected(smooth: Any) -> None:
    """The check of the budget fails for it, although the final projection brings its images back."""
    spec = resolve_attack("ama-fgsm")
    assert_keeps_budget(smooth, spec, FIVE)
    with pytest.raises(AssertionError):
        assert_keeps_budget(smooth, replace(spec, optimiser=Greedy()), FIVE)


def test_the_same_seed_gives_the_same_images(real32: Any, spec: AttackSpec) -> None:
    """Bit for bit, twice, and whichever batch comes first; within a batch a row's last bits may depend on its place."""
    scene = real32.of(spec)
    expected = scene.by(spec, FIVE, size=2)
    assert torch.equal(expected, scene.by(spec, FIVE, size=2))
    assert torch.equal(expected, scene.by(spec, FIVE, size=2, order=[2, 3, 0, 1]))


def test_the_batch_does_not_matter(smooth: Any, spec: AttackSpec) -> None:
    """One image, three, or all with padding, in any order: float64 agrees to 1e-6."""
    scene = smooth.of(spec)
    rows = scene.selection.attacked.tolist()
    expected = scene.by(spec, FIVE, size=1)
    for size in (3, 8, 12):
        for order in (None, rows[::-1]):
            found = scene.by(spec, FIVE, size=size, order=order)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_another_seed(smooth: Any, spec: AttackSpec) -> None:
    """It changes the images of those attacks that say so, and of no other; a random target changes all that gain."""
    for goal in spec.objective.goals:
        if spec.references == "self" and goal == "targeted":
            continue
        scene = smooth.of(spec, goal)
        first, *others = [scene.having(seed=seed).by(spec, FIVE) for seed in range(4)]
        assert spec.depends_on_seed(goal) == any(not torch.equal(first, other) for other in others)


def test_another_single_reference(smooth: Any) -> None:
    """Which image stands for its identity is drawn."""
    single = resolve_attack("ama-ifgsm", {"references": "single"})
    assert single.depends_on_seed("untargeted")
    found = [smooth.of(single).having(seed=seed).by(single, FIVE) for seed in range(4)]
    assert any(not torch.equal(found[0], other) for other in found)


def test_the_model_is_left_as_it_was(smooth: Any, grid_images: Callable[..., Tensor], spec: AttackSpec) -> None:
    """In eval mode, statistics untouched, no gradient kept on parameters that could have one, images as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(162, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout()).double()
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = smooth.images.clone()
    smooth.of(spec).having(embedder=network).by(spec, FIVE)
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(images, smooth.images)
    assert images.grad is None
    assert not smooth.images.requires_grad


def test_global_random_state_is_untouched(smooth: Any, spec: AttackSpec) -> None:
    """Neither moved nor read: torch, NumPy and Python."""
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    first = smooth.of(spec).by(spec, FIVE)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (str(np.random.get_state()), random.getstate())  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert torch.equal(first, smooth.of(spec).by(spec, FIVE))


def assert_gains(scene: Any, spec: AttackSpec) -> None:
    """The check: the objective is larger than on clean images, on average and nearly everywhere, and beats noise."""
    noise = scene.run(resolve_attack("noise").optimiser, FIVE)
    clean, control, found = (
        scene.values(images, spec.objective_for(scene.goal)) for images in (scene.images, noise, scene.by(spec, FIVE))
    )
    assert found.mean() > clean.mean()
    assert (found > clean).double().mean() > 0.7
    assert found.mean() - clean.mean() > 5 * abs(control.mean() - clean.mean())


def cases() -> Iterator[tuple[str, Goal]]:
    """Every attack that climbs, under every goal it has."""
    for name in GAINS:
        spec = resolve_attack(name)
        for goal in spec.objective.goals:
            if spec.references != "self" or goal == "untargeted":
                yield name, goal


@pytest.mark.parametrize(("name", "goal"), list(cases()))
def test_attacks_gain_and_beat_noise(real32: Any, name: str, goal: Goal) -> None:
    """On a real model the objective rises more than noise lets it rise."""
    spec = resolve_attack(name, SUITE[name])
    assert_gains(real32.of(spec, goal), spec)


@pytest.mark.parametrize("name", GAINS)
def test_a_reversed_gradient_is_rejected(real32: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong twin: descending does not pass for an attack."""
    right, spec = Loss.slope, resolve_attack(name, SUITE[name])

    def reversed_slope(self: Loss, images: Tensor, moment: Any = (0, 0)) -> tuple[Tensor, Tensor]:
        value, gradient = right(self, images, moment)
        return -value, -gradient

    monkeypatch.setattr(Loss, "slope", reversed_slope)
    with pytest.raises(AssertionError):
        assert_gains(real32.of(spec), spec)


@pytest.mark.parametrize("name", [name for name, steps in GAINS.items() if steps])
def test_more_steps_never_hurt_on_average(real32: Any, name: str) -> None:
    """The mean objective does not fall as steps are added, and rises from the first to the last."""
    values = []
    for steps in GAINS[name]:
        spec = resolve_attack(name, {**SUITE[name], "steps": steps})
        scene = real32.of(spec)
        values.append(scene.values(scene.by(spec, FIVE), spec.objective_for(scene.goal)).mean().item())
    assert sorted(values) == values
    assert values[0] < values[-1]


def test_more_restarts_never_hurt(smooth: Any) -> None:
    """The best end is kept, so no image is worse off, and some are better."""
    values = [
        smooth.values(smooth.run(resolve_attack("pgd", {"steps": 2, "restarts": restarts}).optimiser, FIVE))
        for restarts in (1, 2, 5)
    ]
    assert (values[1] >= values[0] - 1e-12).all()
    assert (values[2] >= values[1] - 1e-12).all()
    assert (values[2] > values[0] + 1e-9).any()
