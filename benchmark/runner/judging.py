"""What the images of a batch come to as queries, by the very ranking that the cell is scored with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...attacks.ensemble import Verdict
from ..datasets.retrieval import RetrievalSet
from ..evaluation import Labels, rank, values_of
from .batches import Batch
from .features import to_rows
from .scoring import Scorer


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Ranks the clean gallery for the queries of one batch."""

    data: RetrievalSet
    scorer: Scorer
    batch: Batch
    #: Features (B, D) of images (B, 3, H, W), by the model that is scored.
    features: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor) -> Verdict:
        """What 8-bit images (B, 3, H, W) come to; padding, and a query without a right answer, has lost everything."""
        places = self.batch.indices
        labels = self.data.query.labels
        ranking = rank(
            to_rows(self.features(images), len(places)),
            self.scorer.clean.gallery,
            Labels(identities=labels.identities[places], cameras=labels.cameras[places]),
            self.data.gallery.labels,
            self.data.protocol,
            self.scorer.metric,
            device=self.scorer.device,
        )
        values = values_of(ranking)

        def over_batch(found: NDArray[np.float64]) -> Tensor:
            all_of_them = np.zeros(len(images))
            all_of_them[ranking.query_index] = found
            return torch.from_numpy(all_of_them)

        return Verdict(
            ap=over_batch(values.ap),
            least_ap=over_batch(least_precisions(ranking.positives, ranking.images)),
            hit=over_batch(values.hit[:, 0]),
        )


def least_precisions(positives: NDArray[np.int64], images: NDArray[np.int64]) -> NDArray[np.float64]:
    """The least step AP (V,) of n positives (V,) among N images (V,), all last: mean over i of i / (N - n + i)."""
    found = np.empty(len(positives))
    for row, (n, total) in enumerate(zip(positives.tolist(), images.tolist(), strict=True)):
        place = np.arange(1, n + 1)
        found[row] = (place / (total - n + place)).mean()
    return found
