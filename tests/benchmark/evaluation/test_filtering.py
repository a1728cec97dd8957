"""Filter and refine finds what fixed point finds: the float32 product decides how much is refined, never what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from robustreid.benchmark.evaluation import PROTOCOLS, Labels, filtering, rank, score, sides
from robustreid.benchmark.evaluation.sides import Sides, error_bound
from robustreid.benchmark.evaluation.similarity import fixed_point

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from robustreid.models.base import Metric

MARKET = PROTOCOLS["market"]
CPU = torch.device("cpu")


def arguments(
    seed: int,
    *,
    dimension: int = 64,
    spread: float = 0.4,
    dtype: str = "f4",
    metric: Metric = "cosine",
    scale: float = 1,
) -> tuple[Any, ...]:
    """A problem of 40 queries and 300 images of nine identities, with duplicates, junk and distractors."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((11, dimension))
    sides, labels = [], []
    for count, lowest in ((40, 1), (300, -1)):
        identities = random.integers(lowest, 10, count)
        features = centres[identities] + spread * random.standard_normal((count, dimension))
        features[-count // 4 :] = features[: count // 4 + (count % 4 > 0)][: count // 4]
        if metric == "cosine":
            features /= np.linalg.norm(features, axis=1, keepdims=True)
        sides.append((features * scale).astype(dtype))
        labels.append(Labels(identities=identities, cameras=random.integers(0, 3, count)))
    return (*sides, *labels, MARKET, metric)


def close(seed: int, dimension: int = 300) -> tuple[Any, ...]:
    """A problem in which everybody is nearly at one point: similarities differ by a few steps of the grid."""
    q, g, *rest = arguments(seed, dimension=dimension)
    centre = q[0].astype(np.float64)
    sides = [centre + 3e-3 * np.random.default_rng(seed).standard_normal(x.shape) / dimension**0.5 for x in (q, g)]
    return (*((x / np.linalg.norm(x, axis=1, keepdims=True)).astype("f4") for x in sides), *rest)


def found(problem: tuple[Any, ...], **options: Any) -> NDArray[Any]:
    """(5, T) the tie groups."""
    return np.stack(list(vars(rank(*problem, **options).groups).values()))


def by_fixed_point(problem: tuple[Any, ...]) -> NDArray[Any]:
    """The same without a filter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sides, "is_approximable", False)
        return found(problem)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    dimension=st.sampled_from([1, 2, 7, 255, 256, 257, 600]),
    spread=st.sampled_from([0.0, 1e-6, 1e-3, 0.3, 2.0]),
    dtype=st.sampled_from(["f4", "f8"]),
    metric=st.sampled_from(["cosine", "euclidean"]),
    scale=st.sampled_from([1e-3, 1.0, 37.0, 1e6]),
    chunk=st.integers(1, 60),
    gallery_chunk=st.integers(1, 400),
)
def test_any_problem_is_found_as_by_fixed_point(
    seed: int, dimension: int, spread: float, dtype: str, metric: Metric, scale: float, chunk: int, gallery_chunk: int
) -> None:
    """Every group of every query, whatever the chunks."""
    scale = scale if metric == "euclidean" else 1
    problem = arguments(seed, dimension=dimension, spread=spread, dtype=dtype, metric=metric, scale=scale)
    assert np.array_equal(found(problem, chunk=chunk, gallery_chunk=gallery_chunk), by_fixed_point(problem))


@pytest.mark.parametrize("seed", range(5))
def test_what_float32_cannot_tell_apart_is_told_apart(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Similarities a few steps apart, where the float32 product is wrong by as much, with all pairs left to refine."""
    monkeypatch.setattr(filtering, "_MOST_IN_DOUBT", 2)
    problem = close(seed)
    assert np.array_equal(found(problem), by_fixed_point(problem))


def test_a_bound_that_is_too_small_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: float32 trusted to the last bit."""
    monkeypatch.setattr(filtering, "_MOST_IN_DOUBT", 2)
    monkeypatch.setattr(sides, "error_bound", lambda dimension: 2.0**-40)
    assert any(not np.array_equal(found(close(seed)), by_fixed_point(close(seed))) for seed in range(5))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", ["random", "cancelling", "spikes", "tiny", "float64"])
@pytest.mark.parametrize("dimension", [1, 256, 257, 2048])
def test_the_bound_holds(kind: str, dimension: int, metric: Metric) -> None:
    """Against fixed point, for rows that add up badly: cancelling entries, one huge entry, denormals, float64."""
    random = np.random.default_rng(dimension)
    q, g = (random.standard_normal((n, dimension)) for n in (20, 50))
    if kind == "cancelling":
        g[:, ::2], q[:, ::2] = np.abs(g[:, ::2]), np.abs(q[:, ::2])
        g[:, 1::2] = -g[:, : dimension // 2 * 2 : 2]
    if kind == "spikes":
        q[:, 0], g[:, -1] = 1e6, 1e6
    if kind == "tiny":
        q[:, dimension // 2 :] *= 1e-42
        g[:, : dimension // 2] *= 1e-42
    q, g = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, g))
    q, g = (x.astype("f8" if kind == "float64" else "f4") for x in (q, g))
    both = Sides(queries=fixed_point(q, "query", metric), gallery=fixed_point(g, "gallery", metric), device=CPU)
    rows = [np.arange(len(x)) for x in (q, g)]
    out, scratch = torch.empty(2, len(q), len(g))
    q_single, g_single = (
        both.singles(side, numbers, np.empty((len(numbers), dimension), np.float32))
        for side, numbers in zip((both.queries, both.gallery), rows, strict=True)
    )
    both.approximate(q_single, g_single, rows[1], out=out, scratch=scratch)
    wholes = both.wholes(both.queries, rows[0])
    steps = both.similarities(torch.mm(wholes, both.wholes(both.gallery, rows[1]).T), rows[0][:, None], rows[1]).numpy()
    wanted = np.stack([both.references(column, rows[0]) for column in steps.T], axis=1)
    assert np.abs(out.numpy() - wanted).max() <= both.margin
    assert error_bound(dimension) < 4e-5


def test_a_collapsed_model_scores_chance() -> None:
    """All pairs in doubt: compared in fixed point, one group a query, and the score is chance."""
    q, g, *rest = arguments(1)
    problem = (np.repeat(q[:1], len(q), 0), np.repeat(q[:1], len(g), 0), *rest)
    ranking = rank(*problem)
    assert (ranking.groups.tied_images == ranking.images).all()
    _, scores = score(ranking)
    assert scores.mAP.value == pytest.approx(scores.chance_mAP, abs=1e-12)
