"""CMPS: one perturbation for visible and infrared images, fitted on batches of the one and the other by turns.

Source: Gong, Zhong, Qu, Luo, Ji, Jiang 2024 (NeurIPS 37:23352). Read in the paper: the losses of equations 4 and 7
with their margin of 0.5, Euclidean distances (not squared), one perturbation and one momentum of 1 over both
modalities, gradients over their L1 length, steps of epsilon / 12, a visible batch before an infrared one (algorithm 1),
images turned gray with probability 0.2, the weights of gray (equation 2), centroids of clean training features, p
"to push" and n "to pull". Read in the public code that goes with it: p is the nearest and n the furthest centroid from
the image's clean feature, as many centroids as training identities, no start noise (in the paper, noise of [0, 1]),
the clean feature taken after an image was turned gray.

Taken otherwise than the paper prints it: steps go down the losses; it adds the sign of the gradient, which would make
retrieval better, and the public code subtracts it. The public code is another procedure in further points: both of
its batches come from one list of all training images, whose centroids are those of all images; a step follows the sum
of the losses before and after a trial step; steps are epsilon / 10 and shrink by exp(-0.01) an epoch; a perturbation
that is saturated and rests is halved. None of that is in the paper, and none is done here. Its factor of 10 on the
losses cancels, since gradients are divided by their length.

Chosen here: gray centroids are those of the visible images turned gray, seen by the visible stream; only visible
images are turned gray, since infrared ones have one channel's worth of colour (in the paper, "visible or infrared");
one that was turned gray stays a visible image, with the loss of equation 4 (the middle term of equation 1, that of
gray images, has no step in algorithm 1); gray is rounded to whole counts; distances choose the centroids (in the code,
products with centroids of any length); a pair of batches shows the same people, where all have images of both
modalities; the network is in evaluation mode, the last epoch is kept, and no test image is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...models.base import MODALITIES, Embedder, Modality, seen_as
from ..counts import from_counts, to_counts
from .clusters import kmeans
from .procedure import Batch, Loader, Procedure

#: Whose clean training features centroids are of; `gray` are the visible images turned gray.
Source = Literal["visible", "gray", "infrared"]
#: By the modality of an image: where its nearest centroid, that it leaves, and its furthest, that it seeks, are from.
NEAR: Mapping[Modality, Source] = {"visible": "infrared", "infrared": "gray"}
FAR: Mapping[Modality, Source] = {"visible": "gray", "infrared": "visible"}

#: ITU-R BT.601-7.
_GRAY = (0.299, 0.587, 0.114)
#: Below this a square root has no useful gradient.
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class CMPS(Procedure):
    """Away from the nearest centroid of the other modality, toward the furthest, one batch of each by turns."""

    alternates_modalities: ClassVar[bool] = True

    #: How many centroids stand for each kind of training image; None is as many as there are identities.
    clusters: int | None = None
    #: By how much the furthest is to be nearer.
    margin: float = 0.5
    #: A step is this share of epsilon.
    step: float = 1 / 12
    #: The share of visible images that are turned gray.
    gray: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clusters is not None and self.clusters < 2:
            raise ValueError(f"clusters: expected at least 2, or nothing, got {self.clusters}")
        if self.margin < 0 or self.step <= 0:
            raise ValueError("margin: expected at least 0; step: expected more than 0")
        if not 0 <= self.gray <= 1:
            raise ValueError(f"gray: expected a share from 0 to 1, got {self.gray}")

    def work(self, loader: Loader, epochs: int) -> float:
        """Forwards of an image: those of all epochs, and the clean features of everyone, visible ones twice."""
        return super().work(loader, epochs) + loader.n_images + loader.n_of("visible")

    def prepare(
        self, loader: Loader, embedder: Embedder, seed: int, advance: Callable[[float], None]
    ) -> Mapping[Source, Tensor]:
        """The centroids (K, D) of the clean features of all training images, by what they are of."""
        found: dict[Source, list[Tensor]] = {"visible": [], "gray": [], "infrared": []}
        people: set[int] = set()
        for batch in loader.everyone():
            people.update(batch.identities.tolist())
            for modality in MODALITIES:
                images, stream = batch.of(modality), seen_as(embedder, modality)
                if not len(images):
                    continue
                with torch.no_grad():
                    found[modality].append(stream(images))
                    if modality == "visible":
                        found["gray"].append(stream(grayscale(images)))
                advance(len(images) * (2 if modality == "visible" else 1))
        for modality in MODALITIES:
            if not found[modality]:
                raise ValueError(f"expected training images of both modalities, got none that are {modality}")
        count = self.clusters or len(people)
        return {source: kmeans(torch.cat(features), count, seed=seed) for source, features in found.items()}

    def step_size(self, epsilon: Fraction, epoch: int) -> float:  # noqa: ARG002
        return self.step * float(epsilon)

    def augmented(self, batch: Batch, seed: int, epoch: int, step: int) -> Batch:
        """Visible images turned gray, each with the same probability; infrared ones stay as they are."""
        from ...models.training.chance import stream

        if batch.modality != "visible" or not self.gray:
            return batch
        turned = stream(seed, "grayscale", epoch, step).random(len(batch.images)) < self.gray
        chosen = torch.from_numpy(turned).to(batch.images.device)[:, None, None, None]
        return replace(batch, images=torch.where(chosen, grayscale(batch.images), batch.images))

    def value(
        self,
        batch: Batch,
        clean: Tensor,
        perturbed: Tensor,
        embedder: Embedder,
        known: Mapping[Source, Tensor],
        lot: float,  # noqa: ARG002
    ) -> Tensor:
        near, far = known[NEAR[batch.modality]], known[FAR[batch.modality]]
        return synergy_loss(embedder(perturbed), clean, near, far, margin=self.margin)


def synergy_loss(features: Tensor, clean: Tensor, near: Tensor, far: Tensor, *, margin: float) -> Tensor:
    """The mean of [d(f, n) - d(f, p) + margin]_+, d Euclidean.

    Args:
        features: (B, D), of perturbed images.
        clean: (B, D), of the same images without the perturbation; they choose p and n.
        near: (K, D), centroids of which p is the one nearest to the clean feature.
        far: (L, D), centroids of which n is the one furthest from it.
        margin: by how much n is to be nearer than p.
    """
    p = near[torch.cdist(clean, near).argmin(1)]
    n = far[torch.cdist(clean, far).argmax(1)]
    to_n, to_p = (((features - centroid).square().sum(1) + _TINY).sqrt() for centroid in (n, p))
    return (to_n - to_p + margin).clamp_min(0).mean()


def grayscale(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] with their luma in all channels, on the 8-bit grid."""
    weights = torch.tensor(_GRAY, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    return from_counts((to_counts(images) * weights).sum(1, keepdim=True).round()).expand_as(images)
