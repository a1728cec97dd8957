"""Ranking: exact, chunked, aware of ties."""

from __future__ import annotations

from .left_out import is_left_out
from .protocol import PROTOCOLS, Labels, Protocol
from .ranking import Ranking, rank
from .scores import (
    CUTOFFS,
    METRIC_TABLE,
    METRICS,
    Bounded,
    MetricInfo,
    QueryScores,
    QueryValues,
    RankingScores,
    chance,
    score,
    values_of,
    with_hits_of,
)
from .similarity import GRID, METRIC_VERSION, NonFiniteFeatureError
from .ties import TieGroups
from .trials import Trial, drawn_trials, over_trials

__all__ = [
    "CUTOFFS",
    "GRID",
    "METRICS",
    "METRIC_TABLE",
    "METRIC_VERSION",
    "PROTOCOLS",
    "Bounded",
    "Labels",
    "MetricInfo",
    "NonFiniteFeatureError",
    "Protocol",
    "QueryScores",
    "QueryValues",
    "Ranking",
    "RankingScores",
    "TieGroups",
    "Trial",
    "chance",
    "drawn_trials",
    "is_left_out",
    "over_trials",
    "rank",
    "score",
    "values_of",
    "with_hits_of",
]
