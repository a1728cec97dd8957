"""What an attack pushes from or pulls to, and who may be attacked."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .neighbours import NOBODY, Neighbours
from .threat import Goal, Side

ReferencePolicy = Literal["other-side", "other-side-cross-camera", "single", "self", "train"]
REFERENCE_POLICIES: tuple[ReferencePolicy, ...] = get_args(ReferencePolicy)

#: Policies under which every image of a person is attacked, whoever is on the other side.
_OWN: tuple[ReferencePolicy, ...] = ("self", "train")

#: Identities that no adversary changes: junk and distractors, as in the paper's code.
NOT_ATTACKED = NOBODY


@dataclass(frozen=True, kw_only=True)
class References:
    """The references of a batch.

    Squared distances to fixed references need only their count and mean:
    sum over r of ||f - r||^2 = n ||f - mean||^2 + const; the mean of unit vectors is not normalised again.
    """

    #: (B,), how many references each image has; 0 for padding.
    count: Tensor
    #: (B, D), their mean feature.
    mean: Tensor
    #: (B, D), the clean feature of the attacked image itself; for objectives that look at it.
    clean: Tensor | None = None
    #: Who stands around the image; for objectives that look at the ranking.
    neighbours: Neighbours | None = None

    def __post_init__(self) -> None:
        if self.mean.ndim != 2 or self.count.shape != self.mean.shape[:1]:
            raise ValueError(f"expected (B,) counts and (B, D) means, got {self.count.shape} and {self.mean.shape}")


@dataclass(frozen=True, kw_only=True)
class Person:
    """The labelled images of one side: `identities` and `cameras` (N,), `image_ids` their paths."""

    identities: NDArray[np.int64]
    cameras: NDArray[np.int64]
    image_ids: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Who is attacked, and by which references; (N,) over the images of the attacked side."""

    #: Reference indices of each image on the reference side; empty where the image stays clean.
    members: tuple[NDArray[np.int64], ...]
    #: Whether the references are the image's own clean feature.
    own: bool
    #: The identity each image is pulled to; its own where untargeted or not attacked.
    target_identities: NDArray[np.int64]

    @property
    def attacked(self) -> NDArray[np.int64]:
        """Indices of the images that have references, in order."""
        return np.array([i for i, members in enumerate(self.members) if len(members)], dtype=np.int64)

    def bank(self, features: NDArray[np.floating], own_features: NDArray[np.floating]) -> tuple[NDArray, NDArray]:  # type: ignore[type-arg]
        """Counts (N,) and mean features (N, D) in float64; `features` are the reference side's, clean."""
        source = own_features if self.own else features
        means = np.zeros((len(self.members), source.shape[1]), dtype=np.float64)
        known: dict[bytes, NDArray[np.float64]] = {}
        for i, members in enumerate(self.members):
            if len(members):
                key = members.tobytes()
                if key not in known:
                    known[key] = source[members].astype(np.float64).mean(0)
                means[i] = known[key]
        return np.array([len(members) for members in self.members]), means


def data_needed(policy: ReferencePolicy, side: Side, *, uses_references: bool, uses_peers: bool = False) -> str:
    """What the adversary must own beside the model: `train`, `self`, `labelled query`, `labelled gallery` or both."""
    if policy == "train":
        return "train"
    if policy == "self" or not uses_references:
        return "self"
    if uses_peers:
        return "labelled query and gallery"
    return {"gallery": "labelled query", "query": "labelled gallery", "both": "labelled query and gallery"}[side]


def targets(reference_identities: NDArray[np.int64], seed: int) -> Mapping[int, int]:
    """Who is pulled to whom: a cyclic shift by one of the seeded order of the identities on the reference side.

    The order is that of a keyed hash, so it is the same everywhere. Nobody is their own target; with fewer than two
    identities there are no targets.
    """
    identities = sorted(set(reference_identities.tolist()) - set(NOT_ATTACKED))
    if len(identities) < 2:
        return {}
    order = sorted(identities, key=lambda identity: hashlib.blake2b(f"{seed}\n{identity}".encode()).digest())
    return dict(zip(order, order[1:] + order[:1], strict=True))


def select(
    policy: ReferencePolicy, *, attacked: Person, reference: Person, goal: Goal = "untargeted", seed: int = 0
) -> Selection:
    """The references of every image of the attacked side under a policy.

    `other-side` takes all images of the identity on the other side, same camera included (the paper's choice);
    `other-side-cross-camera` only those of other cameras; `single` one of `other-side`, seeded per image; `self` the
    image's own clean feature; `train` is for what was fitted on other images, and attacks whom `self` attacks. A
    targeted goal takes the target identity in place of the own one.
    """
    by_identity: dict[int, list[int]] = defaultdict(list)
    for index, identity in enumerate(reference.identities.tolist()):
        by_identity[identity].append(index)
    shift = targets(reference.identities, seed) if goal == "targeted" else None
    none = np.empty(0, dtype=np.int64)
    members: list[NDArray[np.int64]] = []
    aims = attacked.identities.copy()
    for index, identity in enumerate(attacked.identities.tolist()):
        if identity in NOT_ATTACKED:
            members.append(none)
            continue
        if policy in _OWN:
            members.append(np.array([index], dtype=np.int64))
            continue
        aim = identity if shift is None else shift.get(identity)
        found = np.array(by_identity.get(aim, ()) if aim is not None else (), dtype=np.int64)
        if policy == "other-side-cross-camera":
            found = found[reference.cameras[found] != attacked.cameras[index]]
        elif policy == "single" and len(found):
            digest = hashlib.blake2b(f"{seed}\n{attacked.image_ids[index]}".encode(), digest_size=8).digest()
            found = found[[int.from_bytes(digest, "little") % len(found)]]
        if aim is not None and len(found):
            aims[index] = aim
        members.append(found)
    return Selection(members=tuple(members), own=policy in _OWN, target_identities=aims)


def to_references(
    counts: NDArray[np.int64],
    means: NDArray[np.float64],
    like: Tensor,
    clean: NDArray[np.float64] | NDArray[np.float32] | None = None,
) -> References:
    """`References` of a batch in the type and place of `like`; `clean` (B, D) are the images' own clean features."""

    def placed(values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values).to(dtype=like.dtype, device=like.device)

    return References(count=placed(counts), mean=placed(means), clean=None if clean is None else placed(clean))
