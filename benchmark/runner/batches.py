"""Batches of one fixed shape: images of one size, padded with black ones, always the same for the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...attacks.counts import from_counts
from ...models.base import Embedder
from ...models.pixels import resize
from ..datasets.decoded import DecodedImages
from ..records import PerturbAt


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Which images of a side go through the model together."""

    #: Their places on the side, in order.
    indices: NDArray[np.int64]
    #: Their places in the model's batch: the same for an image whoever else is attacked, since in a matrix product the
    #: last bits of a row may depend on its place.
    places: NDArray[np.int64]
    #: How many images the model is fed, padding included.
    size: int

    def pad(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """`values` (n, ...) of the real images, followed by zeros for the padding."""
        padding = [(0, self.size - len(values))] + [(0, 0)] * (values.ndim - 1)
        return np.pad(values, padding)

    def placed(self, embedder: Embedder) -> Embedder:
        """The model behind images that come real ones first and padding after: each is put where it belongs."""
        if np.array_equal(self.places, np.arange(len(self.places))):
            return embedder
        free = np.setdiff1d(np.arange(self.size), self.places)
        where = torch.from_numpy(np.concatenate([self.places, free]))
        return _Placed(embedder=embedder, where=where, order=torch.argsort(where))


@dataclass(frozen=True, kw_only=True)
class _Placed:
    embedder: Embedder
    #: (B,) where in the model's batch each image goes, and the inverse of that.
    where: Tensor
    order: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        return self.embedder(images[self.order])[self.where]


def make_batches(sizes: NDArray[np.int64], indices: NDArray[np.int64], batch_size: int) -> list[Batch]:
    """The batches of the images `indices` of a side whose images have `sizes` (N, 2).

    All images of one size share batches, in their order; sizes come in the order of their first image. A batch holds
    those of its images that are wanted, each at its place; one that holds none is left out.
    """
    wanted = np.zeros(len(sizes), dtype=bool)
    wanted[indices] = True
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, size in enumerate(sizes.tolist()):
        by_size.setdefault(tuple(size), []).append(index)
    batches = []
    for same in by_size.values():
        for start in range(0, len(same), batch_size):
            chunk = np.array(same[start : start + batch_size], dtype=np.int64)
            places = np.flatnonzero(wanted[chunk])
            if len(places):
                batches.append(Batch(indices=chunk[places], places=places, size=batch_size))
    return batches


@dataclass(frozen=True, kw_only=True)
class SideImages:
    """The decoded images of one side, as tensors of the size at which they are perturbed."""

    decoded: DecodedImages
    #: Where this side starts in `decoded`.
    first: int
    perturb_at: PerturbAt
    input_size: tuple[int, int] | None
    device: torch.device

    def sizes(self, count: int) -> NDArray[np.int64]:
        """(N, 2) heights and widths at which the images are stacked."""
        return self.decoded.sizes[self.first : self.first + count]

    def load(self, batch: Batch) -> Tensor:
        """(size, 3, H, W) float32 in [0, 1] on the 8-bit grid; padding is black."""
        stacked = self.decoded.stack(_shifted(batch.indices, self.first))
        counts = torch.from_numpy(batch.pad(stacked))
        if self.device.type == "cuda":
            counts = counts.pin_memory()
        images = counts.to(self.device, non_blocking=True).float()
        if self.perturb_at == "input":
            # Perturbed at the model's own size: the resized clean image is an 8-bit image first.
            images = resize(images, self.input_size).round().clamp(0, 255)
        return from_counts(images)


def _shifted(indices: NDArray[np.int64], first: int) -> Sequence[int]:
    return [int(index) + first for index in indices]
