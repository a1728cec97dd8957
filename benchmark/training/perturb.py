"""The adversary of adversarial training: projected gradient steps on an objective of `attacks`, made for speed.

The optimisers of `attacks` share gradients between cells, count passes and draw per image; none of that is needed
here, and it would cost a tenth of a step. What remains is PGD (Madry et al. 2018, arXiv 1706.06083) in the L-inf ball.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

from ...attacks.objectives import OBJECTIVES, Objective, objective_for
from ...attacks.references import References
from ...models.training.chance import stream
from ...models.training.plan import Precision

TrainReferences = Literal["train", "self"]

#: What can be climbed while a network trains: what looks at references and the image alone.
INNER_OBJECTIVES = tuple(name for name, kind in OBJECTIVES.items() if not (kind.needs_neighbours or kind.moves))


@dataclass(frozen=True, kw_only=True)
class PgdPerturb:
    """A `Perturb`: random start, then `steps` steps of the gradient's sign inside the ball and [0, 1]."""

    #: A name of `robustreid.attacks.objectives`.
    objective: str = "push"
    #: L-inf radius in [0, 1] pixel units.
    epsilon: Fraction = Fraction(4, 255)
    steps: int = 4
    #: In [0, 1] pixel units.
    step_size: Fraction = Fraction(2, 255)
    #: What is pushed from: `train`, the clean features of the batch's other images of the identity (as GOAT, Bouniot
    #: et al. 2021); `self`, the image's own.
    references: TrainReferences = "train"
    #: What features and gradients are computed in; of those only the sign counts.
    precision: Precision = "float32"
    seed: int = 0

    def __call__(self, embed: Callable[[Tensor], Tensor], images: Tensor, identities: Tensor, step: int) -> Tensor:
        """Perturbed images (B, 3, H, W); `steps` gradients and one forward."""
        objective = objective_for(self.objective, "untargeted")

        def features(images: Tensor) -> Tensor:
            with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                return embed(images).float()

        with torch.no_grad():
            references = self._references(features(images), identities)
        radius, size = float(self.epsilon), float(self.step_size)
        # The ball and [0, 1] meet in a box; for L-inf clamping to it is the projection.
        low, high = (images - radius).clamp_(min=0), (images + radius).clamp_(max=1)
        found = self._start(images, step).mul_(2 * radius).add_(images - radius)
        found = torch.clamp(found, low, high)
        for _ in range(self.steps):
            gradient = _gradient(features, objective, found, references)
            found = torch.clamp(found.add_(gradient.sign_(), alpha=size), low, high)
        return found

    def _start(self, images: Tensor, step: int) -> Tensor:
        """Uniform numbers in [0, 1), drawn pixel by pixel as channels-last images lie in memory."""
        n, channels, height, width = images.shape
        drawn = stream(self.seed, "perturb", step).random((n, height, width, channels), dtype="float32")
        start = torch.from_numpy(drawn).permute(0, 3, 1, 2).to(images.device)
        return start.contiguous() if images.is_contiguous() else start

    def _references(self, features: Tensor, identities: Tensor) -> References:
        if self.references == "self":
            return References(count=torch.ones_like(features[:, 0]), mean=features, clean=features)
        others = (identities[:, None] == identities[None, :]).to(features.dtype).fill_diagonal_(0)
        count = others.sum(1)
        return References(count=count, mean=others @ features / count.clamp_min(1)[:, None], clean=features)


def _gradient(
    embed: Callable[[Tensor], Tensor], objective: Objective, images: Tensor, references: References
) -> Tensor:
    leaf = images.detach().requires_grad_()
    with torch.enable_grad():
        total = objective(embed(leaf), references).sum()
    (gradient,) = torch.autograd.grad(total, leaf)
    return gradient
