"""Doubles for the suites of optimisers: rough hills for single images, and what an optimiser makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
import torch
from robustreid.attacks.base import Attack
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import FeatureMemo, Loss
from robustreid.attacks.objectives import Given
from robustreid.attacks.optimisers import Optimiser
from robustreid.attacks.references import References
from robustreid.attacks.threat import NormName, Threat
from torch import Tensor


@dataclass(frozen=True)
class Hills:
    """Images (B, 3, 5, 4) in float64, and for each a function of its own with many hills."""

    images: Tensor
    weight: Tensor
    speed: float
    seed: int = 0

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the images."""
        return tuple(f"image {row}" for row in range(len(self.images)))

    def value(self, row: int, x: Tensor) -> Tensor:
        """The function of one image x (3, 5, 4)."""
        flat = x.flatten()
        return (self.weight[row] * torch.sin(self.speed * flat + row)).sum() + flat.prod()

    def gradient(self, row: int, x: Tensor) -> Tensor:
        """Its gradient (3, 5, 4)."""
        leaf = x.detach().clone().requires_grad_()
        found: Tensor = torch.autograd.grad(self.value(row, leaf), leaf)[0]
        return found

    def uniform(self, row: int, restart: int) -> Tensor:
        """The random numbers (3, 5, 4) that a restart begins with."""
        return Draw(self.seed, self.ids)(self.ids[row], restart, 0, self.images.shape[1:])

    def run(self, optimiser: Optimiser, threat: Threat) -> Tensor:
        """All images in one batch, checked as every attack is."""
        memo = FeatureMemo(lambda images: images.flatten(1), len(self.images))

        def objective(features: Tensor, references: References) -> Tensor:
            del references
            rows = torch.arange(len(features), dtype=features.dtype)[:, None]
            return (self.weight * torch.sin(self.speed * features + rows)).sum(1) + features.prod(1)

        nobody = References(count=torch.zeros(len(self.images)), mean=torch.zeros(len(self.images), 1))
        loss = Loss(memo, Given(function=objective), nobody)
        (attempt,) = Attack(optimiser=optimiser)(loss, self.images, [threat], Draw(self.seed, self.ids))
        assert attempt.flags == frozenset()
        return attempt.images


@pytest.fixture(scope="session")
def hills() -> Callable[..., Hills]:
    """A function that makes hills: the faster, the rougher."""

    def make(seed: int = 0, *, speed: float = 40.0, n: int = 4) -> Hills:
        source = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, (n, 3, 5, 4), generator=source).double() / 255
        return Hills(images, torch.randn(n, 60, generator=source, dtype=torch.float64), speed, seed)

    return make


@pytest.fixture(scope="session")
def ball() -> Callable[..., Any]:
    """A function that projects one image onto a ball and [0, 1], as a definition has it."""

    def project(x: Tensor, clean: Tensor, threat: Threat) -> Tensor:
        eps, change = float(threat.epsilon), x - clean
        if threat.norm == "linf":
            return (clean + change.clamp(-eps, eps)).clamp(0, 1)
        return (clean + change * min(1.0, eps / max(float(change.norm()), 1e-300))).clamp(0, 1)

    return project


@pytest.fixture(scope="session")
def radius() -> Callable[[str, NormName], Threat]:
    """A function that makes a threat: `radius("8/255")`."""

    def make(epsilon: str, norm: NormName = "linf") -> Threat:
        return Threat(norm=norm, epsilon=Fraction(epsilon))

    return make
