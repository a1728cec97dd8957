"""Filter and refine finds what fixed point finds: the float32 product decides how much is refined, never what."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from robustreid.benchmark.evaluation import PROTOCOLS, Labels, devices, exhaustive, filtering, rank, score, sides
from robustreid.benchmark.evaluation.sides import Sides
from robustreid.benchmark.evaluation.similarity import fill_similarities, fixed_point
from robustreid.models.base import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from robustreid.models.base import Metric

    FloatArray = NDArray[Any]

MARKET = PROTOCOLS["market"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Features (Q, D) and (G, D) with their labels."""

    queries: FloatArray
    gallery: FloatArray
    query_labels: Labels
    gallery_labels: Labels
    metric: Metric = "cosine"

    def found(self, **options: Any) -> NDArray[np.int64]:
        """(5, T) the tie groups, by the product."""
        sides = self.queries, self.gallery, self.query_labels, self.gallery_labels
        return np.stack(list(vars(rank(*sides, MARKET, self.metric, **options).groups).values()))

    def by_plain_counting(self) -> NDArray[np.int64]:
        """The twin: all similarities in fixed point, and each query's compared with those of its positives."""
        fixed = fixed_point(self.queries, "query", self.metric), fixed_point(self.gallery, "gallery", self.metric)
        similarities = np.empty((len(self.queries), len(self.gallery)))
        rows = np.arange(len(self.queries)), np.arange(len(self.gallery))
        fill_similarities(*fixed, *rows, out=similarities, gallery_chunk=1000)
        groups, place = [], 0
        labels = zip(self.query_labels.identities, self.query_labels.cameras, similarities, strict=True)
        for identity, camera, row in labels:
            own = self.gallery_labels.identities == identity
            junk = (self.gallery_labels.identities == -1) | (own & (self.gallery_labels.cameras == camera))
            values, positives = row[~junk], row[own & ~junk]
            for value in np.unique(positives)[::-1]:
                counts = [(each > value).sum() for each in (values, positives)]
                counts += [(each == value).sum() for each in (values, positives)]
                groups.append([place, *counts])
            place += len(positives) > 0
        return np.array(groups, dtype=np.int64).reshape(-1, 5).T


def clustered(
    seed: int,
    *,
    dimension: int = 64,
    spread: float = 0.4,
    dtype: str = "f4",
    metric: Metric = "cosine",
    scale: float = 1,
) -> Problem:
    """40 queries and 300 images of nine identities, with duplicates, zeros, junk and distractors."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((11, dimension))
    features, labels = [], []
    for count, lowest in ((40, 1), (300, -1)):
        identities = random.integers(lowest, 10, count)
        rows = centres[identities] + spread * random.standard_normal((count, dimension))
        rows[-count // 4 :] = rows[: count // 4]
        if metric == "cosine":
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        rows[random.integers(0, count, 2)] = 0
        features.append((rows * scale).astype(dtype))
        labels.append(Labels(identities=identities, cameras=random.integers(0, 3, count)))
    return Problem(
        queries=features[0], gallery=features[1], query_labels=labels[0], gallery_labels=labels[1], metric=metric
    )


def close(seed: int, dimension: int = 300) -> Problem:
    """Everybody nearly at one point: similarities differ by a few steps, and float32 is wrong by as much."""
    random, labels = np.random.default_rng(seed), clustered(seed)
    centre = random.standard_normal(dimension)
    both = [centre + 3e-3 * random.standard_normal((count, dimension)) for count in (40, 300)]
    q, g = ((x / np.linalg.norm(x, axis=1, keepdims=True)).astype("f4") for x in both)
    return Problem(queries=q, gallery=g, query_labels=labels.query_labels, gallery_labels=labels.gallery_labels)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    dimension=st.sampled_from([1, 2, 7, 511, 512, 513, 1100]),
    spread=st.sampled_from([0.0, 1e-6, 1e-3, 0.3, 2.0]),
    dtype=st.sampled_from(["f4", "f8"]),
    metric=st.sampled_from(METRICS),
    scale=st.sampled_from([1e-3, 1.0, 37.0, 1e6]),
    chunk=st.integers(1, 60),
    gallery_chunk=st.integers(1, 400),
    most=st.sampled_from([1 / 64, 2.0]),
    collected=st.sampled_from([0, 100, 2**15]),
    is_cpu=st.booleans(),
)
def test_any_problem_is_found_as_by_plain_counting(
    seed: int, dimension: int, spread: float, dtype: str, metric: Metric, scale: float,
    chunk: int, gallery_chunk: int, most: float, collected: int, is_cpu: bool,
) -> None:  # fmt: skip
    """Every group of every query, whatever the chunks, and by what a GPU does as by what a CPU does."""
    scale = scale if metric == "euclidean" else 1
    problem = clustered(seed, dimension=dimension, spread=spread, dtype=dtype, metric=metric, scale=scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filtering, "_MOST_IN_DOUBT", most)
        patch.setattr(filtering, "_COLLECTED", collected)
        patch.setattr(devices, "is_cpu", lambda device: is_cpu)
        found = problem.found(chunk=chunk, gallery_chunk=gallery_chunk)
        patch.setattr(Sides, "is_approximable", False)
        exhaustively = problem.found(chunk=chunk, gallery_chunk=gallery_chunk)
    assert np.array_equal(found, problem.by_plain_counting())
    assert np.array_equal(exhaustively, found)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_what_float32_cannot_tell_apart_is_told_apart(seed: int, n_threads: int, monkeypatch: Any) -> None:
    """Similarities a few steps apart, all left to refine, multiplied by NumPy (one thread) and by PyTorch."""
    monkeypatch.setattr(filtering, "_MOST_IN_DOUBT", 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    assert np.array_equal(close(seed).found(), close(seed).by_plain_counting())


@pytest.mark.parametrize("seed", range(5))
def test_one_last_bit_beside_a_boundary_of_the_grid(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Similarities half a step between two values, and 2^-26 beside: half goes to the even value, as by integers."""
    monkeypatch.setattr(filtering, "_MOST_IN_DOUBT", 2)
    random = np.random.default_rng(seed)
    bits = (64 * random.integers(2**18, 2**18 + 6, 200) + 32) + random.integers(-1, 2, 200)
    first = bits / 2.0**26
    gallery = np.stack([first, np.sqrt(1 - first**2)], axis=1)
    gallery_labels = Labels(identities=random.integers(1, 4, 200), cameras=np.ones(200, np.int64))
    query_labels = Labels(identities=np.array([1]), cameras=np.array([0]))
    problem = Problem(
        queries=np.array([[1.0, 0.0]]), gallery=gallery, query_labels=query_labels, gallery_labels=gallery_labels
    )
    steps = [divmod(bit, 64) for bit in bits.tolist()]
    rounded = np.array([whole + (rest > 32 or (rest == 32 and whole % 2 == 1)) for whole, rest in steps])
    own = rounded[gallery_labels.identities == 1]
    groups = [
        [0, (rounded > value).sum(), (own > value).sum(), (rounded == value).sum(), (own == value).sum()]
        for value in np.unique(own)[::-1]
    ]
    assert len(groups) > 3
    assert problem.found().T.tolist() == groups


def test_a_bound_that_is_too_small_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: float32 trusted to the last bit."""
    monkeypatch.setattr(filtering, "_MOST_IN_DOUBT", 2)
    monkeypatch.setattr(sides, "error_bound", lambda dimension: 2.0**-40)
    problems = [close(seed) for seed in range(5)]
    assert any(not np.array_equal(problem.found(), problem.by_plain_counting()) for problem in problems)


def clear() -> Problem:
    """Random directions, in which float32 decides nearly everything."""
    random, labels = np.random.default_rng(0), clustered(0)
    both = [random.standard_normal((count, 64)) for count in (40, 300)]
    q, g = ((x / np.linalg.norm(x, axis=1, keepdims=True)).astype("f4") for x in both)
    return Problem(queries=q, gallery=g, query_labels=labels.query_labels, gallery_labels=labels.gallery_labels)


@pytest.mark.parametrize(
    ("problem", "is_filtered"),
    [
        (clear(), True),
        (clustered(3, spread=0), False),
        (clustered(3, metric="euclidean", scale=1e-9), False),
        (clustered(3, metric="euclidean", scale=1e25, dtype="f8"), False),
    ],
    ids=["clear", "ties everywhere", "tiny", "huge"],
)
def test_the_filter_is_left_where_it_does_not_help(
    problem: Problem, is_filtered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clear problems never see the product of all in fixed point; those that tie, or whose norms are huge, do."""
    chunks: list[Any] = []
    original = exhaustive.exhaustive_groups

    def noted(chunk: Any) -> NDArray[np.int64]:
        chunks.append(chunk)
        return original(chunk)

    monkeypatch.setattr(exhaustive, "exhaustive_groups", noted)
    assert np.array_equal(problem.found(chunk=20), problem.by_plain_counting())
    assert len(chunks) == (0 if is_filtered else 2)


def test_a_collapsed_model_scores_chance() -> None:
    """All pairs in doubt: compared in fixed point, one group a query, and the score is chance."""
    problem = clustered(1)
    one = np.full(64, 1 / sqrt(64), np.float32)
    labels = problem.query_labels, problem.gallery_labels
    ranking = rank(np.tile(one, (40, 1)), np.tile(one, (300, 1)), *labels, MARKET, "cosine")
    assert (ranking.groups.tied_images == ranking.images).all()
    _, scores = score(ranking)
    assert scores.mAP.value == pytest.approx(scores.chance_mAP, abs=1e-12)
