"""Stand-ins: small networks with the interfaces of torchreid, fast-reid and timm, and the packages where they are."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn


class Backbone(nn.Sequential):
    """Twelve channels at a fourth of the size."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 12, 3, stride=2, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 12, 3, stride=2)
        )
        running = self[1]
        assert isinstance(running, nn.BatchNorm2d)
        running.running_mean = 0.1 * torch.randn(12)
        running.running_var = 1 + torch.rand(12)


class LikeTorchreid(nn.Module):
    """Logits while it trains, and features with them under the triplet loss; features in evaluation mode."""

    def __init__(self, loss: str = "softmax") -> None:
        super().__init__()
        self.loss = loss
        self.feature_dim = 12
        self.backbone = Backbone()
        self.classifier = nn.Linear(12, 751)

    def forward(self, images: Tensor) -> Any:
        features = self.backbone(images).mean((2, 3))
        if not self.training:
            return features
        logits = self.classifier(features)
        return logits if self.loss == "softmax" else (logits, features)


class LikeFastReid(nn.Module):
    """Images in 0..255 under a key or alone, normalised in place; a dict of losses while it trains."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.heads = nn.BatchNorm2d(12)
        mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
        self.register_buffer("pixel_mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def forward(self, batched: Any) -> Any:
        images = batched["images"] if isinstance(batched, dict) else batched
        if not isinstance(images, Tensor):
            raise TypeError("expected a dict or a tensor")
        images.sub_(self.pixel_mean).div_(self.pixel_std)
        features = self.heads(self.backbone(images).mean((2, 3), keepdim=True))[..., 0, 0]
        if self.training:
            return {"loss_cls": features.sum() + batched["targets"].sum()}
        return features


class LikeTimm(nn.Module):
    """Features and head apart; a configuration with a normalisation of its own."""

    def __init__(self, num_classes: int = 1000, img_size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.pretrained_cfg: dict[str, Any] = {
            "input_size": (3, 64, 48),
            "mean": (0.5, 0.4, 0.3),
            "std": (0.5, 0.6, 0.7),
            "crop_pct": 0.875,
        }
        self.backbone = Backbone()
        self.fc: nn.Module = nn.Linear(12, num_classes) if num_classes else nn.Identity()
        if img_size:
            self.patch_embed = SimpleNamespace(img_size=img_size)

    def forward_features(self, images: Tensor) -> Tensor:
        found: Tensor = self.backbone(images)
        return found

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        pooled = features.mean((2, 3))
        found: Tensor = pooled if pre_logits else self.fc(pooled)
        return found

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Random weights, the same ones in every test."""
    torch.manual_seed(0)


@pytest.fixture
def torchreid_model() -> LikeTorchreid:
    """A stand-in in training mode, as it is between epochs."""
    return LikeTorchreid().train()


@pytest.fixture
def fastreid_model() -> LikeFastReid:
    """A stand-in in training mode."""
    return LikeFastReid().train()


@pytest.fixture
def timm_model() -> LikeTimm:
    """A stand-in with a classifier."""
    return LikeTimm().train()


def _package(name: str) -> ModuleType:
    """A package of others; a test skips where it is absent, or does not import beside the torch that is here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # their own affair
            return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{name} is not here: {' '.join(str(error).split())[:120]}")


@pytest.fixture
def timm() -> ModuleType:
    """The package itself."""
    return _package("timm")


@pytest.fixture
def torchreid() -> ModuleType:
    """The package itself."""
    return _package("torchreid")
