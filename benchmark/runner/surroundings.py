"""Who stands around the attacked images: both sides' clean features and labels, for attacks on the ranking itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from ...attacks.draw import Draw
from ...attacks.neighbours import JUNK, LOTS, FeatureBank, Neighbours
from ...attacks.references import Person, References, Selection
from ..datasets.retrieval import SideName
from ..evaluation import Protocol
from .batches import Batch


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The two sides as an attack on one of them finds them."""

    side: SideName
    attacked: Person
    other: Person
    #: Features (N, D) of the attacked side, clean, and of the other one as it stands.
    clean: NDArray[np.float32]
    features: NDArray[np.float32]
    selection: Selection
    protocol: Protocol

    def of_batch(self, batch: Batch, references: References, draw: Draw) -> Neighbours:
        """The neighbours of a batch, in the type and place of its references."""
        like = references.mean
        bank, peers = self._banks(like.dtype, like.device)

        def padded(values: NDArray[np.int64]) -> torch.Tensor:
            found = batch.pad(values)
            found[len(batch.indices) :] = JUNK
            return torch.from_numpy(found).to(like.device)

        if references.clean is None:
            raise ValueError("expected references with the clean features of the attacked images")
        return Neighbours(
            bank=bank,
            peers=peers,
            side=self.side,
            places=padded(batch.indices),
            clean=references.clean,
            identities=padded(self.attacked.identities[batch.indices]),
            aims=padded(self.selection.target_identities[batch.indices]),
            cameras=padded(self.attacked.cameras[batch.indices]),
            same_camera_is_junk=self.protocol.same_camera_is_junk,
            hidden_cameras=self._hidden,
            lots=draw.meant_for("lots").rows(0, 0, (LOTS,)).to(like.device),
        )

    @property
    def _hidden(self) -> frozenset[tuple[int, int]]:
        """From the attacked side to the other one."""
        pairs = self.protocol.hidden_cameras
        return pairs if self.side == "query" else frozenset((other, own) for own, other in pairs)

    def _banks(self, dtype: torch.dtype, device: torch.device) -> tuple[FeatureBank, FeatureBank]:
        if (dtype, device) not in self._known:

            def bank(features: NDArray[np.float32], people: Person) -> FeatureBank:
                return FeatureBank(
                    features=torch.from_numpy(features).to(dtype=dtype, device=device),
                    identities=torch.from_numpy(people.identities).to(device),
                    cameras=torch.from_numpy(people.cameras).to(device),
                )

            self._known[dtype, device] = bank(self.features, self.other), bank(self.clean, self.attacked)
        return self._known[dtype, device]

    @cached_property
    def _known(self) -> dict[tuple[torch.dtype, torch.device], tuple[FeatureBank, FeatureBank]]:
        return {}
