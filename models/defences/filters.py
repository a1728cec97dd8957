"""Bit depth, blur and median: the same small step for every pixel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .parameters import BitDepth, Blur, Median
from .stage import Stage


class BitDepthStage(Stage):
    """Every channel rounded to the nearest of 2^bits levels from 0 to 1; its gradient is zero, and passed straight."""

    defence: BitDepth

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] on the coarser grid."""
        steps = 2**self.defence.bits - 1
        found: Tensor = (images.clamp(0, 1) * steps).round() / steps
        return found


class BlurStage(Stage):
    """A Gaussian blur, rows and then columns; the border is repeated outside."""

    defence: Blur
    kernel: Tensor

    def __init__(self, defence: Blur) -> None:
        super().__init__(defence)
        at = torch.arange(defence.size, dtype=torch.float64) - defence.size // 2
        weights = torch.exp(-(at**2) / (2 * defence.sigma**2))
        self.register_buffer("kernel", (weights / weights.sum()).float(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Blurred images (B, 3, H, W)."""
        half, channels = self.defence.size // 2, images.shape[1]
        kernel = self.kernel.to(images)
        rows, columns = (kernel.view(1, 1, *shape).expand(channels, -1, -1, -1) for shape in ((-1, 1), (1, -1)))
        padded = F.pad(images, (half, half, half, half), mode="replicate")
        return F.conv2d(F.conv2d(padded, rows, groups=channels), columns, groups=channels)


class MedianStage(Stage):
    """The median of a window in each channel; the border is repeated outside.

    Its gradient reaches the one pixel of each window that is its median now, and of large windows few pixels at all. An
    adversary who knows it takes the mean of that and of the gradient of the window's mean, which moves those that may
    become the median: stronger than either one and than straight through (docs/defences.md).
    """

    defence: Median

    def forward(self, images: Tensor) -> Tensor:
        """Filtered images (B, 3, H, W)."""
        return self._windows(images).sort(dim=0).values[self.defence.size**2 // 2]

    def pull_back(self, images: Tensor, gradient: Tensor) -> Tensor:
        """The gradient (B, 3, H, W) at the input, half the median's and half the mean's."""
        with torch.enable_grad():
            leaf = images.detach().requires_grad_()
            # Sorted rather than `median`: that one has no deterministic kernel on a GPU.
            windows = self._windows(leaf)
            middle = windows.sort(dim=0).values[self.defence.size**2 // 2]
            return torch.autograd.grad((middle + windows.mean(dim=0)) / 2, leaf, gradient)[0]

    def _windows(self, images: Tensor) -> Tensor:
        """(size^2, B, 3, H, W): what lies around each pixel."""
        size, (height, width) = self.defence.size, images.shape[-2:]
        half = size // 2
        padded = F.pad(images, (half, half, half, half), mode="replicate")
        return torch.stack(
            [padded[:, :, row : row + height, column : column + width] for row in range(size) for column in range(size)]
        )
