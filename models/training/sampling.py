"""P x K batches: P identities with K images each, as Hermans, Beyer, Leibe 2017 (arXiv 1703.07737) sample them.

Of a set of two modalities half of the K images of an identity are visible and half infrared, as the public code of AGW
(Ye et al., TPAMI 2021) samples them.
"""

from __future__ import annotations

from functools import reduce

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
    modalities: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """The image indices of an epoch, (rounds * steps, P * K): a pure function of its arguments.

    Identities come in shuffled order, each at most once a round. Those of the last, incomplete batch sit this round
    out, so that every batch has one shape; the next round shuffles anew. The K images of an identity are distinct and
    go round its cameras before one comes a second time; where it has fewer than K, all of them are taken and then
    some again. Of two modalities K / 2 visible images, chosen so, stand before K / 2 infrared ones, and identities that
    lack one of the two never come.

    Args:
        identities: (N,) of all training images.
        cameras: (N,) likewise.
        n_identities: P.
        n_images: K.
        seed: the training's.
        epoch: from 0.
        rounds: how often an epoch goes over the identities.
        modalities: (N,) of the images; None where all have one.

    Raises:
        UserError: fewer identities than P, or an odd K where there are two modalities.
    """
    steps = n_steps(identities, n_identities, modalities)
    kinds = _kinds(identities, modalities)
    refuse_odd(n_images, modalities)
    turns = range(epoch * rounds, (epoch + 1) * rounds)
    return np.concatenate(
        [_round(identities, cameras, kinds, steps, n_identities, n_images, seed, turn) for turn in turns]
    )


def _round(
    identities: NDArray[np.int64],
    cameras: NDArray[np.int64],
    kinds: list[NDArray[np.int64]],
    steps: int,
    n_identities: int,
    n_images: int,
    seed: int,
    turn: int,
) -> NDArray[np.int64]:
    random = stream(seed, "batches", turn)
    chosen = random.permutation(_people(identities, kinds))[: steps * n_identities]
    ordered = [places[np.argsort(identities[places], kind="stable")] for places in kinds]
    starts, ends = (
        [np.searchsorted(identities[places], chosen, side=side) for places in ordered] for side in ("left", "right")
    )
    rows = [
        _images(places[start[who] : end[who]], cameras, n_images // len(kinds), random)
        for who in range(len(chosen))
        for places, start, end in zip(ordered, starts, ends, strict=True)
    ]
    return np.concatenate(rows).reshape(steps, n_identities * n_images)


def n_steps(identities: NDArray[np.int64], n_identities: int, modalities: NDArray[np.int64] | None = None) -> int:
    """How many batches a round has; of two modalities, of identities that have both. UserError where it has none."""
    kinds = _kinds(identities, modalities)
    found = len(_people(identities, kinds))
    if found < n_identities:
        what = " with images of both modalities" if len(kinds) > 1 else ""
        raise UserError(
            f"The training set has {found} identities{what}, too few for batches of {n_identities}; lower the number "
            f"of identities in a batch."
        )
    return found // n_identities


def refuse_odd(n_images: int, modalities: NDArray[np.int64] | None) -> None:
    """UserError where K images of an identity are not as many of each modality."""
    n_kinds = 1 if modalities is None else len(np.unique(modalities))
    if n_images % n_kinds:
        raise UserError(
            f"The training set has {n_kinds} modalities, and batches take as many images of each, so {n_images} images "
            f"of an identity cannot be had; make their number even."
        )


def _kinds(identities: NDArray[np.int64], modalities: NDArray[np.int64] | None) -> list[NDArray[np.int64]]:
    """Where the images of each modality are."""
    if modalities is None:
        return [np.arange(len(identities))]
    return [np.flatnonzero(modalities == kind) for kind in np.unique(modalities)]


def _people(identities: NDArray[np.int64], kinds: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The identities that have images of every modality."""
    return reduce(np.intersect1d, [np.unique(identities[places]) for places in kinds])


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
