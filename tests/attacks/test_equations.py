"""A short loop over one image, written from the equations of the papers, agrees with the batched attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
import torch
from robustreid.attacks.catalogue import resolve_attack
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import Loss
from robustreid.attacks.optimisers import FGSM, IFGSM, MIFGSM, PGD, Optimiser
from robustreid.attacks.references import Selection
from robustreid.attacks.threat import Goal, Threat
from scipy.stats import chi2, norm  # type: ignore[import-untyped]
from torch import Tensor

OPTIMISERS: dict[str, Optimiser] = {
    "ama-fgsm": resolve_attack("ama-fgsm").optimiser,
    "ama-ifgsm": resolve_attack("ama-ifgsm").optimiser,
    "ama-mifgsm": resolve_attack("ama-mifgsm").optimiser,
    "pgd": resolve_attack("pgd", {"steps": 3, "restarts": 2}).optimiser,
    "noise": resolve_attack("noise").optimiser,
}
FIVE = Threat(norm="linf", epsilon=Fraction(5, 255))
THREATS = [FIVE, Threat(norm="linf", epsilon=Fraction(7, 510)), Threat(norm="l2", epsilon=Fraction(1, 4))]


#: What the loop found, by scene, attack and threat: it is slow, and the same for every batch.
_LOOPED: dict[tuple[Any, ...], Tensor] = {}


def combinations() -> list[tuple[str, Threat]]:
    """Attacks and threats that have a meaning together: I-FGSM and MI-FGSM are defined for L-inf."""
    return [(name, t) for name in OPTIMISERS for t in THREATS if t.norm == "linf" or "ifgsm" not in name]


@dataclass(frozen=True)
class Loop:
    """One image x (3, H, W) in [0, 1], float64; every equation in pixel units."""

    #: sum over references of MSE(f(x), f(r)), or its negative where the target is pulled to.
    loss: Callable[[Tensor], Tensor]
    x: Tensor
    threat: Threat
    #: Uniform numbers of a restart.
    uniform: Callable[[int], Tensor]

    def attack(self, name: str) -> Tensor:
        if "ifgsm" in name:
            return self.iterative(mu=1.0 if name == "ama-mifgsm" else 0.0)
        attacks: dict[str, Callable[[], Tensor]] = {"ama-fgsm": self.fgsm, "pgd": self.pgd, "noise": self.noise}
        return attacks[name]()

    def gradient(self, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        found: Tensor = torch.autograd.grad(self.loss(x), x)[0]
        return found

    def clip(self, x: Tensor) -> Tensor:
        eps, e = float(self.threat.epsilon), x - self.x
        share = min(1.0, eps / max(float(e.norm()), 1e-300))
        inside: Tensor = self.x + (e.clamp(-eps, eps) if self.threat.norm == "linf" else e * share)
        return inside.clamp(0, 1)

    def ascent(self, g: Tensor) -> Tensor:
        step: Tensor = g.sign() if self.threat.norm == "linf" else g / g.norm()
        return step

    def normal(self, restart: int) -> Tensor:
        found: Tensor = torch.from_numpy(norm.ppf(self.uniform(restart).numpy()))
        return found

    def fgsm(self) -> Tensor:
        return (self.x + float(self.threat.epsilon) * self.ascent(self.gradient(self.x))).clamp(0, 1)

    def iterative(self, mu: float) -> Tensor:
        x, g, alpha, eps = self.x, torch.zeros_like(self.x), 1 / 255, float(self.threat.epsilon * 255)
        for _ in range(int(min(eps + 4, 1.25 * eps))):
            now = self.gradient(x)
            g = mu * g + now / now.abs().mean()
            x = self.clip(x + alpha * g.sign())
        return x

    def pgd(self, steps: int = 3, restarts: int = 2) -> Tensor:
        ends, eps = [], float(self.threat.epsilon)
        for restart in range(restarts):
            if self.threat.norm == "linf":
                e = 2 * self.uniform(restart) - 1
            else:
                n = self.normal(restart)
                e = n / n.norm() * float(chi2.cdf(n.square().sum(), n.numel())) ** (1 / n.numel())
            x = self.clip(self.x + eps * e)
            for _ in range(steps):
                x = self.clip(x + 2.5 * eps / steps * self.ascent(self.gradient(x)))
            ends.append(x)
        return max(ends, key=lambda x: self.loss(x).item())

    def noise(self) -> Tensor:
        sphere = self.normal(0) / self.normal(0).norm()
        e = sphere if self.threat.norm == "l2" else torch.where(self.uniform(0) < 0.5, -1.0, 1.0)
        return (self.x + float(self.threat.epsilon) * e).clamp(0, 1)


def looped(scene: Any, name: str, threat: Threat) -> Tensor:
    """The whole side after an attack, one image after the other, and its references found by looking."""
    found: Tensor = scene.images.clone()
    features = scene.features(scene.reference_images)
    sign = -1 if scene.goal == "targeted" else 1
    aims = scene.selection.target_identities
    for row, identity in enumerate(scene.attacked.identities.tolist()):
        mine = [features[k] for k, other in enumerate(scene.reference.identities.tolist()) if other == aims[row]]
        if identity <= 0 or not mine:
            continue
        key = scene.attacked.image_ids[row]

        def loss(x: Tensor, mine: list[Tensor] = mine) -> Tensor:
            f = scene.embedder(x[None])[0]
            return sign * torch.stack([(f - r).square().mean() for r in mine]).sum()

        def uniform(restart: int, key: str = key) -> Tensor:
            return Draw(scene.seed, (key,))(key, restart, 0, scene.images.shape[1:])

        one = Loop(loss, scene.images[row], threat, uniform)
        found[row] = one.attack(name)
    return found


def assert_agrees(scene: Any, name: str, threat: Threat, optimiser: Optimiser | None = None, **how: Any) -> None:
    """The one check of this file, for the right attacks and for the wrong twins."""
    key = (id(scene.images), scene.goal, scene.seed, name, threat)
    if key not in _LOOPED:
        _LOOPED[key] = looped(scene, name, threat)
    expected = _LOOPED[key]
    assert (expected - scene.images).abs().max() > 1e-3, "the loop itself must move images"
    torch.testing.assert_close(scene.run(optimiser or OPTIMISERS[name], threat, **how), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("goal", ["untargeted", "targeted"])
@pytest.mark.parametrize(("name", "threat"), combinations())
def test_the_loop_agrees_with_one_batch(smooth: Any, name: str, threat: Threat, goal: Goal) -> None:
    """Every attack and threat, away from the own identity and toward another one."""
    assert_agrees(smooth.having(goal=goal, seed=3), name, threat)


@pytest.mark.parametrize(
    ("size", "order"), [(1, None), (3, None), (3, [9, 0, 7, 1, 8, 5, 2, 4]), (8, None), (11, None)]
)
@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_loop_agrees_whatever_the_batch(smooth: Any, name: str, size: int, order: list[int] | None) -> None:
    """One image, three (the last batch padded), in another order, all eight, and eight padded to eleven."""
    assert sorted(order or [0, 1, 2, 4, 5, 7, 8, 9]) == smooth.selection.attacked.tolist()
    assert_agrees(smooth, name, FIVE, size=size, order=order)


@pytest.mark.parametrize("goal", ["untargeted", "targeted"])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_loop_agrees_on_the_other_side(smooth: Any, name: str, goal: Goal) -> None:
    """The queries attacked against the gallery, or the gallery against the queries: only the sides are swapped."""
    assert_agrees(smooth.swapped().having(goal=goal), name, FIVE, size=4)


@pytest.mark.parametrize(("name", "threat"), [(name, FIVE) for name in OPTIMISERS] + [("pgd", THREATS[2])])
def test_the_loop_agrees_on_a_real_model(real: Any, name: str, threat: Threat) -> None:
    """A published network at its images' own size, in a batch of three and a padded one."""
    assert_agrees(real, name, threat, size=3)


class _Greedy(FGSM):
    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        (threat,) = threats
        return super().run(loss, images, [Threat(norm=threat.norm, epsilon=threat.epsilon * Fraction(10, 11))], draw)


class _BatchMomentum(MIFGSM):
    """Keeps the direction of one image for the next one of the batch."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        class _Leaky(Loss):
            last = torch.zeros_like(images)

            def gradient(self, images: Tensor, moment: Any = (0, 0)) -> Tensor:
                found = loss.gradient(images)
                _Leaky.last = found + _Leaky.last.roll(1, 0)
                return _Leaky.last

        return super().run(_Leaky(loss._features, loss._objective, loss._references), images, threats, draw)


class _BatchScale(IFGSM):
    """Momentum whose normalisation is one number for the batch."""

    def _walk(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw) -> Tensor:
        x, g = images, torch.zeros_like(images)
        for _ in range(self.n_steps(threat)):
            now = loss.gradient(x)
            g = g + now / now.abs().mean()
            low, high = images - float(threat.epsilon), images + float(threat.epsilon)
            x = torch.minimum(torch.maximum(x + g.sign() / 255, low), high).clamp(0, 1)
        return x


@pytest.mark.parametrize(
    ("name", "wrong"), [("ama-fgsm", _Greedy()), ("ama-mifgsm", _BatchMomentum()), ("ama-mifgsm", _BatchScale())]
)
def test_a_wrong_optimiser_disagrees_with_the_loop(smooth: Any, name: str, wrong: Optimiser) -> None:
    """Another budget, a momentum that leaks into the next image, a normalisation over the batch."""
    assert_agrees(smooth, name, FIVE)
    with pytest.raises(AssertionError, match="not close"):
        assert_agrees(smooth, name, FIVE, wrong)


@pytest.mark.parametrize("name", ["ama-fgsm", "ama-ifgsm", "ama-mifgsm", "pgd"])
def test_a_reversed_gradient_disagrees_with_the_loop(smooth: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Descending where the paper ascends."""
    right = Loss.gradient
    monkeypatch.setattr(Loss, "gradient", lambda self, images, moment=(0, 0): -right(self, images, moment))
    with pytest.raises(AssertionError, match="not close"):
        assert_agrees(smooth, name, FIVE)


def test_references_of_the_wrong_side_disagree_with_the_loop(smooth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The own side's features in place of the other side's."""
    right = Selection.bank
    monkeypatch.setattr(Selection, "bank", lambda self, features, own: right(self, own, features))
    with pytest.raises(AssertionError, match="not close"):
        assert_agrees(smooth, "ama-fgsm", FIVE)


def test_best_restart_is_chosen_per_image(smooth: Any) -> None:
    """Precondition of the above: over the batch both restarts win somewhere."""
    one, two = (smooth.run(PGD(steps=3, restarts=n), FIVE) for n in (1, 2))
    kept = [torch.equal(a, b) for a, b in zip(one, two, strict=True)]
    attacked = [kept[row] for row in smooth.selection.attacked]
    assert {True, False} == set(attacked)
    assert (one[3] == smooth.images[3]).all()
