"""A retrieval model as a classifier: an image's logits over the identities of the other side.

    logit_k = -s ||f - c_k||^2 / u + constant

with c_k the mean feature of the other side's images of identity k, s the parameter `logit_scale`, u = 1 for unit
features (else the other side's mean squared length, so that s means the same for raw features), and the constant of an
image its largest term, so that no logit is negative. It is held fixed and cancels in softmax, in margins and in
ratios of their differences; CW multiplies a logit with zero and would take that zero for the best of negative ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..loss import Loss
from ..neighbours import NOBODY, FeatureBank, Neighbours, square_distances
from ..objectives.base import Objective, neighbours_of
from ..references import References


@dataclass(frozen=True, kw_only=True)
class OwnIdentity(Objective):
    """What attacks on classifiers raise: the cross-entropy of the own identity among those of the other side."""

    needs_neighbours = True

    #: s, of squared distances between unit features: with 10, logits differ by at most 40, and softmax does not
    #: underflow in float32.
    logit_scale: float = 10.0

    def __post_init__(self) -> None:
        if not (isfinite(self.logit_scale) and self.logit_scale > 0):
            raise ValueError(f"logit_scale: expected more than 0, got {self.logit_scale}")

    def __call__(self, features: Tensor, references: References) -> Tensor:
        near = neighbours_of(references)
        return functional.cross_entropy(self.logits(features, near), labels_of(near), reduction="none")

    def logits(self, features: Tensor, near: Neighbours) -> Tensor:
        """(B, K), none negative, of features (B, D); differentiable."""
        terms = square_distances(features, _centroids(near.bank)) * (self.logit_scale / _unit(near.bank))
        return terms.detach().amax(1, keepdim=True) - terms

    def toward(self) -> Objective:
        return TargetIdentity(logit_scale=self.logit_scale)


@dataclass(frozen=True, kw_only=True)
class TargetIdentity(OwnIdentity):
    """The same with the target's identity, whose cross-entropy is to fall."""

    def __call__(self, features: Tensor, references: References) -> Tensor:
        return -super().__call__(features, references)


def _centroids(bank: FeatureBank) -> FeatureBank:
    known, means = bank.centroids
    return FeatureBank(features=means, identities=known, cameras=torch.zeros_like(known))


def _unit(bank: FeatureBank) -> float:
    """The square of what counts as length one."""
    somebody = torch.isin(bank.identities, torch.tensor(NOBODY, device=bank.identities.device), invert=True)
    found = float(bank.square_lengths[somebody].mean())
    return 1.0 if abs(found - 1) < 1e-3 or found == 0 else found


def labels_of(near: Neighbours) -> Tensor:
    """(B,) int64: where the identity that an image is to be taken for, or away from, stands among the centroids.

    Padding, and whoever is not among them, gets 0: those images are not attacked.
    """
    known = near.bank.centroids[0]
    place = torch.searchsorted(known, near.aims).clamp_max(max(len(known) - 1, 0))
    return torch.where(known[place] == near.aims, place, 0) if len(known) else torch.zeros_like(near.aims)


class Classifier(nn.Module):
    """`classifier(images (n, 3, H, W)) -> logits (n, K)` of any number of images, each one counted.

    Always in eval mode. The model itself is no part of it that the package could reach: not to switch its mode, not to
    read its weights.
    """

    def __init__(self, loss: Loss, batch_size: int) -> None:
        """Bind the model, the objective and the references of a batch of `batch_size` images, padding included."""
        super().__init__()
        objective, near = loss.objective, neighbours_of(loss.references)
        if not isinstance(objective, OwnIdentity):
            raise ValueError(f"expected the objective of the bridge, got {type(objective).__name__}")  # noqa: TRY004
        self.n_classes = len(near.bank.centroids[0])
        if self.n_classes < 2:
            raise ValueError(
                f"expected at least two identities on the other side to tell apart, found {self.n_classes}"
            )
        #: The package asks a model's parameters for its device.
        self.centroids = nn.Parameter(near.bank.centroids[1], requires_grad=False)
        self._batch_size = batch_size
        # Held in functions: a module held by name would be a part of this one.
        self._features = loss.embed
        self._logits: Callable[[Tensor], Tensor] = lambda features: objective.logits(features, near)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, K), in batches of the one shape that the model is always given."""
        return torch.cat([self._part(part) for part in torch.split(images, self._batch_size)])

    def _part(self, images: Tensor) -> Tensor:
        count = len(images)
        if images.requires_grad:
            # The model may lay its gradients out channels last; the package views them as they come.
            images = images.view_as(images)
            images.register_hook(lambda gradient: gradient.contiguous())  # type: ignore[no-untyped-call]
        missing = self._batch_size - count
        if missing:
            images = torch.cat([images, images.new_zeros(missing, *images.shape[1:])])
        return self._logits(self._features(images, count)[:count])
