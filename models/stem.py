"""The input gradient of a network's first convolution, four times as fast.

A 7x7 convolution with stride 2 from three channels is cheap forward, but its gradient with respect to the image is the
slowest kernel of ResNet-50 and OSNet on a CPU: a transposed convolution that gives three channels. The image's rows
2p and 2p + 1 (and its columns likewise) each see their own rows of the kernel: with k = r - 2o + 3 for image row r and
output row o, row r = 2p + a takes k = 2(p - o) + 3 + a. So the four phases together are one convolution with stride 1
and a 4x4 kernel from the output's channels to 12, and a pixel shuffle.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: From so many channels a plain transposed convolution is as fast.
_FEW_CHANNELS = 4


def is_stem(layer: nn.Module) -> bool:
    """Whether a layer is a convolution that `Stem` can stand for."""
    return (
        type(layer) is nn.Conv2d
        and (layer.kernel_size, layer.stride, layer.padding) == ((7, 7), (2, 2), (3, 3))
        and (layer.dilation, layer.groups, layer.padding_mode) == ((1, 1), 1, "zeros")
        and layer.in_channels <= _FEW_CHANNELS
    )


class Stem(nn.Module):
    """What a 7x7 convolution with stride 2 does, bit for bit, and its input gradient up to rounding.

    Its weights take no gradients.

    Args:
        layer: one that `is_stem`.
    """

    phases: Tensor

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.register_buffer("phases", _phases(layer.weight.detach()), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C', H / 2, W / 2) of images (B, C, H, W)."""
        if images.shape[-2] % 2 or images.shape[-1] % 2:
            return F.conv2d(images, self.weight, self.bias, 2, 3)
        found: Tensor = _Stem.apply(images, self.weight, self.bias, self.phases)  # type: ignore[no-untyped-call]
        return found


class _Stem(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, phases: Tensor) -> Tensor:
        ctx.save_for_backward(phases)
        return F.conv2d(images, weight, bias, 2, 3)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (phases,) = ctx.saved_tensors
        (gradient,) = gradients  # of half the width where the forward pass ran under autocast
        found = F.conv2d(gradient, phases.to(gradient.dtype), padding=2)
        return F.pixel_shuffle(found[:, :, 1:, 1:], 2), None, None, None


def _phases(weight: Tensor) -> Tensor:
    """(4 C, C', 4, 4) from a kernel (C', C, 7, 7); channel 4c + 2a + b is phase (a, b) of image channel c."""
    n_out, n_in = weight.shape[:2]
    phases = weight.new_zeros(n_in, 2, 2, n_out, 4, 4)
    for a in range(2):
        for b in range(2):
            for d in range(-2, 2):
                for e in range(-2, 2):
                    row, column = 2 * d + 3 + a, 2 * e + 3 + b
                    if 0 <= row < 7 and 0 <= column < 7:
                        phases[:, a, b, :, 1 - d, 1 - e] = weight[:, :, row, column].T
    return phases.reshape(4 * n_in, n_out, 4, 4)
