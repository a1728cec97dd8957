"""A small residual network for small images: what the embedded weights are trained for, and quick on a CPU.

Residual blocks are those of He, Zhang, Ren, Sun (CVPR 2016); pooling in horizontal stripes, which keeps a shirt apart
from trousers, is that of Sun, Zheng, Yang, Tian, Wang (ECCV 2018); the batch norm after the last layer is that of Luo,
Gu, Liao, Lai, Jiang (CVPRW 2019).
"""

from __future__ import annotations

from torch import Tensor, nn

#: Channels after the stem and after each block, all of which halve height and width but the last.
WIDTHS = (16, 32, 64, 96)
#: Horizontal stripes that are pooled apart.
STRIPES = 4


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (B, n_in, H, W) to (B, n_out, H / stride, W / stride)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, stride, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same batch."""
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu(inner + self.bn3(self.shortcut(x)))
        return result


def blocks() -> nn.Sequential:
    """The blocks after the stem: (B, 16, H, W) to (B, 96, H / 4, W / 4)."""
    sizes = zip(WIDTHS[:-1], WIDTHS[1:], (2, 2, 1), strict=True)
    return nn.Sequential(*(Block(n_in, n_out, stride) for n_in, n_out, stride in sizes))


class TinyNet(nn.Module):
    """Images (B, 3, 128, 64), normalised, to features (B, 128): 0.3 M parameters, 23 M multiplications an image."""

    feature_dim = 128
    input_size = (128, 64)
    #: Fed in that memory layout, which is faster.
    channels_last = True
    #: State-dict keys that belong to a classifier.
    ignored_prefixes = ("classifier.",)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU()
        self.blocks = blocks()
        self.embedding = nn.Linear(WIDTHS[-1] * STRIPES, self.feature_dim, bias=False)
        self.bottleneck = nn.BatchNorm1d(self.feature_dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, 128)."""
        x = self.blocks(self.relu(self.bn1(self.conv1(images))))
        # Means of equal stripes; `adaptive_avg_pool2d` would do the same, in a slower kernel.
        batch, channels, height, width = x.shape
        stripes = x.reshape(batch, channels, STRIPES, height // STRIPES * width).mean(3)
        result: Tensor = self.bottleneck(self.embedding(stripes.flatten(1)))
        return result


def tinynet() -> TinyNet:
    """The small network, 128 numbers a feature."""
    return TinyNet()
