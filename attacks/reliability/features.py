"""What a model does to features apart from computing them: draws, looks at other images, optimises."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ...models.base import Embedder
from ...models.passing import sampled
from .thresholds import MOVED


def feature_findings(embedder: Embedder, images: Tensor) -> frozenset[str]:
    """The flags among `randomised-features`, `batch-dependent-features` and `optimises-at-inference` that hold.

    Args:
        embedder: looked at as it is.
        images: (B, 3, H, W) in [0, 1]; the first half is compared beside the second half and beside black images.
            With one image there is no other to depend on.
    """
    found = set()
    once = _features(embedder, images)
    with sampled(1):  # a defence that draws by the content of its images draws anew
        again = _features(embedder, images)
    if moved(once, again):
        found.add("randomised-features")
    if _depends_on_batch(embedder, images):
        found.add("batch-dependent-features")
    if optimises(embedder, images):
        found.add("optimises-at-inference")
    return frozenset(found)


def moved(one: Tensor, other: Tensor) -> bool:
    """Whether a feature (B, D) differs by more than `MOVED` of its largest entry; NaN is no finding."""
    largest = torch.maximum(one.abs(), other.abs()).amax(1)
    return bool(((one - other).abs().amax(1) > MOVED * largest).any())


def _features(embedder: Embedder, images: Tensor) -> Tensor:
    with torch.no_grad():
        return embedder(images)


def _depends_on_batch(embedder: Embedder, images: Tensor) -> bool:
    """Whether the first half has other features beside black images; under the same random numbers, place by place."""
    half = len(images) // 2
    if half == 0:
        return False
    beside_black = images.clone()
    beside_black[half:] = 0
    found = []
    for batch in (images, images, beside_black):
        with seeded():
            found.append(_features(embedder, batch)[:half])
    again, first, alone = found
    # A model that draws from a generator of its own cannot be held still: there its draws would look like neighbours.
    return not moved(first, again) and moved(first, alone)


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """The global generators of Python, NumPy and torch at a seed, and afterwards as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (a model may draw from it)
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def optimises(embedder: Embedder, images: Tensor) -> bool:
    """Whether a forward under `no_grad` runs a backward pass of its own.

    A backward pass reads what its forward saved, whoever started it and however. `torch.func`'s transforms refuse to
    run while that is watched, which is as good as seeing them. A search that uses no gradient is not seen.
    """
    read = []

    def note(saved: Tensor) -> Tensor:
        read.append(True)
        return saved

    try:
        with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, note):
            embedder(images)
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):
            raise
        return True
    return bool(read)
