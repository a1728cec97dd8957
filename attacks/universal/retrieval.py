"""UAP-Retrieval: one perturbation that turns the neighbourhood of every image upside down.

Source: Li, Ji, Liu, Hong, Gao, Tian 2019 (ICCV). Read in the public code that goes with it: the pair-wise loss and
its margin of 0.8 on features times 10, the hinge of the label-wise loss, the reversed list, 512 clusters, the signed
step with momentum 1 on the gradient over its L1 length, steps of epsilon / 10 that shrink by exp(-0.01) an epoch,
halving of a perturbation that is saturated and rests, a random size of the images. Chosen here: the three losses are
added (there, switches), logits are minus squared distances to the centroids (there, a small trained classifier), the
list is LambdaRank's with a graded gain over 32 centroids spread over the ranking (there, all 512, with another
discount), images are shrunk to no less than 3/4 and back (there, 1/4 to 1 of 1024 pixels). The public code keeps the
epoch that is best on its test set; here the last one is kept, and no test image is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from ...models.base import Embedder
from ...models.pixels import resize
from .clusters import kmeans
from .procedure import Batch, Loader, Procedure, State, seen_by

#: Below this a square root has no useful gradient.
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class UAPRetrieval(Procedure):
    """Away from the nearest centroid of the clean training features, toward the furthest, the ranking reversed."""

    #: How many centroids stand for the training set; fewer where it has fewer images.
    clusters: int = 512
    #: Weights of the three losses.
    pair_weight: float = 1.0
    label_weight: float = 1.0
    list_weight: float = 1.0
    #: Of the pair-wise loss, and what features are multiplied by in it.
    margin: float = 0.8
    scale: float = 10.0
    #: How many centroids the list-wise loss ranks.
    list_length: int = 32
    #: A step is this share of epsilon, and shrinks by exp(-decay) an epoch.
    step: float = 0.1
    decay: float = 0.01
    #: The smallest share of its height and width that an image is shrunk to; 1 leaves it as it is.
    smallest: float = 0.75
    #: A perturbation with a larger share of entries on the ball that has come to rest is halved between epochs.
    saturation: float = 0.5
    #: How little the share may change in an epoch to be called rest.
    rest: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clusters < 2 or self.list_length < 2:
            raise ValueError(
                f"clusters and list_length: expected at least 2, got {self.clusters} and {self.list_length}"
            )
        weights = (self.pair_weight, self.label_weight, self.list_weight)
        if min(weights) < 0 or not any(weights):
            raise ValueError(f"pair_weight, label_weight and list_weight: expected 0 or more, not all 0, got {weights}")
        if min(self.margin, self.decay) < 0 or min(self.scale, self.step) <= 0:
            raise ValueError("margin and decay: expected at least 0; scale and step: expected more than 0")
        if not 0 < self.smallest <= 1:
            raise ValueError(f"smallest: expected more than 0 and at most 1, got {self.smallest}")
        if not 0 <= self.saturation <= 1 or self.rest < 0:
            raise ValueError("saturation: expected 0 to 1; rest: expected at least 0")

    def work(self, loader: Loader, epochs: int) -> float:
        """Forwards of an image: those of all epochs, and the clean features of everyone."""
        return super().work(loader, epochs) + loader.n_images

    def prepare(self, loader: Loader, embedder: Embedder, seed: int, advance: Callable[[float], None]) -> Tensor:
        """The centroids (K, D) of the clean features of all training images."""
        found = []
        for batch in loader.everyone():
            with torch.no_grad():
                found.append(seen_by(embedder, batch.modalities)(batch.images))
            advance(len(batch.images))
        return kmeans(torch.cat(found), self.clusters, seed=seed)

    def step_size(self, epsilon: Fraction, epoch: int) -> float:
        return self.step * float(epsilon) * math.exp(-self.decay * (epoch + 1))

    def before_epoch(self, state: State) -> Tensor:
        """Halved where it is saturated and has come to rest, so that it can still change."""
        is_at_rest = state.epoch > 0 and abs(state.saturation - state.saturation_before) < self.rest
        return state.delta / 2 if is_at_rest and state.saturation > self.saturation else state.delta

    def value(
        self,
        batch: Batch,  # noqa: ARG002
        clean: Tensor,
        perturbed: Tensor,
        embedder: Embedder,
        known: Tensor,
        lot: float,
    ) -> Tensor:
        features = embedder(self._shrunk(perturbed, lot))
        order = _squared(clean, known).argsort(dim=1, stable=True)
        total = features.new_zeros(())
        if self.pair_weight:
            total = total + self.pair_weight * pair_loss(features, known, order, margin=self.margin, scale=self.scale)
        if self.label_weight:
            total = total + self.label_weight * label_loss(features, known, order)
        if self.list_weight:
            total = total + self.list_weight * list_loss(features, known, order, self.list_length)
        return total

    def _shrunk(self, images: Tensor, lot: float) -> Tensor:
        """Images at a random smaller size and back, so that the perturbation survives it."""
        height, width = images.shape[-2:]
        share = 1 - (1 - self.smallest) * lot
        smaller = (max(round(share * height), 1), max(round(share * width), 1))
        return resize(resize(images, smaller), (height, width))


def pair_loss(features: Tensor, centroids: Tensor, order: Tensor, *, margin: float, scale: float) -> Tensor:
    """The mean of [d(f, far) - d(f, near) + margin]_+, d Euclidean between features times `scale`.

    Args:
        features: (B, D), of perturbed images.
        centroids: (K, D).
        order: (B, K), the centroids from the nearest to the furthest of the clean image.
        margin: by how much the furthest is to be nearer.
        scale: what distances are multiplied by.
    """
    near, far = (scale * (features - centroids[order[:, place]]) for place in (0, -1))
    near, far = ((gap.square().sum(1) + _TINY).sqrt() for gap in (near, far))
    return (far - near + margin).clamp_min(0).mean()


def label_loss(features: Tensor, centroids: Tensor, order: Tensor) -> Tensor:
    """The mean of [z(own) - max over others of z]_+, logits z minus squared distances; own is the clean nearest."""
    logits = -_squared(features, centroids)
    own = logits.gather(1, order[:, :1])[:, 0]
    others = logits.scatter(1, order[:, :1], -torch.inf).amax(1)
    return (own - others).clamp_min(0).mean()


def list_loss(features: Tensor, centroids: Tensor, order: Tensor, length: int) -> Tensor:
    """LambdaRank on the reversed list: the mean over images of sum |change of NDCG| log(1 + exp(s_j - s_i)) over pairs.

    Of `length` centroids spread evenly over the clean ranking, i is further than j and is to stand before it. Scores s
    are minus distances of the perturbed feature, gains rise evenly from 0 (nearest) to 1 (furthest), discounts are
    1 / log2(1 + rank); the weights of pairs are held fixed.
    """
    length = min(length, order.shape[1])
    places = torch.linspace(0, order.shape[1] - 1, length, device=order.device).round().long()
    listed = order[:, places]
    squares = _squared(features, centroids).gather(1, listed)
    scores = -(squares + _TINY).sqrt()
    gains = torch.linspace(0, 1, length, dtype=features.dtype, device=features.device)
    with torch.no_grad():
        ranks = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        discounts = 1 / torch.log2(2 + ranks.to(features.dtype))
        best = (gains.flip(0) / torch.log2(2 + torch.arange(length, device=features.device))).sum()
        change = (gains[:, None] - gains[None, :]).abs() * (discounts[:, :, None] - discounts[:, None, :]).abs() / best
        # [i, j]: i is to stand before j.
        weights = change * (gains[:, None] > gains[None, :])
    gaps = scores[:, None, :] - scores[:, :, None]
    return (weights * F.softplus(gaps)).sum((1, 2)).mean()


def _squared(features: Tensor, centroids: Tensor) -> Tensor:
    """(B, K) squared Euclidean distances, never negative."""
    products = features @ centroids.T
    return (features.square().sum(1, keepdim=True) + centroids.square().sum(1) - 2 * products).clamp_min(0)
