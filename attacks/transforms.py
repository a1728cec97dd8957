"""What stands between the perturbed images and the model while gradients are taken, and never when images are scored.

Source: Xie et al. 2019 (CVPR, arXiv 1803.06978) for diverse inputs; Dong et al. 2019 (CVPR, arXiv 1904.02884) for
translation invariance. Both make gradients that mislead a model other than the one they are taken of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Changes the images before the model, differentiably, or the gradient after it; its fields are parameters."""

    #: Whether numbers are drawn, anew in every step.
    is_random: ClassVar[bool] = False

    def images(self, images: Tensor, uniform: Callable[[Sequence[int]], Tensor]) -> Tensor:  # noqa: ARG002
        """Images (B, 3, H, W) as the model is to see them; `uniform` gives (B, *shape) numbers in [0, 1)."""
        return images

    def gradient(self, gradient: Tensor) -> Tensor:
        """The gradient (B, 3, H, W) as the optimiser is to see it."""
        return gradient


@dataclass(frozen=True, kw_only=True)
class DI(Transform):
    """Diverse inputs: with a probability, the image shrunk to a random share of its size at a random place on black."""

    is_random: ClassVar[bool] = True

    di_probability: float = 0.7
    #: The smallest share of height and width.
    di_smallest: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.di_probability <= 1:
            raise ValueError(f"di_probability: expected 0 to 1, got {self.di_probability}")
        if not 0 < self.di_smallest <= 1:
            raise ValueError(f"di_smallest: expected more than 0 and at most 1, got {self.di_smallest}")

    def images(self, images: Tensor, uniform: Callable[[Sequence[int]], Tensor]) -> Tensor:
        # Two matrix products a batch, every image with a size and a place of its own; unlike PyTorch's sampling of a
        # grid their gradient has the same last bits every time, on a GPU too.
        lots = uniform((4,)).double()
        scale = self.di_smallest + (1 - self.di_smallest) * lots[:, 1]
        scale = torch.where(lots[:, 0] < self.di_probability, scale, 1)
        rows, columns = (
            _shrinking(length, scale, lot).to(images)
            for length, lot in ((images.shape[2], lots[:, 2]), (images.shape[3], lots[:, 3]))
        )
        return rows[:, None] @ images @ columns[:, None].mT


def _shrinking(length: int, scale: Tensor, place: Tensor) -> Tensor:
    """Matrices (B, length, length) that shrink a line bilinearly to a share (B,) of its whole pixels, zero around.

    Pixel centres lie at halves, as in `F.interpolate(align_corners=False)`; `place` (B,) in [0, 1) says where.
    """
    size = (scale * length).round().clamp_min(1)
    first = (place * (length - size + 1)).floor()
    at = torch.arange(length, dtype=scale.dtype, device=scale.device)
    inside = (at >= first[:, None]) & (at < (first + size)[:, None])
    source = ((at - first[:, None] + 0.5) * (length / size)[:, None] - 0.5).clamp(0, length - 1)
    return (1 - (source[:, :, None] - at).abs()).clamp_min(0) * inside[:, :, None]


@dataclass(frozen=True, kw_only=True)
class TI(Transform):
    """Translation invariance: the gradient smoothed by a Gaussian, as if the image had been moved about."""

    #: Width of the kernel in pixels, odd, and its standard deviation.
    ti_size: int = 7
    ti_sigma: float = 3.0

    def __post_init__(self) -> None:
        if self.ti_size < 1 or self.ti_size % 2 == 0 or self.ti_size > 99:
            raise ValueError(f"ti_size: expected an odd number of pixels from 1 to 99, got {self.ti_size}")
        if self.ti_sigma <= 0:
            raise ValueError(f"ti_sigma: expected more than 0, got {self.ti_sigma}")

    def gradient(self, gradient: Tensor) -> Tensor:
        at = torch.arange(self.ti_size, dtype=gradient.dtype, device=gradient.device) - self.ti_size // 2
        kernel = torch.exp(-(at**2) / (2 * self.ti_sigma**2))
        kernel = kernel / kernel.sum()
        channels = gradient.shape[1]
        rows, columns = (kernel.view(1, 1, *shape).expand(channels, -1, -1, -1) for shape in ((-1, 1), (1, -1)))
        half = self.ti_size // 2
        smooth = F.conv2d(gradient, rows, padding=(half, 0), groups=channels)
        return F.conv2d(smooth, columns, padding=(0, half), groups=channels)


TRANSFORMS: Mapping[str, type[Transform]] = {"di": DI, "ti": TI}


@dataclass(frozen=True)
class Lens:
    """All that stands between images and model, in order, and how many draws of it one gradient is the mean of."""

    transforms: tuple[Transform, ...] = ()
    #: Expectation over transformation: samples a gradient, of the transforms and of a model that is random itself.
    samples: int = 1

    @property
    def is_random(self) -> bool:
        """Whether two gradients at one image can differ."""
        return any(transform.is_random for transform in self.transforms)

    def images(self, images: Tensor, uniform: Callable[[int, Sequence[int]], Tensor]) -> Tensor:
        """Images as the model sees them; `uniform(place, shape)` draws for the transform at a place."""
        for place, transform in enumerate(self.transforms):
            images = transform.images(images, lambda shape, place=place: uniform(place, shape))  # type: ignore[misc]
        return images

    def gradient(self, gradient: Tensor) -> Tensor:
        """The gradient as the optimiser sees it."""
        for transform in reversed(self.transforms):
            gradient = transform.gradient(gradient)
        return gradient
