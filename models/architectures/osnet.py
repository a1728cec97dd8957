"""OSNet: omni-scale feature learning for person re-identification (Zhou, Yang, Cavallaro, Xiang; ICCV 2019).

Parameters are named as in torchreid's state dicts, so that its files load.
"""

from __future__ import annotations

from torch import Tensor, nn

#: Streams of one to four light convolutions a block: the scales that the gate mixes (section 3.2).
_SCALES = {"conv2a": 1, "conv2b": 2, "conv2c": 3, "conv2d": 4}


class ConvNorm(nn.Module):
    """Convolution, batch norm and, unless `linear`, a rectifier: (B, n_in, H, W) to (B, n_out, H', W')."""

    def __init__(self, n_in: int, n_out: int, kernel: int = 1, stride: int = 1, *, linear: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(n_out)
        self.relu = nn.Identity() if linear else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same batch."""
        result: Tensor = self.relu(self.bn(self.conv(x)))
        return result


class LightConv(nn.Module):
    """A pointwise convolution, then a depthwise 3x3 one (the paper's equation 3): (B, C, H, W) to the same shape."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_channels, n_channels, 1, bias=False)
        self.conv2 = nn.Conv2d(n_channels, n_channels, 3, padding=1, groups=n_channels, bias=False)
        self.bn = nn.BatchNorm2d(n_channels)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same batch."""
        result: Tensor = self.relu(self.bn(self.conv2(self.conv1(x))))
        return result


class Gate(nn.Module):
    """Weights each channel by what the whole image holds (section 3.2, the aggregation gate); shared by the scales."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(n_channels, n_channels // 16, 1)
        self.relu = nn.ReLU()
        self.fc2 = nn.Conv2d(n_channels // 16, n_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The value (B, C, H, W), channel by channel times a number in (0, 1)."""
        pooled = x.mean((2, 3), keepdim=True)
        result: Tensor = x * self.fc2(self.relu(self.fc1(pooled))).sigmoid()
        return result


class OmniScaleBlock(nn.Module):
    """Residual block of four scales under one gate: (B, n_in, H, W) to (B, n_out, H, W)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        n_inner = n_out // 4
        self.conv1 = ConvNorm(n_in, n_inner)
        self.conv2a = LightConv(n_inner)
        for name, depth in _SCALES.items():
            if depth > 1:
                self.add_module(name, nn.Sequential(*(LightConv(n_inner) for _ in range(depth))))
        self.gate = Gate(n_inner)
        self.conv3 = ConvNorm(n_inner, n_out, linear=True)
        self.downsample = ConvNorm(n_in, n_out, linear=True) if n_in != n_out else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same batch."""
        inner = self.conv1(x)
        mixed = self.gate(self.conv2a(inner))
        for name, depth in _SCALES.items():
            if depth > 1:
                mixed = mixed + self.gate(self.get_submodule(name)(inner))
        shortcut = x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu(self.conv3(mixed) + shortcut)
        return result


class OSNet(nn.Module):
    """OSNet of some width: images (B, 3, H, W), normalised, to features (B, 512).

    Args:
        channels: of the stem and the three stages (table 1; the paper's width multiplier scales them).

    """

    feature_dim = 512
    input_size = (256, 128)
    #: Fed in that memory layout, which is faster.
    channels_last = True
    #: State-dict keys that belong to the training head.
    ignored_prefixes = ("classifier.",)

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        stem, first, second, third = channels
        self.conv1 = ConvNorm(3, stem, kernel=7, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = _stage(stem, first, halves=True)
        self.conv3 = _stage(first, second, halves=True)
        self.conv4 = _stage(second, third, halves=False)
        self.conv5 = ConvNorm(third, third)
        linear = nn.Linear(third, self.feature_dim)
        self.fc = nn.Sequential(linear, nn.BatchNorm1d(self.feature_dim), nn.ReLU())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, 512), none below zero (the last layer is a rectifier, as in torchreid)."""
        x = self.conv4(self.conv3(self.conv2(self.maxpool(self.conv1(images)))))
        result: Tensor = self.fc(self.conv5(x).mean((2, 3)))
        return result


def _stage(n_in: int, n_out: int, *, halves: bool) -> nn.Sequential:
    blocks: list[nn.Module] = [OmniScaleBlock(n_in, n_out), OmniScaleBlock(n_out, n_out)]
    if halves:
        blocks.append(nn.Sequential(ConvNorm(n_out, n_out), nn.AvgPool2d(2)))
    return nn.Sequential(*blocks)


def osnet_x1_0() -> OSNet:
    """OSNet at full width."""
    return OSNet((64, 256, 384, 512))


def osnet_x0_75() -> OSNet:
    """OSNet at three quarters of the width."""
    return OSNet((48, 192, 288, 384))


def osnet_x0_5() -> OSNet:
    """OSNet at half of the width."""
    return OSNet((32, 128, 192, 256))


def osnet_x0_25() -> OSNet:
    """OSNet at a quarter of the width."""
    return OSNet((16, 64, 96, 128))
