"""Scores of a ranking: per query, and their means with tie bounds beside chance.

Definitions (rank r_i of the i-th of n positives, from 1, junk taken out):
    AP, step: mean of i / r_i (torchreid, fast-reid);
    AP, trapezoid: mean of (i / r_i + (i-1) / (r_i - 1)) / 2, the last quotient 1 where r_i = 1 (the data set's own
        code, layumi, the AMA paper); never above the step AP;
    INP: n / r_n (Ye et al., AGW, TPAMI 2021);
    Rank-k: whether r_1 <= k (CMC); where the protocol ranks identities r_1 is the place of the query's own among them,
        in AP and INP it is not (`identities.py`).
Blind spots: AP and INP do not see how far apart images are; Rank-k sees one positive only. Each value is the
expectation over a random order within ties. The means run over the queries that have a positive (torchreid), and the
others are counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ... import UserError
from .ties import first_ranks, harmonic_span, hits, inverse_negative_penalties, step_precisions, trapezoid_precisions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .identities import IdentityRanks
    from .ranking import Ranking
    from .ties import TieGroups

#: The k of Rank-k, in the order of `QueryValues.hit`.
CUTOFFS = (1, 5, 10, 20)

_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """What a table or page says about a metric."""

    #: The field of `RankingScores` and the column in storage, a fraction in [0, 1].
    name: str
    #: What a page shows.
    title: str
    #: The direction in which a model is better.
    higher_is_better: bool = True


METRIC_TABLE: tuple[MetricInfo, ...] = (
    MetricInfo(name="mAP", title="mAP"),
    MetricInfo(name="mAP_trapezoid", title="mAP (trapezoid)"),
    MetricInfo(name="mINP", title="mINP"),
    MetricInfo(name="rank1", title="Rank-1"),
    MetricInfo(name="rank5", title="Rank-5"),
    MetricInfo(name="rank10", title="Rank-10"),
    MetricInfo(name="rank20", title="Rank-20"),
)
METRICS: tuple[str, ...] = tuple(info.name for info in METRIC_TABLE)


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryValues:
    """Scores of V valid queries under one rule for ties."""

    #: (V,) float64 in (0, 1]: step AP.
    ap: NDArray[np.float64]
    #: (V,) float64 in (0, 1].
    ap_trapezoid: NDArray[np.float64]
    #: (V,) float64 in (0, 1].
    inp: NDArray[np.float64]
    #: (V,) float64 >= 1, smaller is better: of images, or of identities where the protocol ranks those.
    first_rank: NDArray[np.float64]
    #: (V, 4) float64 in [0, 1]: hit at rank 1, 5, 10, 20.
    hit: NDArray[np.float64]

    def __post_init__(self) -> None:
        n_query = len(self.ap)
        shapes = [self.ap.shape, self.ap_trapezoid.shape, self.inp.shape, self.first_rank.shape, self.hit.shape]
        if shapes != [(n_query,)] * 4 + [(n_query, len(CUTOFFS))]:
            raise ValueError(f"expected four columns (V,) and one (V, {len(CUTOFFS)}), got shapes {shapes}")


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryScores(QueryValues):
    """Scores of each valid query, expected over random order within ties, with both extremes."""

    #: (V,) int64: the place of each valid query among all queries, ascending.
    query_index: NDArray[np.int64]
    #: Positives first within each tie group.
    optimistic: QueryValues
    #: Positives last within each tie group.
    pessimistic: QueryValues

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(self.query_index) == len(self.optimistic.ap) == len(self.pessimistic.ap) == len(self.ap):
            raise ValueError(f"expected {len(self.ap)} queries in each column, got {len(self.query_index)} indices")


@dataclass(frozen=True, kw_only=True)
class Bounded:
    """A score and how far an order within ties could move it; fractions in [0, 1]."""

    #: The expectation over random order within ties.
    value: float
    #: Positives first.
    optimistic: float
    #: Positives last.
    pessimistic: float
    #: Of the value over trials, as those of a population (the mean of squares is over their number); None of one trial.
    std: float | None = None

    def __post_init__(self) -> None:
        if self.std is not None and not 0 <= self.std <= 1:
            raise ValueError(f"expected a standard deviation in [0, 1], got {self.std}")
        ordered = (0.0, self.pessimistic, self.value, self.optimistic, 1.0)
        if not all(low <= high + _ROUNDING for low, high in pairwise(ordered)):
            raise ValueError(f"expected 0 <= pessimistic <= value <= optimistic <= 1, got {self}")


@dataclass(frozen=True, kw_only=True)
class RankingScores:
    """Means over the valid queries, beside chance and counts."""

    #: Step AP.
    mAP: Bounded  # noqa: N815 (the field's name for it)
    mAP_trapezoid: Bounded  # noqa: N815
    mINP: Bounded  # noqa: N815
    rank1: Bounded
    rank5: Bounded
    rank10: Bounded
    rank20: Bounded
    #: Expected step mAP of a random order.
    chance_mAP: float  # noqa: N815
    #: Expected Rank-1 of a random order.
    chance_rank1: float
    #: All queries.
    n_query: int
    #: Queries that have a positive: those the means run over.
    n_query_valid: int
    #: Gallery images, junk included.
    n_gallery: int
    #: Identities of the valid queries.
    n_identity: int


def score(ranking: Ranking) -> tuple[QueryScores, RankingScores]:
    """The scores of each valid query of a ranking, and their means.

    Chance of a query with n positives among N images, b' = (n-1)/(N-1) (1 if N = 1): step AP H(N)/N (1-b') + b',
    Rank-1 n/N.

    Raises:
        UserError: No query has a positive.
    """
    if ranking.n_query_valid == 0:
        raise UserError(
            f"nothing to score: no query of {ranking.n_query} has a gallery image of its identity that the protocol "
            f"lets it meet, among {ranking.n_gallery}; check the identities and cameras of both sides"
        )
    expected = values_of(ranking)
    queries = QueryScores(
        **vars(expected),
        query_index=ranking.query_index,
        optimistic=_query_values(
            ranking, ranking.groups.optimistic(), ranking.identities and ranking.identities.optimistic()
        ),
        pessimistic=_query_values(
            ranking, ranking.groups.pessimistic(), ranking.identities and ranking.identities.pessimistic()
        ),
    )
    chance_ap, chance_hit = chance(ranking.positives, ranking.images)
    rank1, rank5, rank10, rank20 = (_bounded(queries, "hit", column) for column in range(len(CUTOFFS)))
    return queries, RankingScores(
        mAP=_bounded(queries, "ap"),
        mAP_trapezoid=_bounded(queries, "ap_trapezoid"),
        mINP=_bounded(queries, "inp"),
        rank1=rank1,
        rank5=rank5,
        rank10=rank10,
        rank20=rank20,
        chance_mAP=float(chance_ap.mean()),
        chance_rank1=float(chance_hit.mean()),
        n_query=ranking.n_query,
        n_query_valid=ranking.n_query_valid,
        n_gallery=ranking.n_gallery,
        n_identity=ranking.n_identity,
    )


def values_of(ranking: Ranking) -> QueryValues:
    """Scores of each valid query (none is none), expected over random order within ties."""
    return _query_values(ranking, ranking.groups, ranking.identities)


def with_hits_of(
    scores: tuple[QueryScores, RankingScores], others: tuple[QueryScores, RankingScores]
) -> tuple[QueryScores, RankingScores]:
    """AP and INP of one ranking beside first ranks and hits of another: two adversaries, each with its own images."""
    (queries, means), (other_queries, other_means) = scores, others

    def mixed(own: QueryValues, other: QueryValues) -> dict[str, NDArray[np.float64]]:
        precisions = {"ap": own.ap, "ap_trapezoid": own.ap_trapezoid, "inp": own.inp}
        return {**precisions, "first_rank": other.first_rank, "hit": other.hit}

    ranks = {name: getattr(other_means, name) for name in ("rank1", "rank5", "rank10", "rank20")}
    return QueryScores(
        **mixed(queries, other_queries),
        query_index=queries.query_index,
        optimistic=QueryValues(**mixed(queries.optimistic, other_queries.optimistic)),
        pessimistic=QueryValues(**mixed(queries.pessimistic, other_queries.pessimistic)),
    ), replace(means, **ranks)


def chance(positives: NDArray[np.int64], images: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expected step AP and Rank-1, (V,) each, of a random order of N images (V,) with n positives (V,)."""
    others = np.where(images == 1, 1.0, (positives - 1) / np.maximum(images - 1, 1))
    return harmonic_span(np.zeros_like(images), images) / images * (1 - others) + others, positives / images


def _query_values(ranking: Ranking, groups: TieGroups, identities: IdentityRanks | None) -> QueryValues:
    n_valid, positives = ranking.n_query_valid, ranking.positives
    first = groups.select(groups.nearer_positives == 0)
    last = groups.select(groups.nearer_positives + groups.tied_positives == positives[groups.query])
    return QueryValues(
        ap=np.bincount(groups.query, step_precisions(groups), minlength=n_valid) / positives,
        ap_trapezoid=np.bincount(groups.query, trapezoid_precisions(groups), minlength=n_valid) / positives,
        inp=inverse_negative_penalties(last),
        first_rank=first_ranks(first) if identities is None else identities.ranks(),
        hit=np.stack(
            [hits(first, cutoff) for cutoff in CUTOFFS] if identities is None else identities.hits(CUTOFFS), axis=1
        ),
    )


def _bounded(queries: QueryScores, field: str, column: int | None = None) -> Bounded:
    """The mean of one field, or of one column of it, under each rule for ties."""
    means = []
    for values in (queries, queries.optimistic, queries.pessimistic):
        array = getattr(values, field)
        means.append(float((array if column is None else array[:, column]).mean()))
    value, optimistic, pessimistic = means
    return Bounded(value=value, optimistic=optimistic, pessimistic=pessimistic)
