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


def _normal(uniform: Tensor) -> Tensor:
    normal: Tensor = torch.special.ndtri(uniform.double().clamp(1e-15, 1 - 1e-15))
    return normal


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
        length = self.measure(gradient)
        return (gradient / _per_image(length.where(length > 0, 1))).to(gradient.dtype)

    def project(self, counts: Tensor, clean: Tensor, radius: float) -> Tensor:
        # In float64: over 1e5 pixels a float32 length may be wrong by 1e-4 of itself.
        delta = counts.double() - clean
        length = self.measure(delta)
        scale = torch.where(length > radius, radius / length.where(length > 0, 1), 1)
        # Clamping moves pixels toward the clean ones, which lie in [0, 255], so the ball still holds.
        return (clean + delta * _per_image(scale)).clamp(0, 255).to(counts.dtype)

    def start(self, uniform: Tensor) -> Tensor:
        # Direction and length of normal numbers are independent, and the length's distribution function gives the
        # evenly distributed share of the ball that lies within the point's radius.
        normal = _normal(uniform)
        length, half = self.measure(normal), uniform[0].numel() / 2
        share = torch.special.gammainc(torch.full_like(length, half), length.square() / 2).pow(0.5 / half)
        return (normal * _per_image(share / length)).to(uniform.dtype)

    def surface(self, uniform: Tensor) -> Tensor:
        normal = _normal(uniform)
        return (normal / _per_image(self.measure(normal))).to(uniform.dtype)


NORM: Mapping[NormName, Norm] = {"linf": Linf(), "l2": L2()}
