"""Projected gradient steps in a ball, made for speed.

The optimisers of `attacks` share gradients between cells, count passes and draw per image; none of that is needed
here, and it would cost a tenth of a step. What remains is PGD (Madry et al. 2018, arXiv 1706.06083) in the L-inf ball.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ....models.training.chance import stream
from ....models.training.plan import Precision

Embed = Callable[[Tensor], Tensor]
#: Features (M, D) to what is maximised, (M,) or a scalar.
Value = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Ball:
    """An L-inf ball, and how it is climbed in: `steps` steps of the gradient's sign inside it and [0, 1]."""

    #: Radius, in [0, 1] pixel units.
    epsilon: Fraction = Fraction(4, 255)
    steps: int = 4
    #: In [0, 1] pixel units.
    step_size: Fraction = Fraction(2, 255)
    #: Whether the way starts at a random point of the ball, or at the image.
    random_start: bool = True
    #: Steps of the training over which radius and step size rise from nothing to what they are.
    warmup: float = 0.0
    #: What features and gradients are computed in; of those only the sign counts.
    precision: Precision = "float32"
    seed: int = 0

    def share(self, step: int) -> float:
        """How much of the radius and step size counts at a step of the training."""
        return min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0

    def features(self, embed: Embed, images: Tensor) -> Tensor:
        """Features (M, D) in float32, computed in this ball's precision."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return embed(images).float()

    def clean(self, embed: Embed, images: Tensor) -> Tensor:
        """The same, without a graph."""
        with torch.no_grad():
            return self.features(embed, images)

    def climb(self, embed: Embed, value: Value, images: Tensor, step: int) -> Tensor:
        """Changed images (M, 3, H, W), after `steps` gradients: a pure function of the arguments.

        Args:
            embed: images to features.
            value: what is maximised over the features, summed over the images.
            images: (M, 3, H, W) in [0, 1].
            step: of the training.
        """
        radius, size = (float(length) * self.share(step) for length in (self.epsilon, self.step_size))
        # The ball and [0, 1] meet in a box; for L-inf clamping to it is the projection.
        low, high = (images - radius).clamp_(min=0), (images + radius).clamp_(max=1)
        found = images
        if self.random_start:
            found = torch.clamp(self._start(images, step).mul_(2 * radius).add_(images - radius), low, high)
        for _ in range(self.steps):
            leaf = found.detach().requires_grad_()
            with torch.enable_grad():
                total = value(self.features(embed, leaf)).sum()
            (gradient,) = torch.autograd.grad(total, leaf)
            # Not in place: the first `found` may be the clean images.
            found = torch.clamp(found.add(gradient.sign_(), alpha=size), low, high)
        return found

    def _start(self, images: Tensor, step: int) -> Tensor:
        """Uniform numbers in [0, 1), drawn pixel by pixel as channels-last images lie in memory."""
        n, channels, height, width = images.shape
        drawn = stream(self.seed, "perturb", step).random((n, height, width, channels), dtype="float32")
        start = torch.from_numpy(drawn).permute(0, 3, 1, 2).to(images.device)
        return start.contiguous() if images.is_contiguous() else start
