"""Made-up populations of people whose true score is known, and what is asked of an interval or a test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Sample = tuple[NDArray[np.float64], NDArray[np.int64]]

#: At most this many queries an identity, at least one.
MOST = 8
#: The share of the seven further queries that the lowest level gets, and how much the highest gets on top of it.
LEAST_SHARE, MORE_SHARE = 0.1, 0.8


@dataclass(frozen=True, kw_only=True)
class Population:
    """People with 1 to 8 queries each and levels of their own, Beta distributed; their queries scatter around these.

    The share of the variance of one query that lies between people is that of the level: 70 % of an AP's and half of a
    hit's at concentration 1.
    """

    #: The true mean over queries, a fraction.
    score: float
    #: Whether a query is a hit or a miss; else it scores as AP does.
    is_binary: bool = False
    #: Whether people with more queries score higher.
    is_tilted: bool = False
    #: The Beta distribution's two parameters added: less than 2 has most people near 0 or 1.
    concentration: float = 1.0

    def sample(self, n: int, random: np.random.Generator) -> Sample:
        """Values (Q,) and identities (Q,) of n people."""
        levels, identities = self.people(n, random)
        return self.queries(levels[identities], random), identities

    def people(self, n: int, random: np.random.Generator) -> Sample:
        """Levels (n,) of n people and the identities (Q,) of their queries."""
        mean = self.mean_level
        levels = random.beta(mean * self.concentration, (1 - mean) * self.concentration, n)
        share = LEAST_SHARE + MORE_SHARE * levels if self.is_tilted else random.beta(1, 2, n)
        return levels, np.repeat(np.arange(n), 1 + random.binomial(MOST - 1, share))

    def queries(self, levels: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
        """(Q,) values of queries of people with these levels (Q,), of which the levels are the expectation."""
        if self.is_binary:
            return (random.random(len(levels)) < levels).astype(np.float64)
        scatter = 4.0 / self.concentration
        return random.beta(np.maximum(scatter * levels, 1e-9), np.maximum(scatter * (1 - levels), 1e-9))

    @property
    def mean_level(self) -> float:
        """The mean over people, which differs from that over queries where counts follow levels; by bisection."""
        if not self.is_tilted:
            return self.score
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self._mean_over_queries(middle) < self.score else (low, middle)
        return low

    def _mean_over_queries(self, mean: float) -> float:
        """E[count x level] / E[count] in closed form, for a tilted population whose levels have this mean."""
        fixed, growing = 1 + (MOST - 1) * LEAST_SHARE, (MOST - 1) * MORE_SHARE
        squares = mean**2 + mean * (1 - mean) / (self.concentration + 1)
        return (fixed * mean + growing * squares) / (fixed + growing * mean)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two models on the same queries; people are as hard for both, up to deviations that are each model's own."""

    #: The base model's people and scores.
    population: Population
    #: How close the two models' levels of one person are: the Beta distribution's two parameters added.
    agreement: float = 10.0
    #: The share of its score that the new model loses: its score is (1 - lost) that of the base.
    lost: float = 0.0
    #: The share of people whose queries the change affects at all.
    affected: float = 1.0

    def sample(
        self, n: int, random: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Values of the base (Q,), of the new model (Q,), and identities (Q,) of n people."""
        levels, identities = self.population.people(n, random)
        base, other = (self._model(levels, identities, random) for _ in range(2))
        new = np.where((random.random(n) < self.affected)[identities], other, base)
        return base, new * (1 - self.lost), identities

    def _model(
        self, levels: NDArray[np.float64], identities: NDArray[np.int64], random: np.random.Generator
    ) -> NDArray[np.float64]:
        return self.population.queries(self._own(levels, random)[identities], random)

    def _own(self, levels: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
        return random.beta(np.maximum(self.agreement * levels, 1e-9), np.maximum(self.agreement * (1 - levels), 1e-9))

    @property
    def difference(self) -> float:
        """The true difference of the scores, a fraction."""
        return -self.lost * self.population.score

    def cells(self, n_cells: int, n: int, random: np.random.Generator) -> list[tuple[NDArray[Any], ...]]:
        """The base's and the new model's values in cells on the same people: one attack after the other, ever stronger.

        The people's levels of each model are the same throughout, raised to powers from 1 to 3; nothing is lost.
        """
        levels, identities = self.population.people(n, random)
        own = [self._own(levels, random) for _ in range(2)]
        powers = np.linspace(1, 3, n_cells)
        return [
            (*(self.population.queries(level[identities] ** power, random) for level in own), identities)
            for power in powers
        ]


@pytest.fixture(scope="session")
def make_population() -> type[Population]:
    """Makes populations."""
    return Population


@pytest.fixture(scope="session")
def make_pair() -> type[Pair]:
    """Makes pairs of models."""
    return Pair


@pytest.fixture(scope="session")
def page() -> str:
    """The page whose figures the slow tests measure."""
    return (Path(__file__).resolve().parents[3] / "docs" / "statistics.md").read_text()
