"""A linear model and two persons: the smallest budget that flips their order is known, and no attack beats it.

f(x) = W x, not normalised; L(x) = ||f - o||^2 - ||f - p||^2 with o the own image's feature and p another person's.
The squares of f cancel: L = 2 f.(p - o) + const, so its gradient is g = 2 W^T (p - o) everywhere. An image is flipped
where L > 0. Within a ball of radius e the gain is at most e ||g||_1 for L-inf and e ||g||_2 for L2 (Hoelder), and
equal to it for the step e sign(g), or e g / ||g||_2. So the smallest flip is -L / ||g||.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustreid.attacks.base import Attack
from robustreid.attacks.catalogue import resolve_attack
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import FeatureMemo, Loss
from robustreid.attacks.objectives import Given
from robustreid.attacks.optimisers import Optimiser
from robustreid.attacks.references import References
from robustreid.attacks.threat import NormName, Threat
from torch import Tensor

ATTACKS: dict[str, dict[str, Any]] = {
    "fgsm": {},
    "ifgsm": {},
    "mifgsm": {},
    "pgd": {"step_ratio": 5.0, "restarts": 3},
    "noise": {},
}
IDS = ("a", "b", "c", "d", "e")
NO_REFERENCES = References(count=torch.zeros(len(IDS)), mean=torch.zeros(len(IDS), 1))


def optimiser(name: str, norm: NormName, smallest: float) -> Optimiser:
    """An optimiser joined with an objective of this file; where steps have a length, one that reaches the boundary."""
    options = dict(ATTACKS[name])
    if "ifgsm" in name and norm == "l2":
        options |= {"step_size": smallest / 4, "steps": 6}
    return resolve_attack(f"linear-{name}", {"objective": "push", "optimiser": name, **options}).optimiser


@dataclass(frozen=True)
class Linear:
    """Five images of one person, whose features are close to the own one and far from the other one."""

    weight: Tensor
    own: Tensor
    other: Tensor
    images: Tensor

    @classmethod
    def make(cls, seed: int) -> Linear:
        source = torch.Generator().manual_seed(seed)
        weight = torch.randn(4, 3 * 6 * 4, generator=source, dtype=torch.float64)
        own, other = (0.3 + 0.4 * torch.rand(2, 72, generator=source, dtype=torch.float64)) @ weight.T
        start = torch.randint(90, 165, (5, 3, 6, 4), generator=source).double()
        # A point a little on the own side of the border, for each image its own distance away.
        slope = weight.T @ (other - own)
        flat = start.flatten(1) / 255
        value = 2 * (flat @ slope) + own.square().sum() - other.square().sum()
        wanted = -torch.tensor([3.3, 6.5, 8.2, 11.7, 16.0]).double() / 255 * 2 * slope.abs().sum()
        flat = flat + ((wanted - value) / (2 * slope.square().sum()))[:, None] * slope
        return cls(weight, own, other, flat.reshape(start.shape))

    def embed(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.T

    def objective(self, features: Tensor, references: References) -> Tensor:
        """Larger is better for the adversary; it needs no references, and no optimiser knows it."""
        del references
        return (features - self.own).square().sum(1) - (features - self.other).square().sum(1)

    def smallest(self, norm: NormName) -> Tensor:
        """The radii (5,) in pixel units."""
        dual = (self.weight.T @ (self.other - self.own)).norm(p=1 if norm == "linf" else 2)
        smallest: Tensor = -self.objective(self.embed(self.images), NO_REFERENCES) / (2 * dual)
        return smallest

    def flipped(self, name: str, norm: NormName, share: float) -> list[bool]:
        """Whether an attack at `share` of its smallest budget flips each image, alone in its batch."""
        found = []
        for image, key, smallest in zip(self.images, IDS, self.smallest(norm).tolist(), strict=True):
            threat = Threat(norm=norm, epsilon=Fraction(share * smallest))
            loss = Loss(FeatureMemo(self.embed, 1), Given(function=self.objective), NO_REFERENCES)
            attack = Attack(optimiser=optimiser(name, norm, smallest))
            (attempt,) = attack(loss, image[None], [threat], Draw(0, (key,)))
            assert attempt.flags == frozenset()
            found.append(self.objective(self.embed(attempt.images), NO_REFERENCES).item() > 0)
        return found


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_derivation(norm: NormName) -> None:
    """The order is right before, the gradient is the one derived, and the best step ends on the border."""
    scene = Linear.make(0)
    images = scene.images.clone().requires_grad_()
    value = scene.objective(scene.embed(images), NO_REFERENCES)
    assert (value < 0).all()
    (gradient,) = torch.autograd.grad(value.sum(), images)
    flat = gradient.flatten(1)
    torch.testing.assert_close((2 * scene.weight.T @ (scene.other - scene.own)).expand_as(flat), flat)
    step = flat.sign() if norm == "linf" else flat / flat.norm(dim=1, keepdim=True)
    moved = scene.images.flatten(1) + scene.smallest(norm)[:, None] * step
    assert moved.min() > 0
    assert moved.max() < 1
    border = scene.objective(scene.embed(moved), NO_REFERENCES)
    torch.testing.assert_close(torch.zeros(5).double(), border, rtol=0, atol=1e-9)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_flips_below_the_smallest_budget(name: str, norm: NormName) -> None:
    """At 0.99 of it nothing can."""
    for seed in range(3):
        assert Linear.make(seed).flipped(name, norm, 0.99) == [False] * 5


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["fgsm", "ifgsm", "mifgsm", "pgd"])
def test_gradient_attacks_flip_above_the_smallest_budget(name: str, norm: NormName) -> None:
    """At 1.01 of it one step is enough, and every attack that follows the gradient gets there."""
    for seed in range(3):
        assert Linear.make(seed).flipped(name, norm, 1.01) == [True] * 5


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_noise_does_not_flip_above_the_smallest_budget(norm: NormName) -> None:
    """The control gains nothing on average: at 1.01 it stays where it is."""
    assert Linear.make(0).flipped("noise", norm, 1.01) == [False] * 5


@given(seed=st.integers(3, 10_000), share=st.sampled_from([0.5, 0.99, 1.01, 1.5]), norm=st.sampled_from(["linf", "l2"]))
def test_one_step_is_exact_for_any_linear_model(seed: int, share: float, norm: NormName) -> None:
    """FGSM flips exactly where the budget passes the smallest one, where the ball stays inside [0, 1]."""
    scene = Linear.make(seed)
    radius = 1.5 * scene.smallest("linf").max()
    if scene.images.min() > radius and scene.images.max() < 1 - radius:
        assert [share > 1] * 5 == scene.flipped("fgsm", norm, share)


def test_a_step_in_the_wrong_direction_does_not_flip(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong twin: descending, FGSM flips nothing at any budget."""
    right = Loss.gradient
    monkeypatch.setattr(Loss, "gradient", lambda self, images, moment=(0, 0): -right(self, images, moment))
    assert Linear.make(0).flipped("fgsm", "linf", 1.01) == [False] * 5


def test_a_larger_budget_than_allowed_flips_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong twin: a radius that is 1.1 times the one asked for flips at 0.99."""
    monkeypatch.setattr(Threat, "radius", property(lambda self: float(self.epsilon * 255) * 1.1))
    norms = torch.zeros(1)
    monkeypatch.setattr("robustreid.attacks.base.confine", lambda found, clean, threat: (found, False, norms))
    assert Linear.make(0).flipped("fgsm", "linf", 0.99) == [True] * 5
