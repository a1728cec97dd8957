"""ResNet-50 and ResNeXt-50 with a re-identification head: networks of the paper whose attack this benchmark grew from.

The trunks are He, Zhang, Ren, Sun (CVPR 2016) and Xie, Girshick, Dollar, Tu, He (CVPR 2017), with the stride in the 3x3
convolution of a bottleneck as torchvision has it, and torchvision's parameter names. The head is global average pooling
and a batch norm called `bottleneck`.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

#: Output channels of a block over its inner ones.
_EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut: (B, n_in, H, W) to (B, 4 n_inner, H / stride, W / stride).

    Args:
        n_in: channels of the input.
        n_inner: a quarter of the channels of the output.
        stride: of the 3x3 convolution.
        groups: of the 3x3 convolution, which do not see each other (ResNeXt's cardinality).
        group_width: channels a group in the first stage of the network, where `n_inner` is 64.

    """

    def __init__(self, n_in: int, n_inner: int, stride: int, *, groups: int = 1, group_width: int = 64) -> None:
        super().__init__()
        n_out = n_inner * _EXPANSION
        width = n_inner * group_width // 64 * groups
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU()
        self.downsample = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same batch."""
        inner = self.relu(self.bn1(self.conv1(x)))
        inner = self.relu(self.bn2(self.conv2(inner)))
        shortcut = x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu(self.bn3(self.conv3(inner)) + shortcut)
        return result


class ResNet(nn.Module):
    """Fifty layers: images (B, 3, H, W), normalised, to features (B, 2048), the output of the head's batch norm.

    Args:
        groups: see `Bottleneck`.
        group_width: see `Bottleneck`.

    """

    feature_dim = 2048
    input_size = (256, 128)
    #: Fed in that memory layout, which is faster.
    channels_last = True
    #: State-dict keys that belong to a classifier.
    ignored_prefixes = ("fc.", "classifier.")

    def __init__(self, *, groups: int = 1, group_width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        layer = partial(stage, groups=groups, group_width=group_width)
        self.layer1 = layer(64, 64, n_blocks=3, stride=1)
        self.layer2 = layer(256, 128, n_blocks=4, stride=2)
        self.layer3 = layer(512, 256, n_blocks=6, stride=2)
        self.layer4 = layer(1024, 512, n_blocks=3, stride=2)
        self.bottleneck = nn.BatchNorm1d(self.feature_dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, 2048)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        result: Tensor = self.bottleneck(x.mean((2, 3)))
        return result


class ResNet50(ResNet):
    """ResNet-50: one group of 64 channels."""


class ResNeXt50(ResNet):
    """ResNeXt-50 (32x4d): 32 groups of 4 channels."""

    def __init__(self) -> None:
        super().__init__(groups=32, group_width=4)


def stage(
    n_in: int, n_inner: int, *, n_blocks: int, stride: int, groups: int = 1, group_width: int = 64
) -> nn.Sequential:
    """Blocks of one size, the first of which has the stride: see `Bottleneck`."""
    block = partial(Bottleneck, groups=groups, group_width=group_width)
    others = (block(n_inner * _EXPANSION, n_inner, 1) for _ in range(n_blocks - 1))
    return nn.Sequential(block(n_in, n_inner, stride), *others)


def resnet50() -> ResNet50:
    """ResNet-50 with the head's batch norm, 2048 numbers a feature."""
    return ResNet50()


def resnext50_32x4d() -> ResNeXt50:
    """ResNeXt-50 (32x4d) with the head's batch norm, 2048 numbers a feature."""
    return ResNeXt50()
