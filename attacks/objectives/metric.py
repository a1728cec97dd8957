"""Objectives that move a feature away from, or toward, fixed points: the metric attacks.

Equations: Bai et al. 2020 (arXiv 1901.10650) and the paper's public code for push and pull; Bouniot et al. 2020 (CVPR
workshops) for self and furthest; Zheng et al. 2023 (arXiv 1809.02681) for opposite; Tolias et al. 2019 (ICCV) for
target-feature; Gong et al. 2022 (CVPR workshops) for local-gray. MSE's 1/D is left out: it cancels in a sign step and
in MI-FGSM's normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..references import References
from ..threat import Goal, Side
from .base import Objective, clean_of, neighbours_of

_UNTARGETED: tuple[Goal, ...] = ("untargeted",)
_ONE_SIDE: tuple[Side, ...] = ("query", "gallery")


@dataclass(frozen=True, kw_only=True)
class Push(Objective):
    """AMA: away from every reference, sum over r of ||f - r||^2 up to a constant."""

    def __call__(self, features: Tensor, references: References) -> Tensor:
        return references.count * (features - references.mean).square().sum(1)

    def toward(self) -> Objective:
        return Pull()


@dataclass(frozen=True, kw_only=True)
class Pull(Objective):
    """AMA, targeted: toward every reference."""

    def __call__(self, features: Tensor, references: References) -> Tensor:
        return -Push()(features, references)


@dataclass(frozen=True, kw_only=True)
class Self(Objective):
    """SMA, also called ES: away from the image's own clean feature, ||f - f(x)||^2."""

    vanishes: ClassVar[bool] = True
    uses_others: ClassVar[bool] = False
    goals: ClassVar[tuple[Goal, ...]] = _UNTARGETED
    sides: ClassVar[tuple[Side, ...]] = _ONE_SIDE

    def __call__(self, features: Tensor, references: References) -> Tensor:
        return (features - clean_of(references)).square().sum(1)


@dataclass(frozen=True, kw_only=True)
class Opposite(Objective):
    """ODFA: toward the opposite of the clean feature, -||f + f(x)||^2 of unit features.

    Descended as the paper says; one public copy ascends it by a sign error (REFERENCE of defects in docs/attacks.md).
    """

    vanishes: ClassVar[bool] = True
    uses_others: ClassVar[bool] = False
    goals: ClassVar[tuple[Goal, ...]] = _UNTARGETED
    sides: ClassVar[tuple[Side, ...]] = _ONE_SIDE

    def __call__(self, features: Tensor, references: References) -> Tensor:
        return -(F.normalize(features) + F.normalize(clean_of(references))).square().sum(1)


@dataclass(frozen=True, kw_only=True)
class Furthest(Objective):
    """FNA: away from the own identity's mean and toward the centroid of the identity furthest from the clean image.

    ||f - mean_own||^2 - ||f - mean_far||^2; who is furthest is chosen once.
    """

    needs_neighbours: ClassVar[bool] = True
    goals: ClassVar[tuple[Goal, ...]] = _UNTARGETED

    def __call__(self, features: Tensor, references: References) -> Tensor:
        away = (features - references.mean).square().sum(1)
        return away - (features - neighbours_of(references).furthest).square().sum(1)


@dataclass(frozen=True, kw_only=True)
class FurthestPull(Objective):
    """FNA without its push: only toward the furthest identity's centroid."""

    needs_neighbours: ClassVar[bool] = True
    goals: ClassVar[tuple[Goal, ...]] = _UNTARGETED

    def __call__(self, features: Tensor, references: References) -> Tensor:
        return -(features - neighbours_of(references).furthest).square().sum(1)


@dataclass(frozen=True, kw_only=True)
class FurthestSum(Objective):
    """FNA as its public code weighs it: a sum over all pushed-from features, the image's own among them, one pull.

    sum over r of ||f - r||^2 + ||f - f(x)||^2 - ||f - mean_far||^2: the more images an identity has, the less the pull.
    """

    needs_neighbours: ClassVar[bool] = True
    goals: ClassVar[tuple[Goal, ...]] = _UNTARGETED

    def __call__(self, features: Tensor, references: References) -> Tensor:
        away = Push()(features, references) + (features - clean_of(references)).square().sum(1)
        return away - (features - neighbours_of(references).furthest).square().sum(1)


@dataclass(frozen=True, kw_only=True)
class TargetFeature(Objective):
    """TMA: the cosine similarity to one target feature.

    Under a targeted goal that is the mean of the references; else the feature of an image drawn among the wrong ones.
    """

    needs_neighbours: ClassVar[bool] = True

    @property
    def is_random(self) -> bool:
        return True

    def __call__(self, features: Tensor, references: References) -> Tensor:
        near = neighbours_of(references)
        drawn = near.bank.features[near.drawn(near.negatives)]
        aimed = (near.aims != near.identities)[:, None]
        return F.cosine_similarity(features, torch.where(aimed, references.mean, drawn))


@dataclass(frozen=True, kw_only=True)
class LocalGray(Self):
    """LTA: away from the feature of the clean image with a random rectangle turned gray, drawn anew in every step.

    ||f - f(gray)||^2 of unit features. Areas are 2 to 40 percent of the image and heights 0.3 to 3.3 times widths, as
    in the public code; a rectangle that is too wide or tall for the image is cut off there, not drawn again.
    """

    vanishes: ClassVar[bool] = False
    moves: ClassVar[bool] = True

    #: Shares of the image's area.
    smallest: float = 0.02
    largest: float = 0.4
    #: The least height over width; the most is its inverse.
    aspect: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.smallest <= self.largest <= 1:
            raise ValueError(
                f"smallest, largest: expected 0 < smallest <= largest <= 1, got {self.smallest}, {self.largest}"
            )
        if not 0 < self.aspect <= 1:
            raise ValueError(f"aspect: expected more than 0 and at most 1, got {self.aspect}")

    @property
    def is_random(self) -> bool:
        return True

    def __call__(self, features: Tensor, references: References) -> Tensor:
        return (F.normalize(features) - F.normalize(clean_of(references))).square().sum(1)

    def view(self, clean: Tensor, uniform: Callable[[Sequence[int]], Tensor]) -> Tensor:
        height, width = clean.shape[-2:]
        lots = uniform((4,)).double()
        area = (self.smallest + (self.largest - self.smallest) * lots[:, 0]) * height * width
        ratio = self.aspect + (1 / self.aspect - self.aspect) * lots[:, 1]
        tall = (area * ratio).sqrt().round().clamp(1, height)
        wide = (area / ratio).sqrt().round().clamp(1, width)
        top = (lots[:, 2] * (height - tall + 1)).floor()
        left = (lots[:, 3] * (width - wide + 1)).floor()
        rows = torch.arange(height, device=clean.device)[None, :, None]
        columns = torch.arange(width, device=clean.device)[None, None, :]
        top, left, tall, wide = (value[:, None, None] for value in (top, left, tall, wide))
        inside = (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)
        weights = clean.new_tensor([0.299, 0.587, 0.114])[:, None, None]
        gray = (clean * weights).sum(1, keepdim=True)
        return torch.where(inside[:, None], gray, clean)
