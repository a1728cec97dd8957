"""DenseNet-121 with a re-identification head: one of the paper's networks.

The trunk is Huang, Liu, van der Maaten, Weinberger (CVPR 2017) with torchvision's parameter names (the present ones,
`denselayer1.norm1`; its old files say `norm.1` and are renamed as torchvision loads them). The head is the paper's:
global average pooling and a batch norm called `bottleneck`. As in the paper's code, and unlike torchvision's
classifier, no rectifier stands between the trunk's last batch norm and the pooling.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

#: Channels that each dense layer adds, and those of its 1x1 convolution (section 3, growth rate and bottleneck).
_GROWTH, _INNER = 32, 128
#: Dense layers a block (table 1).
_LAYERS = (6, 12, 24, 16)
#: Channels after the stem.
_STEM = 64


class DenseLayer(nn.Module):
    """Batch norm, rectifier, 1x1 convolution, and again with a 3x3 one: (B, n_in, H, W) to (B, 32, H, W)."""

    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(n_in)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(n_in, _INNER, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(_INNER)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(_INNER, _GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The new channels of the same batch."""
        inner = self.conv1(self.relu1(self.norm1(x)))
        result: Tensor = self.conv2(self.relu2(self.norm2(inner)))
        return result


class DenseBlock(nn.Module):
    """Layers that see the input and what all before them gave: (B, n_in, H, W) to (B, n_in + 32 n_layers, H, W)."""

    def __init__(self, n_in: int, n_layers: int) -> None:
        super().__init__()
        for place in range(n_layers):
            self.add_module(f"denselayer{place + 1}", DenseLayer(n_in + place * _GROWTH))

    def forward(self, x: Tensor) -> Tensor:
        """The input's channels and the new ones behind them."""
        for layer in self.children():
            x = torch.cat((x, layer(x)), 1)
        return x


class DenseNet121(nn.Module):
    """DenseNet-121: images (B, 3, H, W), normalised, to features (B, 1024), the output of the head's batch norm."""

    feature_dim = 1024
    input_size = (256, 128)
    #: Fed in that memory layout, which is faster.
    channels_last = True
    #: State-dict keys that belong to a classifier.
    ignored_prefixes = ("classifier.", "fc.")

    def __init__(self) -> None:
        super().__init__()
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, _STEM, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(_STEM),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        n_channels = _STEM
        for place, n_layers in enumerate(_LAYERS, 1):
            parts[f"denseblock{place}"] = DenseBlock(n_channels, n_layers)
            n_channels += n_layers * _GROWTH
            if place < len(_LAYERS):
                parts[f"transition{place}"] = _transition(n_channels)
                n_channels //= 2
        parts["norm5"] = nn.BatchNorm2d(n_channels)
        self.features = nn.Sequential(parts)
        self.bottleneck = nn.BatchNorm1d(self.feature_dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, 1024)."""
        result: Tensor = self.bottleneck(self.features(images).mean((2, 3)))
        return result


def _transition(n_in: int) -> nn.Sequential:
    """Half the channels, half the height and width."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        norm=nn.BatchNorm2d(n_in),
        relu=nn.ReLU(),
        conv=nn.Conv2d(n_in, n_in // 2, 1, bias=False),
        pool=nn.AvgPool2d(2),
    )
    return nn.Sequential(parts)


def densenet121() -> DenseNet121:
    """DenseNet-121 with the head's batch norm, 1024 numbers a feature."""
    return DenseNet121()
