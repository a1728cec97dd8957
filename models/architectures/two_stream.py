"""Networks for people seen in visible and in infrared light: a stem for each modality, and a trunk that both share.

AGW is that of Ye, Shen, Lin, Xiang, Shao, Hoi (TPAMI 2021; public code, MIT): ResNet-50 with a stride of 1 in its last
stage, non-local blocks (Wang, Girshick, Gupta, He, CVPR 2018) in its middle stages, generalised-mean pooling
(Radenovic, Tolias, Chum, TPAMI 2019) and a batch norm without shift at the end. The two-stream form is that of Ye,
Lan, Wang, Yuen (TIFS 2020).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ..base import MODALITIES
from .resnet import stage
from .tinynet import STRIPES, WIDTHS, blocks

if TYPE_CHECKING:
    from ..base import Modality

#: The power of generalised-mean pooling.
_POWER = 3
#: Added to what a root is taken of, as in the public code: at 0 it has no slope.
_LEAST = 1e-12


class NonLocal(nn.Module):
    """What every place takes from all others: (B, n_channels, H, W) to the same shape, at first unchanged.

    z = x + W(y) with y_i = theta_i * mean over places j of phi_j * g_j, and one inner channel: the public code asks
    for half of them and gets one (`reduc_ratio // reduc_ratio`). With one channel the matrix of all pairs of places,
    which it makes, has rank one, so none is made here.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.g = nn.Sequential(nn.Conv2d(n_channels, 1, 1))
        self.theta = nn.Conv2d(n_channels, 1, 1)
        self.phi = nn.Conv2d(n_channels, 1, 1)
        last = nn.BatchNorm2d(n_channels)
        self.W = nn.Sequential(nn.Conv2d(1, n_channels, 1), last)
        nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same batch."""
        taken = (self.phi(x) * self.g(x)).mean((2, 3), keepdim=True)
        result: Tensor = x + self.W(self.theta(x) * taken)
        return result


class TwoStream(nn.Module):
    """Images of two modalities to features that can be compared: (B, 3, H, W), normalised, to (B, feature_dim)."""

    #: What engine, embedder and training know such a network by.
    has_streams = True
    feature_dim: int
    input_size: tuple[int, int]
    #: Fed in that memory layout, which is faster.
    channels_last = True
    bottleneck: nn.BatchNorm1d

    def stem(self, modality: Modality) -> nn.Module:
        """What images of a modality pass first."""
        raise NotImplementedError

    def pooled(self, x: Tensor) -> Tensor:
        """What the trunk makes of a stem's output: (B, feature_dim), before the batch norm."""
        raise NotImplementedError

    def stream(self, modality: Modality) -> Stream:
        """The network for images of one modality alone; it shares every weight with this one."""
        return Stream(self, modality)

    def forward(self, images: Tensor, modalities: Tensor | None = None) -> Tensor:
        """Features (B, feature_dim) of a batch of both modalities, in its order.

        Args:
            images: (B, 3, H, W).
            modalities: (B,) int64, places in `MODALITIES`; None where all are visible.
        """
        if modalities is None:
            modalities = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        places = [torch.nonzero(modalities == index)[:, 0] for index in range(len(MODALITIES))]
        stems = [
            self.stem(modality)(images.index_select(0, own))
            for modality, own in zip(MODALITIES, places, strict=True)
            if len(own)  # a batch norm in training takes no empty batch
        ]
        # Back in order before the batch norm: the triplet loss is over what goes into it.
        found: Tensor = self.bottleneck(self.pooled(torch.cat(stems)).index_select(0, torch.cat(places).argsort()))
        return found

    def _start(self) -> None:
        """Random weights as the other architectures have them, both stems the same; the last batch norm does not shift.

        The trunk can make use of both from the first step on only where they start alike, as published models do, whose
        stems both start from ImageNet's.
        """
        for module in self.modules():
            # Those of a non-local block have one channel at one end, and keep the start of PyTorch.
            if isinstance(module, nn.Conv2d) and 1 not in module.weight.shape[:2]:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        first, *others = (self.stem(modality) for modality in MODALITIES)
        for other in others:
            other.load_state_dict(first.state_dict())
        self.bottleneck.bias.requires_grad = False


class Stream(nn.Module):
    """A two-stream network as images of one modality see it: (B, 3, H, W), normalised, to (B, feature_dim)."""

    def __init__(self, network: TwoStream, modality: Modality) -> None:
        super().__init__()
        self.network = network
        self.modality = modality

    def forward(self, images: Tensor) -> Tensor:
        """Features of the batch."""
        network = self.network
        found: Tensor = network.bottleneck(network.pooled(network.stem(self.modality)(images)))
        return found


class _ResNetStem(nn.Module):
    """The first convolution of ResNet: (B, 3, H, W) to (B, 64, H / 4, W / 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Features of the same batch."""
        found: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return found


class _ResNetTrunk(nn.Module):
    """The four stages of ResNet-50, the last one with a stride of 1."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = stage(64, 64, n_blocks=3, stride=1)
        self.layer2 = stage(256, 128, n_blocks=4, stride=2)
        self.layer3 = stage(512, 256, n_blocks=6, stride=2)
        self.layer4 = stage(1024, 512, n_blocks=3, stride=1)


class AGWResNet50(TwoStream):
    """AGW on ResNet-50: images (B, 3, 288, 144), normalised, to features (B, 2048), the output of its batch norm.

    Parameters are called as in the public code, which calls infrared thermal. Each of its three ResNets is whole, and
    a checkpoint of it holds the parts that are never run: those and its classifier are passed over. So a checkpoint
    is used as it is, once the state dict under its key `net` is saved as safetensors.
    """

    feature_dim = 2048
    input_size = (288, 144)
    #: State-dict keys that belong to a classifier, or to what the public code makes and never runs.
    ignored_prefixes = (
        "classifier.",
        "visible_module.visible.layer",
        "thermal_module.thermal.layer",
        "base_resnet.base.conv1.",
        "base_resnet.base.bn1.",
    )

    def __init__(self) -> None:
        super().__init__()
        self.visible_module = nn.ModuleDict({"visible": _ResNetStem()})
        self.thermal_module = nn.ModuleDict({"thermal": _ResNetStem()})
        self.base_resnet = nn.ModuleDict({"base": _ResNetTrunk()})
        self.NL_2 = nn.ModuleList(NonLocal(512) for _ in range(2))
        self.NL_3 = nn.ModuleList(NonLocal(1024) for _ in range(3))
        self.bottleneck = nn.BatchNorm1d(self.feature_dim)
        self._start()

    def stem(self, modality: Modality) -> nn.Module:
        """The first layers of one of the ResNets."""
        return self.visible_module["visible"] if modality == "visible" else self.thermal_module["thermal"]

    def pooled(self, x: Tensor) -> Tensor:
        """The generalised mean (B, 2048) over all places; a non-local block follows each of a stage's last blocks."""
        base = cast("_ResNetTrunk", self.base_resnet["base"])
        x = base.layer1(x)
        for layer, others in ((base.layer2, self.NL_2), (base.layer3, self.NL_3)):
            first = len(layer) - len(others)
            for place, block in enumerate(layer):
                x = block(x)
                if place >= first:
                    x = others[place - first](x)
        return _generalised_mean(base.layer4(x), (2, 3))


class _TinyStem(nn.Module):
    """The first convolution of `TinyNet`: (B, 3, H, W) to (B, 16, H / 2, W / 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """Features of the same batch."""
        found: Tensor = self.relu(self.bn1(self.conv1(images)))
        return found


class AGWTiny(TwoStream):
    """The same idea on `TinyNet`: images (B, 3, 128, 64), normalised, to features (B, 128).

    One non-local block after the last but one of its blocks, generalised means in horizontal stripes.
    """

    feature_dim = 128
    input_size = (128, 64)
    #: State-dict keys that belong to a classifier.
    ignored_prefixes = ("classifier.",)

    def __init__(self) -> None:
        super().__init__()
        self.stems = nn.ModuleDict({modality: _TinyStem() for modality in MODALITIES})
        self.blocks = blocks()
        self.others = NonLocal(WIDTHS[-2])
        self.embedding = nn.Linear(WIDTHS[-1] * STRIPES, self.feature_dim, bias=False)
        self.bottleneck = nn.BatchNorm1d(self.feature_dim)
        self._start()

    def stem(self, modality: Modality) -> nn.Module:
        """Its first convolution."""
        return self.stems[modality]

    def pooled(self, x: Tensor) -> Tensor:
        """The embedding (B, 128) of the stripes' generalised means."""
        *before, last = self.blocks
        for block in before:
            x = block(x)
        x = last(self.others(x))
        batch, channels, height, width = x.shape
        stripes = _generalised_mean(x.reshape(batch, channels, STRIPES, height // STRIPES * width), (3,))
        found: Tensor = self.embedding(stripes.flatten(1))
        return found


def _generalised_mean(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The cube root of the mean cube of numbers from 0."""
    return (x.pow(_POWER).mean(dims) + _LEAST).pow(1 / _POWER)


def agw_resnet50() -> AGWResNet50:
    """AGW for two modalities on ResNet-50, 2048 numbers a feature."""
    return AGWResNet50()


def agw_tiny() -> AGWTiny:
    """The small network for two modalities, 128 numbers a feature."""
    return AGWTiny()
