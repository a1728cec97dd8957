"""What a black-box adversary may ask: the value of images, so many times, and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

from .loss import Loss


class QueryBudgetError(RuntimeError):
    """A black-box attack asked more often than it may."""


class Oracle:
    """`oracle(images) -> (B,)`: the objective, computed from similarities; every call is one query an image.

    There is no way from here to a gradient, to features or to the model.
    """

    def __init__(self, loss: Loss, budget: int) -> None:
        """Answer at most `budget` times."""
        self._loss = loss
        self.budget = budget
        #: Queries an image so far.
        self.asked = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Values (B,) of images (B, 3, H, W) in [0, 1], larger being better for the adversary.

        Raises:
            QueryBudgetError: there is no query left.
        """
        if self.asked >= self.budget:
            raise QueryBudgetError(f"the attack asked for query {self.asked + 1} of an image, and has {self.budget}")
        self.asked += 1
        with torch.no_grad():
            return self._loss(images.detach())
