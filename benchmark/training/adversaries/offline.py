"""Offline adversarial training: changed copies of the training images, made once against a model that stays."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....attacks.counts import from_counts, quantise
from ....attacks.objectives import objective_for
from ....attacks.references import References
from ....models.base import MODALITIES
from ....models.pixels import PixelEmbedder
from ....models.training.augment import Augment, augment
from ....models.training.plan import Batch, Hardened, TrainingSet
from ...progress import Reporter, staged
from ...store.files import file_system_errors
from .ball import Ball, Embed

#: Images that are changed at a time.
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class OfflinePerturb:
    """A `Perturb` that looks up what was made before, and changes it as the clean image was changed."""

    #: (N, 3, H, W) uint8, in the order of the training set.
    stored: NDArray[np.uint8] = field(repr=False)
    augment: Augment
    seed: int

    def __call__(self, embed: Embed, batch: Batch, step: int) -> Hardened:
        """No pass at all."""
        del embed
        pixels = augment(self.stored[batch.places], self.augment, seed=self.seed, step=step)
        images = torch.from_numpy(pixels).to(batch.images.device).float() / 255
        layout = torch.contiguous_format if batch.images.is_contiguous() else torch.channels_last
        sources = torch.arange(len(images), device=images.device)
        return Hardened(images=images.contiguous(memory_format=layout), sources=sources)


def make_offline(
    model: PixelEmbedder,
    data: TrainingSet,
    ball: Ball,
    objective: str,
    path: Path,
    *,
    device: torch.device,
    reporter: Reporter,
) -> NDArray[np.uint8]:
    """Changed copies (N, 3, H, W) uint8 of all training images, kept in `path`; what lies there already is taken.

    References of an image are the clean features, under the same model, of all other training images of its identity.

    Args:
        model: what the images are made against.
        data: the training images.
        ball: how far they may go, and how they are changed.
        objective: a name of `attacks.objectives` that looks at references alone.
        path: a .npy file; its name says what it was made of.
        device: where the model is.
        reporter: told about progress.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        size = data.batch(np.arange(1)).shape[1:]
        with file_system_errors(path):
            found = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(data), *size))
            if hasattr(os, "posix_fallocate"):  # a full disk is said now: written pages would end the process
                with part.open("rb+") as file:
                    os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        with staged(reporter, "clean features of the training images", len(data)) as stage:
            features = []
            for stream, places in _chunks(model, data):
                features.append(ball.clean(stream, _images(data, places, device)))
                stage.advance(len(places))
        order = np.argsort(np.concatenate([places for _, places in _chunks(model, data)]))
        count, mean, clean = _references(torch.cat(features)[torch.from_numpy(order).to(device)], data.identities)
        climbed = objective_for(objective, "untargeted")
        with staged(reporter, "attacking the training images", len(data)) as stage:
            for index, (stream, places) in enumerate(_chunks(model, data)):
                references = References(count=count[places], mean=mean[places], clean=clean[places])
                images = _images(data, places, device)
                changed = ball.climb(stream, lambda f, r=references: climbed(f, r), images, index)  # type: ignore[misc]
                found[places] = (quantise(changed, images) * 255).round().to(torch.uint8).cpu().numpy()
                stage.advance(len(places))
        with file_system_errors(path):
            found.flush()
            part.replace(path)
    stored: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return stored


def _chunks(model: PixelEmbedder, data: TrainingSet) -> list[tuple[PixelEmbedder, NDArray[np.int64]]]:
    """All images by batches, each of one modality where the model has a stream for each, and what it passes."""
    modalities = data.modalities if model.has_streams else np.zeros(len(data), dtype=np.int64)
    return [
        (model.of(MODALITIES[kind]), places[start : start + _BATCH])
        for kind, places in ((kind, np.flatnonzero(modalities == kind)) for kind in np.unique(modalities).tolist())
        for start in range(0, len(places), _BATCH)
    ]


def _images(data: TrainingSet, places: NDArray[np.int64], device: torch.device) -> Tensor:
    return from_counts(torch.from_numpy(data.batch(places)).to(device).float())


def _references(features: Tensor, identities: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
    """Count (N,) and mean (N, D) of the other images of each identity, and the features (N, D) themselves."""
    _, classes = np.unique(identities, return_inverse=True)
    people = torch.from_numpy(classes.astype(np.int64)).to(features.device)
    exact = features.cpu().double()
    total = exact.new_zeros(int(people.max()) + 1, exact.shape[1]).index_add_(0, people.cpu(), exact)
    count = torch.bincount(people.cpu())[people.cpu()] - 1
    mean = (total[people.cpu()] - exact) / count.clamp_min(1)[:, None]
    return count.to(features), mean.to(features), features
