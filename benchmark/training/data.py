"""Training sets: the folder `bounding_box_train` of Market-1501's layout, its digest, and its pixels by batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ... import UserError
from ...attacks.neighbours import NOBODY
from ..datasets.catalogue import refuse_contradictions
from ..datasets.decoded import DecodedImages, decode
from ..datasets.held_out import held_out
from ..datasets.manifest import read_manifest
from ..datasets.market import TRAINING_FOLDER, read_training_images
from ..datasets.opening import DatasetRequest
from ..datasets.retrieval import Images, RetrievalSet
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
    #: Digest of the sorted file names and their sha256.
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
        return f"{self.label}: {len(self)} images of {n_people} identities from {n_cameras} cameras"

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
        InvalidFileError: an image that does not decode, or whose name says nothing.
    """
    root = training_root(request, reporter)
    if not (root / TRAINING_FOLDER).is_dir():
        raise UserError(
            f"Data set {request.label!r} has no training images: there is no folder {str(root / TRAINING_FOLDER)!r}; "
            f"give the `root` of a set in Market-1501's layout that has one."
        )
    images = read_training_images(root)
    # Of its own folder, so that the cache keeps it apart from the set's query and gallery.
    names = tuple(path.removeprefix(f"{TRAINING_FOLDER}/") for path in images.paths)
    none = np.empty(0, dtype=np.int64)
    found = RetrievalSet(
        label=request.label,
        format="folder",
        root=root / TRAINING_FOLDER,
        query=Images(paths=names, identities=images.identities, cameras=images.cameras),
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
        sha256=manifest.sha256,
        size=shapes[0] if len(shapes) == 1 or input_size is None else input_size,
        _decoded=decoded,
        _places=places,
    )


def training_root(request: DatasetRequest, reporter: Reporter) -> Path:
    """The folder that holds `bounding_box_train`; a drawn set is drawn."""
    layout = request.format or request.label
    refuse_contradictions(request.label, layout, has_root=request.root is not None, options=request.options)
    if request.root is not None:
        return request.root
    from ..datasets.synthetic.crowd import training_folder

    return training_folder(request.label, reporter=reporter, **request.options)


def _resized(images: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    import torch

    from ...models.pixels import resize

    resized = resize(torch.from_numpy(images).float(), size)
    rounded: NDArray[np.uint8] = resized.round().clamp(0, 255).to(torch.uint8).numpy()
    return rounded
