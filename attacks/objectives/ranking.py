"""Objectives that look at the ranking: who stands first, who is to fall, and a smooth average precision.

Equations: Zhou et al. 2020 (ECCV, candidate and query attacks) and their later public profile for raise, lower, evict,
nearest-wrong and misrank, whose form is that of Wang et al. 2020 (CVPR, learning to mis-rank); Ding et al. 2021
(TIFS) for the histogram average precision. Distances are squared, as ranking compares them; for unit features that is
twice 1 - cos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..neighbours import LOTS, Neighbours, square_distances
from ..references import References
from ..threat import Goal, Side
from .base import Objective, neighbours_of

_UNTARGETED: tuple[Goal, ...] = ("untargeted",)
_TARGETED: tuple[Goal, ...] = ("targeted",)
_QUERY: tuple[Side, ...] = ("query",)
_GALLERY: tuple[Side, ...] = ("gallery",)


@dataclass(frozen=True, kw_only=True)
class _Ranked(Objective):
    needs_neighbours: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Misrank(_Ranked):
    """LTM: the nearest right image away, the furthest wrong one near; both looked up anew in every step."""

    goals: ClassVar[tuple[Goal, ...]] = _UNTARGETED

    def __call__(self, features: Tensor, references: References) -> Tensor:
        near = neighbours_of(references)
        distances = square_distances(features, near.bank)
        right = torch.where(near.positives, distances, torch.inf).amin(1)
        wrong = torch.where(near.negatives, distances, -torch.inf).amax(1)
        return _known(right) - _known(wrong)


@dataclass(frozen=True, kw_only=True)
class NearestWrong(_Ranked):
    """GTM: toward the wrong image that is nearest to the clean one, -||f - n||^2."""

    goals: ClassVar[tuple[Goal, ...]] = _UNTARGETED

    def __call__(self, features: Tensor, references: References) -> Tensor:
        near = neighbours_of(references)
        nearest = near.bank.features[near.nearest(near.negatives, 1)[:, 0]]
        return -(features - nearest).square().sum(1)


@dataclass(frozen=True, kw_only=True)
class _Candidates(_Ranked):
    """Some of the other side are chosen once; each is compared with all that compete with it, by hinges."""

    #: How many are chosen, M or W in the paper.
    candidates: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.candidates <= LOTS:
            raise ValueError(f"candidates: expected 1 to {LOTS}, got {self.candidates}")


@dataclass(frozen=True, kw_only=True)
class _Fall(_Candidates):
    """The chosen ones are drawn from the head of the ranking: those near the clean image."""

    goals: ClassVar[tuple[Goal, ...]] = _UNTARGETED

    #: The share of the ranking that they are drawn from; 0 takes the first ones.
    pool: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.pool <= 1:
            raise ValueError(f"pool: expected a share from 0 to 1, got {self.pool}")

    @property
    def is_random(self) -> bool:
        return self.pool > 0

    def _chosen(self, near: Neighbours) -> Tensor:
        return near.nearest(near.valid, self.candidates, self.pool)


@dataclass(frozen=True, kw_only=True)
class Evict(_Fall):
    """QA-, and GTT with the first candidate: candidates c of a query fall, -mean over c, x of [d(f, x) - d(f, c)]_+."""

    sides: ClassVar[tuple[Side, ...]] = _QUERY

    def __call__(self, features: Tensor, references: References) -> Tensor:
        near = neighbours_of(references)
        distances = square_distances(features, near.bank)
        candidates = distances.gather(1, self._chosen(near))
        return -_mean_hinge(distances[:, None] - candidates[:, :, None], near.valid[:, None])


@dataclass(frozen=True, kw_only=True)
class Lower(_Fall):
    """CA-: an image of the gallery falls for chosen queries q, -mean over q, x of [d(q, x) - d(q, f)]_+."""

    sides: ClassVar[tuple[Side, ...]] = _GALLERY
    peers_on: ClassVar[tuple[Side, ...]] = _GALLERY

    def __call__(self, features: Tensor, references: References) -> Tensor:
        near = neighbours_of(references)
        chosen = self._chosen(near)
        own = square_distances(features, near.bank).gather(1, chosen)
        return -_mean_hinge(near.competitors(chosen) - own[:, :, None], near.competing)


@dataclass(frozen=True, kw_only=True)
class Raise(_Candidates):
    """QA+ and CA+: the attacked image and its target are to stand first for one another.

    Query: images c of the target rise, -mean over c, x of [d(f, c) - d(f, x)]_+. Gallery: the image rises for queries
    q of the target, -mean over q, x of [d(q, f) - d(q, x)]_+.
    """

    goals: ClassVar[tuple[Goal, ...]] = _TARGETED
    peers_on: ClassVar[tuple[Side, ...]] = _GALLERY

    def __call__(self, features: Tensor, references: References) -> Tensor:
        near = neighbours_of(references)
        distances = square_distances(features, near.bank)
        chosen = near.nearest(near.positives, self.candidates)
        wanted = distances.gather(1, chosen)[:, :, None]
        if near.side == "query":
            return -_mean_hinge(wanted - distances[:, None], near.valid[:, None])
        return -_mean_hinge(wanted - near.competitors(chosen), near.competing)


@dataclass(frozen=True, kw_only=True)
class SoftAP(_Ranked):
    """Minus a smooth average precision: right and wrong images counted in bins of distance with triangular edges.

    Bins lie evenly in [0, 2] (distances of unit features; for others, up to twice the largest clean distance). With
    R_m and A_m the right ones and all up to bin m: AP = sum over m of (R_m - R_(m-1)) / n * R_m / A_m.
    """

    goals: ClassVar[tuple[Goal, ...]] = _UNTARGETED

    #: Few and wide: between narrow ones nothing is counted anew by a small step, and the gradient is zero.
    bins: int = 5

    def __post_init__(self) -> None:
        if not 2 <= self.bins <= 1000:
            raise ValueError(f"bins: expected 2 to 1000, got {self.bins}")

    def __call__(self, features: Tensor, references: References) -> Tensor:
        near = neighbours_of(references)
        distances = (square_distances(features, near.bank) + 1e-12).sqrt()
        width = near.largest_distance[:, None] / (self.bins - 1)
        n_right = n_all = total = torch.zeros_like(features[:, 0])
        for place in range(self.bins):
            share = (1 - (distances / width - place).abs()).clamp_min(0)
            if place == self.bins - 1:
                share = torch.where(distances / width >= place, 1.0, share)
            right = (share * near.positives).sum(1)
            n_right, n_all = n_right + right, n_all + (share * near.valid).sum(1)
            total = total + right * n_right / n_all.clamp_min(1e-12)
        return -total / near.positives.sum(1).clamp_min(1)


def _mean_hinge(gaps: Tensor, among: Tensor) -> Tensor:
    """(B,): the mean positive part of gaps (B, M, N) over M and over those `among` (B or 1, M or 1, N) bool."""
    among = among.expand_as(gaps)
    return (gaps.clamp_min(0) * among).sum((1, 2)) / among.sum((1, 2)).clamp_min(1)


def _known(values: Tensor) -> Tensor:
    """Zero where there was nothing to look up."""
    return torch.where(values.isfinite(), values, torch.zeros_like(values))
