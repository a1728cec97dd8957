"""What the images of a batch come to as queries, by the very ranking that the cell is scored with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...attacks.ensemble import Verdict
from ..datasets.retrieval import RetrievalSet
from ..evaluation import Trial, rank, values_of
from .batches import Batch
from .features import to_rows
from .scoring import Scorer


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Ranks the clean gallery for the queries of one batch, trial by trial."""

    data: RetrievalSet
    scorer: Scorer
    batch: Batch
    #: Features (B, D) of images (B, 3, H, W), by the model that is scored.
    features: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor) -> Verdict:
        """What 8-bit images (B, 3, H, W) come to, in the mean over their trials.

        Padding, and a query without a right answer in any trial, has lost everything.
        """
        features = to_rows(self.features(images), len(self.batch.indices))
        everything = Trial(query=self.batch.indices, gallery=np.arange(len(self.data.gallery)))
        total, n_trials = np.zeros((len(_Found._fields), len(images))), np.zeros(len(images))
        for trial in self.data.trials or (everything,):
            rows = np.flatnonzero(np.isin(self.batch.indices, trial.query))
            if not len(rows):
                continue
            ranking = rank(
                features[rows],
                self.scorer.clean.gallery[trial.gallery] if self.data.trials else self.scorer.clean.gallery,
                self.data.query.labels.part(self.batch.indices[rows]),
                self.data.gallery.labels.part(trial.gallery),
                self.data.protocol,
                self.scorer.metric,
                device=self.scorer.device,
            )
            values = values_of(ranking)
            found = _Found(values.ap, least_precisions(ranking.positives, ranking.images), values.hit[:, 0])
            valid = rows[ranking.query_index]
            total[:, valid] += np.stack(found)
            n_trials[valid] += 1
        means = _Found(*(torch.from_numpy(column) for column in total / np.maximum(n_trials, 1)))
        return Verdict(ap=means.ap, least_ap=means.least_ap, hit=means.hit)


class _Found(NamedTuple):
    """One value an image each."""

    ap: Any
    least_ap: Any
    hit: Any


def least_precisions(positives: NDArray[np.int64], images: NDArray[np.int64]) -> NDArray[np.float64]:
    """The least step AP (V,) of n positives (V,) among N images (V,), all last: mean over i of i / (N - n + i)."""
    found = np.empty(len(positives))
    for row, (n, total) in enumerate(zip(positives.tolist(), images.tolist(), strict=True)):
        place = np.arange(1, n + 1)
        found[row] = (place / (total - n + place)).mean()
    return found
