"""Clean features: computed once for a model and a data set, kept in the run directory, and never mixed up."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models.base import Embedder, ModelSpec, seen_as
from ..datasets.retrieval import SideName
from ..evaluation import NonFiniteFeatureError
from ..records import DatasetRef, PerturbAt, digest
from ..store.directory import RunDirectory
from ..versions import ENGINE_VERSION
from .batches import SideImages, make_batches
from .prefetch import ahead


@dataclass(frozen=True, kw_only=True)
class CleanFeatures:
    """Features (N, D) float32 of the clean images of both sides."""

    query: NDArray[np.float32]
    gallery: NDArray[np.float32]

    def side(self, name: SideName) -> NDArray[np.float32]:
        """The features of one side."""
        return self.query if name == "query" else self.gallery


def feature_identity(
    model: ModelSpec, dataset: DatasetRef, perturb_at: PerturbAt, batch_size: int, device: torch.device
) -> dict[str, object]:
    """All that decides the bits of a clean feature: a last bit may depend on batch shape, threads and device."""
    return {
        "engine": ENGINE_VERSION,
        "model": model.identity(),
        "dataset": dataset.sha256,
        "perturb_at": perturb_at,
        "batch_size": batch_size,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def embed(
    embedder: Embedder, images: SideImages, batch_size: int, advance: Callable[[int], None]
) -> NDArray[np.float32]:
    """Features (N, D) of the clean images of a side, each by the model's stream of its modality.

    Raises:
        NonFiniteFeatureError: a NaN or an infinity.
    """
    rows: NDArray[np.float32] | None = None
    count = len(images.places)
    batches = make_batches(images.kinds, np.arange(count), batch_size)
    with torch.no_grad(), closing(ahead(images.load, batches)) as loaded:
        for batch, clean in loaded:
            found = to_rows(seen_as(embedder, batch.modality)(clean), len(batch.indices))
            if rows is None:
                rows = np.empty((count, found.shape[1]), dtype=np.float32)
            rows[batch.indices] = found
            advance(len(batch.indices))
    if rows is None or not np.isfinite(rows).all():
        raise NonFiniteFeatureError("the model gives features that are not finite on clean images")
    return rows


def to_rows(features: Tensor, n_real: int) -> NDArray[np.float32]:
    """The features of a batch's real images as float32 on the CPU."""
    return features[:n_real].detach().float().cpu().numpy()


def load_features(run: RunDirectory, identity: dict[str, object]) -> CleanFeatures | None:
    """What an earlier run kept under exactly this identity; anything else is as good as nothing."""
    from safetensors import SafetensorError, safe_open

    path = run.features / f"{digest(identity)}.safetensors"
    try:
        with safe_open(path, framework="numpy") as file:
            if json.loads((file.metadata() or {}).get("identity", "null")) != json.loads(json.dumps(identity)):
                return None
            return CleanFeatures(query=file.get_tensor("query"), gallery=file.get_tensor("gallery"))
    except (OSError, SafetensorError, ValueError):
        return None


def keep_features(run: RunDirectory, identity: dict[str, object], features: CleanFeatures) -> None:
    """Keep clean features, and in the file whose they are."""
    from safetensors.numpy import save

    content = save({"query": features.query, "gallery": features.gallery}, metadata={"identity": json.dumps(identity)})
    run.write(run.features / f"{digest(identity)}.safetensors", content)
