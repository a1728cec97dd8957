"""A zoo of models that look robust and are not: one small real model behind stages that fool an attack."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from robustreid.models.load import build, resolve
from robustreid.models.zoo import find
from torch import Tensor, nn
from torch.nn import functional as F

#: People enough for chance to be far from the clean score, few enough to be quick.
CROWD = {"name": "synthetic", "identities": 9, "distractors": 9}


class Killer(nn.Module):
    """Cuts the graph."""

    def forward(self, images: Tensor) -> Tensor:
        return images.detach().clone()


class Jpeg(nn.Module):
    """Pillow's JPEG, encoded and decoded, colours at full resolution."""

    def forward(self, images: Tensor) -> Tensor:
        pixels = (images.detach().permute(0, 2, 3, 1).cpu().numpy() * 255).round().astype(np.uint8)
        decoded = []
        for image in pixels:
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "JPEG", quality=90, subsampling=0)
            decoded.append(np.asarray(Image.open(buffer)))
        found = torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).to(images)
        return found / 255


class BitDepth(nn.Module):
    """Four bits a channel."""

    def forward(self, images: Tensor) -> Tensor:
        return (images * 15).round() / 15


class RandomResize(nn.Module):
    """Each image at a random size, at a random place on grey; Xie et al. 2018 (arXiv 1711.01991)."""

    is_random = True

    def forward(self, images: Tensor) -> Tensor:
        lots, zero = torch.rand(3, len(images)), torch.zeros(len(images))
        scale = 0.9 + 0.1 * lots[0]
        x, y = (2 * lots[1:] - 1) * (1 - scale)
        theta = torch.stack([1 / scale, zero, -x / scale, zero, 1 / scale, -y / scale], 1).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images - 0.45, grid, align_corners=False) + 0.45


class Purifier(nn.Module):
    """Gradient steps on the input that make it smoother, whoever calls."""

    def forward(self, images: Tensor) -> Tensor:
        clean = images.detach()
        for _ in range(4):
            leaf = clean.clone().requires_grad_()
            with torch.enable_grad():
                rough = leaf.diff(dim=2).square().sum() + leaf.diff(dim=3).square().sum()
                (slope,) = torch.autograd.grad(rough, leaf)
            clean = (clean - 0.02 * slope).clamp(0, 1)
        return clean


class LeftOnDropout(nn.Module):
    """Drops a tenth of what it is given, in evaluation mode as well."""

    def forward(self, features: Tensor) -> Tensor:
        return F.dropout(features, 0.1, training=True)


class LeftOnBatchNorm(nn.Module):
    """A batch norm in training mode, whatever mode its model is in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, features: Tensor) -> Tensor:
        self.norm.train()
        found: Tensor = self.norm(features)
        return found


class Saturated(nn.Module):
    """Features at the ends of their range, where a slope is zero."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.tanh(1e6 * features)


class Behind(nn.Module):
    """A model behind a stage, or a stage behind a model."""

    def __init__(
        self,
        embedder: nn.Module,
        before: nn.Module | None = None,
        after: nn.Module | None = None,
        *,
        says: bool = False,
    ) -> None:
        super().__init__()
        self.before = before or nn.Identity()
        self.embedder = embedder
        self.after = after or nn.Identity()
        if says:
            self.bpda_stages = ("before",) if before else ("after",)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.after(self.embedder(self.before(images)))
        return found


@pytest.fixture(scope="session")
def plain() -> nn.Module:
    """The small network that ships, from pixels to features."""
    known, weights = find("tiny")
    spec = resolve(label="tiny", architecture=known.architecture, weights=weights, normalise=known.normalise)
    return build(spec)


@pytest.fixture(scope="session")
def model(plain: nn.Module) -> Callable[[str], nn.Module]:
    """A function that gives a model of the zoo by name."""
    wide = 128
    makers: dict[str, Callable[[], nn.Module]] = {
        "plain": lambda: Behind(plain),
        "killer": lambda: Behind(plain, Killer(), says=True),
        "jpeg": lambda: Behind(plain, Jpeg(), says=True),
        "bit-depth": lambda: Behind(plain, BitDepth(), says=True),
        "random-resize": lambda: Behind(plain, RandomResize()),
        "purifier": lambda: Behind(plain, Purifier(), says=True),
        "dropout": lambda: Behind(plain, None, LeftOnDropout()),
        "batch-norm": lambda: Behind(plain, None, LeftOnBatchNorm(wide)),
        "saturated": lambda: Behind(plain, None, Saturated(), says=True),
    }
    return lambda name: makers[name]()


@pytest.fixture
def attacked(model: Callable[[str], nn.Module]) -> Callable[..., Any]:
    """A function that attacks a model of the zoo and gives its row."""
    import robustreid

    def go(name: str, **options: Any) -> Any:
        asked = {
            "attack": "ama-ifgsm",
            "epsilon": "8/255",
            "side": "query",
            "device": "cpu",
            "batch_size": 16,
            **options,
        }
        torch.manual_seed(0)
        return robustreid.evaluate(model(name), CROWD, **asked)

    return go
