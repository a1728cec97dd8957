"""From features to scores: the retrieval problem a cell is scored on, clean and attacked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ...attacks.references import Selection
from ...models.base import Metric
from ..datasets.retrieval import RetrievalSet, SideName
from ..evaluation import Labels, Protocol, QueryScores, RankingScores, rank, score
from ..records import Cell
from .features import CleanFeatures

Scores = tuple[QueryScores, RankingScores]

#: An identity that no gallery image has: a query that carries it is dropped.
_NOBODY = -2


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Labels and rules that a pair of feature sets is scored by."""

    query: Labels
    gallery: Labels
    protocol: Protocol
    #: Of each query, under a targeted goal: the identity its attackers want.
    target_identities: NDArray[np.int64] | None = None


def problem_of(cell: Cell, data: RetrievalSet, selection: Selection) -> Problem:
    """What a cell is scored on.

    Untargeted: the data set as it is. Targeted, relabelled: on the query side every attacked query is looked for as
    its target, whose gallery images of every camera are right (the same-camera rule is about near-copies of one
    person, and has no meaning for another); queries that were not attacked are dropped. On the gallery side every
    attacked image carries its target's label, again of every camera.
    """
    query, gallery = data.query.labels, data.gallery.labels
    if cell.goal == "untargeted":
        return Problem(query=query, gallery=gallery, protocol=data.protocol)
    protocol = replace(data.protocol, same_camera_is_junk=False)
    if cell.side == "query":
        wanted = np.full(len(data.query), _NOBODY, dtype=np.int64)
        wanted[selection.attacked] = selection.target_identities[selection.attacked]
        query = Labels(identities=wanted, cameras=query.cameras)
        return Problem(query=query, gallery=gallery, protocol=protocol, target_identities=wanted)
    gallery = Labels(identities=selection.target_identities, cameras=gallery.cameras)
    return Problem(query=query, gallery=gallery, protocol=protocol, target_identities=query.identities)


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Scores features of one model on one data set; clean scores are computed once a problem."""

    metric: Metric
    clean: CleanFeatures
    #: Where features are compared.
    device: str = "cpu"
    _known: dict[bytes, Scores] = field(default_factory=dict)

    def clean_scores(self, problem: Problem) -> Scores:
        """Scores of the clean features."""
        key = (
            problem.query.identities.tobytes() + problem.gallery.identities.tobytes() + repr(problem.protocol).encode()
        )
        if key not in self._known:
            self._known[key] = self.scores(problem, {})
        return self._known[key]

    def scores(self, problem: Problem, attacked: dict[SideName, NDArray[np.float32]]) -> Scores:
        """Scores with the features of some sides replaced by attacked ones (N, D)."""
        return score(
            rank(
                attacked.get("query", self.clean.query),
                attacked.get("gallery", self.clean.gallery),
                problem.query,
                problem.gallery,
                problem.protocol,
                self.metric,
                device=self.device,
            )
        )
