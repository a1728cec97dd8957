"""What every attack promises of its surroundings: batch, order and global state neither matter nor are changed."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from robustreid.attacks.catalogue import AttackSpec, resolve_attack
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import Loss
from robustreid.attacks.optimisers import FGSM
from robustreid.attacks.threat import Goal, Threat
from torch import Tensor, nn

TWO, FIVE = (Threat(norm="linf", epsilon=Fraction(counts, 255)) for counts in (2, 5))


def assert_same_in_any_order(scene: Any, spec: AttackSpec) -> None:
    """The check: bit for bit, whichever batch comes first; within a batch last bits may depend on a row's place."""
    assert torch.equal(scene.by(spec, TWO, size=2), scene.by(spec, TWO, size=2, order=[2, 3, 0, 1]))


def test_the_same_seed_gives_the_same_images(real32: Any, brief: AttackSpec) -> None:
    """In float32 on a real model, twice, in two orders."""
    assert_same_in_any_order(real32.of(brief), brief)


def assert_batch_does_not_matter(scene: Any, spec: AttackSpec) -> None:
    """The check: one image, three, or all with padding, in any order: float64 agrees to 1e-6."""
    rows = scene.selection.attacked.tolist()
    expected = scene.by(spec, FIVE, size=1)
    for size, order in ((3, rows[::-1]), (8, None), (12, rows[::-1])):
        found = scene.by(spec, FIVE, size=size, order=order)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_the_batch_does_not_matter(smooth: Any, spec: AttackSpec) -> None:
    """Whoever else is attacked, and wherever in the batch."""
    assert_batch_does_not_matter(smooth.of(spec), spec)


class InCompany(FGSM):
    """The wrong twin: everybody moves along the mean gradient of the batch."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        step = loss.gradient(images).mean(0, keepdim=True).sign()
        return [(images + float(threat.epsilon) * step).clamp(0, 1) for threat in threats]


class Uncontrolled(FGSM):
    """The wrong twin: noise from the global generator."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        return [(images + float(t.epsilon) * torch.randn_like(images).sign()).clamp(0, 1) for t in threats]


def test_a_batch_that_matters_is_rejected(smooth: Any, real32: Any) -> None:
    """A step that is shared by the batch; numbers that nobody seeds."""
    spec = resolve_attack("ama-fgsm")
    with torch.random.fork_rng():
        for wrong, check, scene in (
            (InCompany(), assert_batch_does_not_matter, smooth),
            (Uncontrolled(), assert_batch_does_not_matter, smooth),
            (Uncontrolled(), assert_same_in_any_order, real32),
            (Uncontrolled(), assert_keeps_random_state, smooth),
        ):
            with pytest.raises(AssertionError):
                check(scene, replace(spec, optimiser=wrong))


def test_another_seed(smooth: Any, spec: AttackSpec, goals: list[Goal]) -> None:
    """It changes the images of those attacks that say so, and of no other; a random target changes all that gain."""
    for goal in goals:
        first, *others = [smooth.of(spec, goal).having(seed=seed).by(spec, FIVE) for seed in range(4)]
        assert spec.depends_on_seed(goal) == any(not torch.equal(first, other) for other in others)


def test_another_single_reference(smooth: Any) -> None:
    """Which image stands for its identity is drawn."""
    single = resolve_attack("ama-ifgsm", {"references": "single"})
    assert single.depends_on_seed("untargeted")
    found = [smooth.of(single).having(seed=seed).by(single, FIVE) for seed in range(4)]
    assert any(not torch.equal(found[0], other) for other in found)


def assert_leaves_the_model(scene: Any, spec: AttackSpec) -> None:
    """The check: in eval mode, statistics untouched, no gradient kept on parameters that could have one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(162, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout()).double()
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = scene.images.clone()
    scene.having(embedder=network).by(spec, TWO)
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(images, scene.images)
    assert not scene.images.requires_grad


def test_the_model_is_left_as_it_was(smooth: Any, brief: AttackSpec) -> None:
    """And so are the images."""
    assert_leaves_the_model(smooth.of(brief), brief)


class Teaching(FGSM):
    """The wrong twin: the model ends in training mode."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        found = super().run(loss, images, threats, draw)
        loss._features.embedder.train()  # type: ignore[attr-defined]
        return found


class Leaving(FGSM):
    """The wrong twin: `backward` leaves gradients on the weights."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        loss(images.clone().requires_grad_()).sum().backward()  # type: ignore[no-untyped-call]
        return super().run(loss, images, threats, draw)


@pytest.mark.parametrize("wrong", [Teaching(), Leaving()])
def test_a_changed_model_is_rejected(smooth: Any, wrong: Any) -> None:
    """Training mode, and gradients that stay."""
    with pytest.raises(AssertionError):
        assert_leaves_the_model(smooth, replace(resolve_attack("ama-fgsm"), optimiser=wrong))


def assert_keeps_random_state(scene: Any, spec: AttackSpec) -> None:
    """The check: neither moved nor read: torch, NumPy and Python."""
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    first = scene.by(spec, TWO)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (str(np.random.get_state()), random.getstate())  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert torch.equal(first, scene.by(spec, TWO))


def test_global_random_state_is_untouched(smooth: Any, brief: AttackSpec) -> None:
    """Whatever is drawn, comes from the cell's own stream."""
    assert_keeps_random_state(smooth.of(brief), brief)
