"""Doubles for the suites of objectives: a small world of features, as arrays for a loop and as our references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from robustreid.attacks.neighbours import LOTS, FeatureBank, Neighbours
from robustreid.attacks.references import References, to_references

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class World:
    """Attacked images, their own side and the other side; rows of arrays, float64.

    Where an image has no `members` it is padding, or its identity has no images on the other side.
    """

    side: Literal["query", "gallery"]
    #: The other side.
    bank: Array
    bank_ids: Whole
    bank_cams: Whole
    #: The attacked side itself.
    peers: Array
    peer_ids: Whole
    #: The attacked images.
    places: Whole
    clean: Array
    ids: Whole
    aims: Whole
    cams: Whole
    lots: Array
    #: The references of each attacked image, indices of the other side.
    members: tuple[list[int], ...]
    same_camera_is_junk: bool = True

    def having(self, **changes: Any) -> World:
        """The same world with changes."""
        return replace(self, **changes)

    def references(self) -> References:
        """The same as our objectives have it."""
        count = np.array([len(members) for members in self.members])
        mean = np.array([self.bank[m].mean(0) if m else np.zeros(self.bank.shape[1]) for m in self.members])
        bank = FeatureBank(features=_t(self.bank), identities=_t(self.bank_ids), cameras=_t(self.bank_cams))
        peers = FeatureBank(
            features=_t(self.peers), identities=_t(self.peer_ids), cameras=torch.zeros(len(self.peers)).long()
        )
        near = Neighbours(
            bank=bank,
            peers=peers,
            side=self.side,
            places=_t(self.places),
            clean=_t(self.clean),
            identities=_t(self.ids),
            aims=_t(self.aims),
            cameras=_t(self.cams),
            same_camera_is_junk=self.same_camera_is_junk,
            lots=_t(self.lots),
        )
        return replace(to_references(count, mean, _t(self.clean), self.clean), neighbours=near)


def _t(values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(values)


def _unit(features: Array) -> Array:
    unit: Array = features / np.linalg.norm(features, axis=1, keepdims=True)
    return unit


@pytest.fixture(scope="session")
def world() -> Callable[..., World]:
    """A function that makes a world from a seed, with unit features or raw ones, untargeted or targeted.

    The other side has junk (-1), distractors (0), images of the same identity and camera, and one identity alone in
    its camera. Attacked are five images of three identities, one of an identity that the other side lacks, and one row
    of padding.
    """

    def make(
        seed: int = 0,
        *,
        side: Literal["query", "gallery"] = "query",
        goal: Literal["untargeted", "targeted"] = "untargeted",
        unit: bool = True,
        same_camera_is_junk: bool = True,
    ) -> World:
        source = np.random.default_rng(seed)
        bank_ids = np.array([4, 7, -1, 4, 9, 0, 7, 4, 9, 9, 0, -1, 7, 9])
        bank_cams = np.array([1, 2, 1, 2, 3, 1, 1, 3, 3, 1, 2, 2, 2, 2])
        peer_ids = np.array([7, 4, 9, 0, -1, 9, 4, 12, 7, 12])
        peer_cams = np.array([2, 1, 1, 1, 3, 3, 2, 1, 1, 2])
        bank, peers = (source.normal(size=(len(ids), 6)) + 0.4 for ids in (bank_ids, peer_ids))
        if unit:
            bank, peers = _unit(bank), _unit(peers)
        places = np.array([0, 1, 2, 6, 8, 7, -1])
        padding = places < 0
        ids = np.where(padding, -1, peer_ids[places])
        aim = {4: 9, 7: 4, 9: 7} if goal == "targeted" else {4: 4, 7: 7, 9: 9}
        aims = np.array([aim.get(identity, identity) for identity in ids.tolist()])
        known = [identity in aim for identity in ids.tolist()]
        return World(
            side=side,
            bank=bank,
            bank_ids=bank_ids,
            bank_cams=bank_cams,
            peers=peers,
            peer_ids=peer_ids,
            places=places,
            clean=np.where(padding[:, None], 0.0, peers[places]),
            ids=ids,
            aims=aims,
            cams=np.where(padding, -1, peer_cams[places]),
            lots=source.random((len(places), LOTS)),
            members=tuple(
                np.flatnonzero(bank_ids == each).tolist() if has else [] for each, has in zip(aims, known, strict=True)
            ),
            same_camera_is_junk=same_camera_is_junk,
        )

    return make
