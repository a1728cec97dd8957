"""Who stands around an image in feature space: the other side, and what of it is right, wrong or junk for a batch.

Attacks on the ranking itself need more than the count and mean of an image's references: candidates to raise or to
evict, the nearest wrong identity, the whole gallery for a smooth average precision. All of it is clean and fixed while
an attack runs, and what a batch asks for twice is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

#: Identities that are nobody: junk (-1) and distractors (0); padding carries -1.
JUNK, DISTRACTOR = -1, 0
NOBODY = (JUNK, DISTRACTOR)

#: Random numbers an image has for choices such as that of a candidate.
LOTS = 8


@dataclass(frozen=True, kw_only=True)
class FeatureBank:
    """Clean features of one side."""

    #: (N, D).
    features: Tensor
    #: (N,) int64 each.
    identities: Tensor
    cameras: Tensor

    @cached_property
    def centroids(self) -> tuple[Tensor, Tensor]:
        """The identities (K,) that are somebody, ascending, and the mean features (K, D) of their images."""
        somebody = torch.ones_like(self.identities, dtype=torch.bool)
        for nobody in NOBODY:
            somebody &= self.identities != nobody
        known, place = torch.unique(self.identities[somebody], return_inverse=True)
        # In float64 on the CPU: on a GPU the order of such a sum, and with it last bits, may change from run to run.
        rows = self.features[somebody].cpu().double()
        total = rows.new_zeros(len(known), rows.shape[1]).index_add_(0, place.cpu(), rows)
        means = total / torch.bincount(place.cpu(), minlength=len(known))[:, None]
        return known, means.to(self.features)

    @cached_property
    def square_lengths(self) -> Tensor:
        """(N,)."""
        return self.features.square().sum(1)


def square_distances(features: Tensor, bank: FeatureBank) -> Tensor:
    """(B, N) squared Euclidean distances of features (B, D) to those of a bank, differentiable, never negative."""
    products = features @ bank.features.T
    return (features.square().sum(1, keepdim=True) + bank.square_lengths - 2 * products).clamp_min(0)


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The other side as the images of one batch see it."""

    #: The side that is searched where queries are attacked, that searches where the gallery is.
    bank: FeatureBank
    #: The attacked side itself, clean.
    peers: FeatureBank
    #: Which side is attacked.
    side: Literal["query", "gallery"]
    #: (B,) int64: where each image stands among its peers.
    places: Tensor
    #: (B, D), the clean feature of each image.
    clean: Tensor
    #: (B,) int64: who each image shows, and whom it is to be taken for; the same where nobody is aimed at.
    identities: Tensor
    aims: Tensor
    #: (B,) int64.
    cameras: Tensor
    #: Whether an image of the same identity and camera counts neither as right nor as wrong; never for another's.
    same_camera_is_junk: bool = True
    #: (camera of an image, camera of the other side): these never meet.
    hidden_cameras: frozenset[tuple[int, int]] = frozenset()
    #: (B, LOTS) uniform in [0, 1): the choices of each image.
    lots: Tensor

    @cached_property
    def positives(self) -> Tensor:
        """(B, N) bool: right answers, those of the aimed-at identity."""
        same = (self.bank.identities == self.aims[:, None]) & (self.aims[:, None] != JUNK) & self._meets
        if not self.same_camera_is_junk:
            return same
        own = self.aims == self.identities
        return same & ~(own[:, None] & (self.bank.cameras == self.cameras[:, None]))

    @cached_property
    def negatives(self) -> Tensor:
        """(B, N) bool: wrong answers, distractors among them."""
        someone = (self.bank.identities != JUNK) & self._meets
        return someone & (self.bank.identities != self.aims[:, None]) & (self.aims[:, None] != JUNK)

    @cached_property
    def _meets(self) -> Tensor:
        """(B, N) bool, or one for all: which images are ever compared."""
        found = torch.ones(1, 1, dtype=torch.bool, device=self.cameras.device)
        for own, other in sorted(self.hidden_cameras):
            found = found & ~((self.cameras == own)[:, None] & (self.bank.cameras == other))
        return found

    @cached_property
    def valid(self) -> Tensor:
        """(B, N) bool: whatever stands in the ranking."""
        return self.positives | self.negatives

    @cached_property
    def clean_distances(self) -> Tensor:
        """(B, N) squared, from the clean images."""
        return square_distances(self.clean, self.bank)

    def nearest(self, among: Tensor, count: int, pool: float = 0.0) -> Tensor:
        """Indices (B, count) of images among (B, N) bool: the nearest ones, or drawn from the nearest share `pool`.

        Distances are those of the clean image, ties go by index. Where fewer are there, the last one repeats; where
        none is, the index is that of anybody. Draws are independent, so one image may be drawn twice.
        """
        distances = torch.where(among, self.clean_distances, torch.inf)
        order = torch.argsort(distances, dim=1, stable=True)
        available = among.sum(1, keepdim=True).clamp_min(1)
        if pool:
            # 0.07 times 100 is 7, whatever the last bit says.
            size = (pool * available.double() - 1e-9).ceil().clamp_min(1)
            rank = torch.minimum((self.lots[:, :count].double() * size).floor(), size - 1).long()
        else:
            rank = torch.arange(count, device=order.device).expand(len(order), -1)
        return order.gather(1, torch.minimum(rank, available - 1))

    def drawn(self, among: Tensor) -> Tensor:
        """Indices (B,) of one image each, every one among (B, N) bool being as likely."""
        available = among.sum(1)
        rank = (self.lots[:, 0].to(torch.float64) * available).floor().long().clamp_max((available - 1).clamp_min(0))
        return (among.cumsum(1) > rank[:, None]).int().argmax(1)

    @cached_property
    def largest_distance(self) -> Tensor:
        """(B,): how far images can lie; 2 for unit features, else twice the largest clean distance (unsquared)."""
        if bool(((self.bank.square_lengths - 1).abs() < 1e-3).all()):
            return torch.full_like(self.clean[:, 0], 2)
        return 2 * self.clean_distances.amax(1).sqrt()

    @cached_property
    def competing(self) -> Tensor:
        """(B, 1, G) bool: the other images of the attacked gallery that stand in a ranking."""
        everyone = torch.arange(len(self.peers.identities), device=self.places.device)
        return ((self.peers.identities != JUNK) & (everyone != self.places[:, None]))[:, None]

    def competitors(self, queries: Tensor) -> Tensor:
        """(B, M, G): squared clean distances from chosen queries, indices (B, M), to the attacked gallery."""
        chosen, place = torch.unique(queries, return_inverse=True)
        return square_distances(self.bank.features[chosen], self.peers)[place]

    @cached_property
    def other_centroids(self) -> tuple[Tensor, Tensor]:
        """The squared distances (B, K) of the clean images to each identity's centroid, and (B, K) who is another."""
        known, means = self.bank.centroids
        as_bank = FeatureBank(features=means, identities=known, cameras=torch.zeros_like(known))
        return square_distances(self.clean, as_bank), known != self.aims[:, None]

    @cached_property
    def furthest(self) -> Tensor:
        """(B, D): the centroid of the other identity that is furthest from the clean image; its own where none is."""
        distances, others = self.other_centroids
        if not distances.shape[1]:
            return self.clean
        return self.bank.centroids[1][torch.where(others, distances, -torch.inf).argmax(1)]

    def nearest_others(self, count: int) -> Tensor:
        """(B, count, D): the centroids of the other identities nearest to the clean image; the last may repeat."""
        distances, others = self.other_centroids
        if not distances.shape[1]:
            return self.clean[:, None].expand(-1, count, -1)
        order = torch.argsort(torch.where(others, distances, torch.inf), dim=1, stable=True)
        available = others.sum(1, keepdim=True).clamp_min(1)
        rank = torch.arange(count, device=order.device).expand(len(order), -1)
        return self.bank.centroids[1][order.gather(1, torch.minimum(rank, available - 1))]
