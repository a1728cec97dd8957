"""ResNet-50 with a re-identification head: the network of the paper whose attack this benchmark grew from.

The trunk is He, Zhang, Ren, Sun (CVPR 2016), with the stride in the 3x3 convolution of a bottleneck as torchvision has
it, and torchvision's parameter names. The head is global average pooling and a batch norm called `bottleneck`.
"""

from __future__ import annotations

from torch import Tensor, nn

#: Output channels of a block over its inner ones.
_EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut: (B, n_in, H, W) to (B, 4 n_inner, H / stride, W / stride)."""

    def __init__(self, n_in: int, n_inner: int, stride: int) -> None:
        super().__init__()
        n_out = n_inner * _EXPANSION
        self.conv1 = nn.Conv2d(n_in, n_inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_inner)
        self.conv2 = nn.Conv2d(n_inner, n_inner, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_inner)
        self.conv3 = nn.Conv2d(n_inner, n_out, 1, bias=False)
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


class ResNet50(nn.Module):
    """ResNet-50: images (B, 3, H, W), normalised, to features (B, 2048), the output of the head's batch norm."""

    feature_dim = 2048
    input_size = (256, 128)
    #: Fed in that memory layout, which is faster.
    channels_last = True
    #: State-dict keys that belong to a classifier.
    ignored_prefixes = ("fc.", "classifier.")

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _layer(64, 64, n_blocks=3, stride=1)
        self.layer2 = _layer(256, 128, n_blocks=4, stride=2)
        self.layer3 = _layer(512, 256, n_blocks=6, stride=2)
        self.layer4 = _layer(1024, 512, n_blocks=3, stride=2)
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


def _layer(n_in: int, n_inner: int, *, n_blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(n_in, n_inner, stride)
    return nn.Sequential(first, *(Bottleneck(n_inner * _EXPANSION, n_inner, 1) for _ in range(n_blocks - 1)))


def resnet50() -> ResNet50:
    """ResNet-50 with the head's batch norm, 2048 numbers a feature."""
    return ResNet50()
