"""P x K batches: P identities with K images each, as Hermans, Beyer, Leibe 2017 (arXiv 1703.07737) sample them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ... import UserError
from .chance import stream


def batches(
    identities: NDArray[np.int64],
    cameras: NDArray[np.int64],
    *,
    n_identities: int,
    n_images: int,
    seed: int,
    epoch: int,
    rounds: int = 1,
) -> NDArray[np.int64]:
    """The image indices of an epoch, (rounds * steps, P * K): a pure function of its arguments.

    Identities come in shuffled order, each at most once a round. Those of the last, incomplete batch sit this round
    out, so that every batch has one shape; the next round shuffles anew. The K images of an identity are distinct and
    go round its cameras before one comes a second time; where it has fewer than K, all of them are taken and then
    some again.

    Args:
        identities: (N,) of all training images.
        cameras: (N,) likewise.
        n_identities: P.
        n_images: K.
        seed: the training's.
        epoch: from 0.
        rounds: how often an epoch goes over the identities.

    Raises:
        UserError: fewer identities than P.
    """
    steps = n_steps(identities, n_identities)
    turns = range(epoch * rounds, (epoch + 1) * rounds)
    return np.concatenate([_round(identities, cameras, steps, n_identities, n_images, seed, turn) for turn in turns])


def _round(
    identities: NDArray[np.int64],
    cameras: NDArray[np.int64],
    steps: int,
    n_identities: int,
    n_images: int,
    seed: int,
    turn: int,
) -> NDArray[np.int64]:
    random = stream(seed, "batches", turn)
    chosen = random.permutation(np.unique(identities))[: steps * n_identities]
    by_identity = np.argsort(identities, kind="stable")
    starts = np.searchsorted(identities[by_identity], chosen, side="left")
    ends = np.searchsorted(identities[by_identity], chosen, side="right")
    rows = [_images(by_identity[start:end], cameras, n_images, random) for start, end in zip(starts, ends, strict=True)]
    return np.concatenate(rows).reshape(steps, n_identities * n_images)


def n_steps(identities: NDArray[np.int64], n_identities: int) -> int:
    """How many batches an epoch has. UserError where it has none."""
    found = len(np.unique(identities))
    if found < n_identities:
        raise UserError(
            f"The training set has {found} identities, too few for batches of {n_identities}; lower the number of "
            f"identities in a batch."
        )
    return found // n_identities


def _images(
    own: NDArray[np.int64], cameras: NDArray[np.int64], n_images: int, random: np.random.Generator
) -> NDArray[np.int64]:
    shuffled = random.permutation(own)
    # How often the image's camera came before it: images that are their camera's first come first.
    there = cameras[shuffled]
    turn = np.array([np.count_nonzero(there[:place] == there[place]) for place in range(len(there))])
    order = shuffled[np.argsort(turn, kind="stable")]
    if len(order) < n_images:
        order = np.concatenate([order, random.choice(order, n_images - len(order))])
    return order[:n_images]
