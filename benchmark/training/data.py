"""Training sets: the images that a data set has for that, their digest, and their pixels by batch."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ... import UserError
from ...attacks.neighbours import NOBODY
from ..datasets.catalogue import refuse_contradictions
from ..datasets.decoded import DecodedImages, decode
from ..datasets.held_out import held_out
from ..datasets.manifest import read_manifest
from ..datasets.market import TRAINING_FOLDER
from ..datasets.opening import DatasetRequest
from ..datasets.retrieval import Images, RetrievalSet
from ..datasets.synthetic.crowd import read_training_synthetic
from ..datasets.training import read_training
from ..datasets.training import training_root as own_folder
from ..evaluation import PROTOCOLS
from ..progress import Reporter, staged


@dataclass(frozen=True, kw_only=True, eq=False)
class FolderTrainingSet:
    """A `TrainingSet` of images on disk, decoded once and kept in the cache."""

    label: str
    #: (N,) int64.
    identities: NDArray[np.int64]
    #: (N,) int64.
    cameras: NDArray[np.int64]
    #: (N,) int64, places in `MODALITIES`.
    modalities: NDArray[np.int64]
    #: Digest of the sorted file names and their sha256, and of who is on them where their names do not say it.
    sha256: str
    #: (height, width) of every batch.
    size: tuple[int, int]
    _decoded: DecodedImages = field(repr=False)
    #: (N,) where each image lies in `_decoded`.
    _places: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.identities)

    @property
    def description(self) -> str:
        """What a card says of it."""
        n_people, n_cameras = len(np.unique(self.identities)), len(np.unique(self.cameras))
        infrared = int(np.count_nonzero(self.modalities))
        share = f", {infrared} of them infrared," if infrared else ""
        return f"{self.label}: {len(self)} images{share} of {n_people} identities from {n_cameras} cameras"

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images (B, 3, H, W) uint8; those of another size are resized (bilinear) and rounded."""
        places = self._places[indices].tolist()
        if (self._decoded.sizes[places] == self.size).all():
            return self._decoded.stack(places)
        return np.concatenate([_resized(self._decoded.stack([place]), self.size) for place in places])


def open_training_set(
    request: DatasetRequest,
    *,
    reporter: Reporter,
    input_size: tuple[int, int] | None = None,
    workers: int | None = None,
    n_held_out: int = 0,
    held_out_seed: int = 0,
) -> FolderTrainingSet:
    """The training images behind a request, every one of them read and decoded.

    Args:
        request: from a recipe.
        reporter: told while images are read and decoded.
        input_size: (height, width) that images are resized to where they have several sizes.
        workers: threads that read and decode.
        n_held_out: identities that are kept out (see `datasets.held_out`).
        held_out_seed: which.

    Raises:
        UserError: there is no such folder, or nobody in it to learn from.
        InvalidFileError: an image that does not decode, or a name or list that says nothing.
    """
    root, images = training_images(request, reporter)
    # Of the folder that they are in, so that the cache keeps it apart from the set's query and gallery.
    folder = os.path.commonpath([os.path.dirname(path) for path in images.paths])  # noqa: PTH120 (many of them)
    names = tuple(path.removeprefix(f"{folder}/") for path in images.paths)
    none = np.empty(0, dtype=np.int64)
    found = RetrievalSet(
        label=request.label,
        format="folder",
        root=root / folder,
        query=replace(images, paths=names),
        gallery=Images(paths=(), identities=none, cameras=none),
        protocol=PROTOCOLS["market"],
    )
    with staged(reporter, f"reading {request.label}", len(names)) as stage:
        manifest = read_manifest(found, workers=workers, advance=stage.advance)
    with staged(reporter, f"decoding {request.label}", len(names)) as stage:
        decoded = decode(found, manifest, workers=workers, advance=stage.advance)
    away = held_out(images, n_held_out, held_out_seed) if n_held_out else np.empty(0, dtype=np.int64)
    places = np.flatnonzero(~np.isin(images.identities, [*NOBODY, *away]))
    if not len(places):
        raise UserError(f"Data set {request.label!r} has nobody to learn from: only identities -1 and 0.")
    shapes = sorted(manifest.shapes)
    return FolderTrainingSet(
        label=request.label,
        identities=images.identities[places],
        cameras=images.cameras[places],
        modalities=images.modalities[places],
        sha256=manifest.sha256 if Path(folder).name == TRAINING_FOLDER else _with_labels(manifest.sha256, found.query),
        size=shapes[0] if len(shapes) == 1 or input_size is None else input_size,
        _decoded=decoded,
        _places=places,
    )


def training_images(request: DatasetRequest, reporter: Reporter) -> tuple[Path, Images]:
    """The labelled images that a request has for training, and the folder that their paths start from.

    Args:
        request: from a recipe.
        reporter: told while a drawn set is drawn.

    Raises:
        UserError: the set has none, or is not there.
        InvalidFileError: a name or list that says nothing.
    """
    layout = request.format or request.label
    refuse_contradictions(request.label, layout, has_root=request.root is not None, options=request.options)
    if request.root is None:
        return read_training_synthetic(request.label, reporter=reporter, **request.options)
    images = read_training(layout, request.root, request.options)
    # Paths of a table start where it lies, those of any other set at the root that was given.
    return own_folder(layout, request.root) if layout == "table" else request.root, images


def training_root(request: DatasetRequest, reporter: Reporter) -> Path:
    """The folder that holds the training images of a request; a drawn set is drawn."""
    if request.root is None:
        return training_images(request, reporter)[0]
    return own_folder(request.format or request.label, request.root)


def _with_labels(sha256: str, images: Images) -> str:
    """Digest of images whose names do not say who is on them."""
    labels = (images.identities, images.cameras, images.modalities)
    words = [sha256, *images.paths, *(repr(values.tolist()) for values in labels)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _resized(images: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    import torch

    from ...models.pixels import resize

    resized = resize(torch.from_numpy(images).float(), size)
    rounded: NDArray[np.uint8] = resized.round().clamp(0, 255).to(torch.uint8).numpy()
    return rounded
