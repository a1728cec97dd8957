"""Defects of public implementations: gradients of another sign, of one reference, or of a model in training mode.

Each is written out as it stands there, with a check that it fails and ours passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
import torch
from robustreid.attacks.catalogue import resolve_attack
from robustreid.attacks.objectives import Given
from robustreid.attacks.optimisers import FGSM, RandomIFGSM
from robustreid.attacks.references import References
from robustreid.attacks.threat import Threat
from robustreid.models.base import Embedder
from torch import Tensor, nn
from torch.nn import functional as F


def threat(counts: str) -> Threat:
    return Threat(norm="linf", epsilon=Fraction(counts) / 255)


# The opposite direction attack ascends ||f + f0||^2, because the library under it ascends unless told `targeted`.


def assert_turns_away(scene: Any, objective: Any) -> None:
    """The check: the feature turns away from its clean self, further than noise turns it, and past a right angle."""
    scene = scene.having(policy="self")
    clean = F.normalize(scene.features(scene.images))

    def cosines(images: Tensor) -> Tensor:
        return (F.normalize(scene.features(images)) * clean).sum(1)[scene.selection.attacked.tolist()]

    found = cosines(scene.run(RandomIFGSM(), threat("8"), objective=objective))
    noise = cosines(scene.run(resolve_attack("noise").optimiser, threat("8")))
    assert (found < noise - 0.5).all()
    assert found.mean() < 0


def _ascending(features: Tensor, references: References) -> Tensor:
    assert references.clean is not None
    return (features + references.clean).square().sum(1)


def test_odfa_descends(real32: Any) -> None:
    """Ours ends on the far side of the sphere; the public copy's sign keeps the feature where it was."""
    assert_turns_away(real32, resolve_attack("odfa").objective)
    with pytest.raises(AssertionError):
        assert_turns_away(real32, Given(function=_ascending))


# A loop over the references starts from the clean image each time, so only the last one is used.


def alone(scene: Any, row: int, references: list[int]) -> Tensor:
    """FGSM of one image against some references, from the equation."""
    guides = scene.features(scene.reference_images)[references]
    x = scene.images[row][None].clone().requires_grad_()
    loss = torch.stack([(scene.embedder(x)[0] - guide).square().mean() for guide in guides]).sum()
    (gradient,) = torch.autograd.grad(loss, x)
    found: Tensor = (x.detach() + 5 / 255 * gradient.sign()).clamp(0, 1)[0]
    return found


def last_reference_only(scene: Any) -> Tensor:
    """The defective form: every reference begins again at the clean image."""
    found: Tensor = scene.images.clone()
    for row in scene.selection.attacked.tolist():
        for reference in scene.selection.members[row].tolist():
            found[row] = alone(scene, row, [reference])
    return found


def assert_every_reference_counts(scene: Any, found: Tensor) -> None:
    """The check: each image is the one that all of its references together give."""
    for row in scene.selection.attacked.tolist():
        expected = alone(scene, row, scene.selection.members[row].tolist())
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-9)


def test_all_references_are_followed(smooth: Any) -> None:
    """Ours sums over them; the public loop's images are those of the last one."""
    assert max(len(members) for members in smooth.selection.members) > 1
    assert_every_reference_counts(smooth, smooth.run(FGSM(), threat("5")))
    with pytest.raises(AssertionError, match="not close"):
        assert_every_reference_counts(smooth, last_reference_only(smooth))


# Adversarial examples are made while the model is in training mode: statistics of the batch, and statistics moved.


@dataclass(frozen=True)
class Wavering:
    """The defective form: a model that is in training mode whenever gradients are taken."""

    network: nn.Module

    def __call__(self, images: Tensor) -> Tensor:
        self.network.train(torch.is_grad_enabled())
        found: Tensor = self.network(images)
        return found


@pytest.fixture
def normalising() -> nn.Module:
    """A network with a batch norm, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.LazyLinear(8))
        network(torch.rand(16, 3, 9, 6) * 0.2)
    return network.double().eval()


def assert_attacks_what_is_scored(scene: Any, network: nn.Module, embedder: Embedder) -> None:
    """The check: an image's gradient is that of the model in evaluation mode, and the model's statistics stay."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    scene = scene.having(embedder=embedder)
    found = scene.run(FGSM(), threat("5"))
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert_every_reference_counts(scene.having(embedder=network), found)


def test_models_are_attacked_in_evaluation_mode(smooth: Any, normalising: nn.Module) -> None:
    """Ours takes gradients of the model that is scored; training mode would give another one's."""
    assert_attacks_what_is_scored(smooth, normalising, normalising)
    with pytest.raises(AssertionError):
        assert_attacks_what_is_scored(smooth, normalising, Wavering(normalising))


def test_adversarial_training_perturbs_in_evaluation_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop switches the network over while it makes adversarial examples, and back again."""
    from robustreid.models.training import parts

    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout())

    def assert_crafted_in_eval(frozen: Callable[[nn.Module], Any]) -> None:
        network.train()
        with frozen(network):
            modes = {module.training for module in network.modules()}
        assert modes == {False}
        assert network.training

    @contextmanager
    def unchanged(network: nn.Module) -> Iterator[None]:
        yield

    assert_crafted_in_eval(parts.frozen)
    with pytest.raises(AssertionError):
        assert_crafted_in_eval(unchanged)
