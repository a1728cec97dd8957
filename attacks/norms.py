"""One object a norm: how to measure a perturbation, step along a gradient, project, and start at random.

Everything is per image and in 8-bit counts unless a docstring says otherwise; attacks never clamp by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from .threat import NormName


class Norm(Protocol):
    """What an optimiser needs to know of a ball."""

    def measure(self, delta: Tensor) -> Tensor:
        """Norms (B,) of perturbations (B, C, H, W), in float64, in the unit of `delta`."""
        ...

    def direction(self, gradient: Tensor) -> Tensor:
        """The step of length one that gains most along `gradient`; zero where the gradient is zero."""
        ...

    def project(self, counts: Tensor, clean: Tensor, radius: float) -> Tensor:
        """The nearest counts inside the ball around `clean` (for L-inf also inside [0, 255], exactly)."""
        ...

    def start(self, uniform: Tensor) -> Tensor:
        """A random point (B, C, H, W) of the unit ball from uniform numbers in [0, 1) of the same shape."""
        ...

    def surface(self, uniform: Tensor) -> Tensor:
        """A random point (B, C, H, W) of the unit sphere: the control that an attack has to beat."""
        ...


def _per_image(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)


class Linf:
    """The largest change of any pixel."""

    def measure(self, delta: Tensor) -> Tensor:
        return delta.double().abs().flatten(1).amax(1)

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def project(self, counts: Tensor, clean: Tensor, radius: float) -> Tensor:
        inside = torch.minimum(torch.maximum(counts, clean - radius), clean + radius)
        return inside.clamp(0, 255)

    def start(self, uniform: Tensor) -> Tensor:
        return 2 * uniform - 1

    def surface(self, uniform: Tensor) -> Tensor:
        return torch.where(uniform < 0.5, -1.0, 1.0).to(uniform.dtype)


class L2:
    """The Euclidean length of the change over all pixels and channels of an image."""

    def measure(self, delta: Tensor) -> Tensor:
        length: Tensor = delta.double().flatten(1).norm(dim=1)
        return length

    def direction(self, gradient: Tensor) -> Tensor:
        length = gradient.flatten(1).norm(dim=1)
        return gradient / _per_image(length.where(length > 0, 1))

    def project(self, counts: Tensor, clean: Tensor, radius: float) -> Tensor:
        delta = counts - clean
        length: Tensor = delta.flatten(1).norm(dim=1)
        scale = torch.where(length > radius, radius / length.where(length > 0, 1), 1)
        # Clamping moves pixels toward the clean ones, which lie in [0, 255], so the ball still holds.
        return (clean + delta * _per_image(scale)).clamp(0, 255)

    def start(self, uniform: Tensor) -> Tensor:
        # A uniform direction, and a radius whose distribution fills the ball evenly.
        points = uniform[0].numel()
        share = uniform.flatten(1)[:, 0].pow(1 / points)
        return self.surface(uniform) * _per_image(share)

    def surface(self, uniform: Tensor) -> Tensor:
        normal: Tensor = torch.special.ndtri(uniform.double().clamp(1e-15, 1 - 1e-15))
        length: Tensor = normal.flatten(1).norm(dim=1)
        return (normal / _per_image(length)).to(uniform.dtype)


NORM: Mapping[NormName, Norm] = {"linf": Linf(), "l2": L2()}
