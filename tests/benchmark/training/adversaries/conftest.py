"""A small differentiable embedding and a batch at the ends of the pixel range."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from robustreid.models.training.plan import Batch
from torch import Tensor
from torch.nn import functional as F


@pytest.fixture
def embed() -> Callable[[Tensor], Tensor]:
    """Unit features (B, 7) that bend."""
    weights = torch.randn(3 * 8 * 6, 7, generator=torch.Generator().manual_seed(0)) / 12

    def features(images: Tensor) -> Tensor:
        return F.normalize(torch.tanh(images.flatten(1) @ weights + 0.3 * weights[0]), dim=1)

    return features


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """A function that gives 8 images of 4 people (or of 8), black, white and random ones."""

    def make(*, channels_last: bool = False, alone: bool = False) -> Batch:
        images = torch.randint(0, 256, (8, 3, 8, 6), generator=torch.Generator().manual_seed(1)).float() / 255
        images[0] = 0.0
        images[1] = 1.0
        layout = torch.channels_last if channels_last else torch.contiguous_format
        classes = torch.arange(8) if alone else torch.arange(4).repeat_interleave(2)
        return Batch(images=images.contiguous(memory_format=layout), classes=classes, places=np.arange(8))

    return make
