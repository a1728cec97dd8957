"""Batches of one fixed shape: images of one size, padded with black ones, always the same for the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...attacks.counts import from_counts
from ...models.base import MODALITIES, Embedder, Modality
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
    #: What all of them were taken by.
    modality: Modality = "visible"

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


def make_batches(kinds: NDArray[np.int64], indices: NDArray[np.int64], batch_size: int) -> list[Batch]:
    """The batches of the images `indices` of a side whose images are of `kinds` (N, 3): height, width, modality.

    All images of one kind share batches, in their order; kinds come in the order of their first image. A batch holds
    those of its images that are wanted, each at its place; one that holds none is left out.
    """
    wanted = np.zeros(len(kinds), dtype=bool)
    wanted[indices] = True
    by_kind: dict[tuple[int, ...], list[int]] = {}
    for index, kind in enumerate(kinds.tolist()):
        by_kind.setdefault(tuple(kind), []).append(index)
    batches = []
    for (_, _, modality), same in by_kind.items():
        for start in range(0, len(same), batch_size):
            chunk = np.array(same[start : start + batch_size], dtype=np.int64)
            places = np.flatnonzero(wanted[chunk])
            if len(places):
                batches.append(
                    Batch(indices=chunk[places], places=places, size=batch_size, modality=MODALITIES[modality])
                )
    return batches


@dataclass(frozen=True, kw_only=True)
class SideImages:
    """The decoded images of one side, as tensors of the size at which they are perturbed."""

    decoded: DecodedImages
    #: (N,) where each image of this side lies in `decoded`.
    places: NDArray[np.int64]
    #: (N,) places in `MODALITIES`.
    modalities: NDArray[np.int64]
    perturb_at: PerturbAt
    input_size: tuple[int, int] | None
    device: torch.device

    @property
    def kinds(self) -> NDArray[np.int64]:
        """(N, 3) height, width and modality: images that differ in one of them never share a batch."""
        return np.column_stack([self.decoded.sizes[self.places], self.modalities])

    def load(self, batch: Batch) -> Tensor:
        """(size, 3, H, W) float32 in [0, 1] on the 8-bit grid; padding is black."""
        stacked = self.decoded.stack(self.places[batch.indices])
        counts = torch.from_numpy(batch.pad(stacked))
        if self.device.type == "cuda":
            counts = counts.pin_memory()
        images = counts.to(self.device, non_blocking=True).float()
        if self.perturb_at == "input":
            # Perturbed at the model's own size: the resized clean image is an 8-bit image first.
            images = resize(images, self.input_size).round().clamp(0, 255)
        return from_counts(images)
