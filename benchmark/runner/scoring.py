"""From features to scores: the retrieval problem a cell is scored on, clean and attacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...attacks.references import Selection
from ...models.base import Metric
from ..datasets.retrieval import RetrievalSet, SideName
from ..evaluation import (
    Labels,
    Protocol,
    QueryScores,
    RankingScores,
    Trial,
    over_trials,
    rank,
    score,
    with_hits_of,
)
from ..records import Cell
from .features import CleanFeatures

#: An identity that no gallery image has: a query that carries it is dropped.
_NOBODY = -2


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What features come to, trial by trial, and in the mean."""

    #: Of each trial: its queries, whose `query_index` counts all queries of the set, and their means.
    by_trial: Sequence[tuple[QueryScores, RankingScores]]

    @cached_property
    def means(self) -> RankingScores:
        """Over the trials."""
        return over_trials([means for _, means in self.by_trial])

    def with_hits_of(self, other: Scores) -> Scores:
        """AP and INP of these beside first ranks and hits of others: two adversaries."""
        pairs = zip(self.by_trial, other.by_trial, strict=True)
        return Scores(by_trial=[with_hits_of(own, others) for own, others in pairs])


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
    #: Those of the data set; none is one of everything.
    trials: tuple[Trial, ...] = ()
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
        queries = attacked.get("query", self.clean.query)
        gallery = attacked.get("gallery", self.clean.gallery)
        if not self.trials:
            return Scores(by_trial=[self._scores(problem, queries, gallery, problem.query, problem.gallery)])
        found = []
        for trial in self.trials:
            per_query, means = self._scores(
                problem,
                queries[trial.query],
                gallery[trial.gallery],
                problem.query.part(trial.query),
                problem.gallery.part(trial.gallery),
            )
            found.append((replace(per_query, query_index=trial.query[per_query.query_index]), means))
        return Scores(by_trial=found)

    def _scores(
        self,
        problem: Problem,
        queries: NDArray[np.float32],
        gallery: NDArray[np.float32],
        query_labels: Labels,
        gallery_labels: Labels,
    ) -> tuple[QueryScores, RankingScores]:
        ranking = rank(
            queries, gallery, query_labels, gallery_labels, problem.protocol, self.metric, device=self.device
        )
        return score(ranking)
