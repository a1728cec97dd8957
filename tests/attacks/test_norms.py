"""Norms: measuring, stepping, projecting and starting at random, each against its definition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustreid.attacks.draw import Draw
from robustreid.attacks.norms import NORM
from robustreid.attacks.threat import NormName
from scipy.stats import kstest  # type: ignore[import-untyped]
from torch import Tensor

BOTH = pytest.mark.parametrize("norm", ["linf", "l2"])
NAMES = st.sampled_from(["linf", "l2"])
TYPES = st.sampled_from([torch.float32, torch.float64])


def normal(seed: int, shape: tuple[int, ...] = (3, 3, 4, 2), dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def clean_counts(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randint(0, 256, (3, 3, 4, 2), generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_measure() -> None:
    """The largest entry and the Euclidean length, per image, in float64."""
    delta = torch.tensor([[3.0, -4.0], [0.0, 0.0]]).reshape(2, 1, 1, 2)
    assert NORM["linf"].measure(delta).tolist() == [4.0, 0.0]
    assert NORM["l2"].measure(delta).tolist() == [5.0, 0.0]
    assert NORM["l2"].measure(delta).dtype == torch.float64


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_a_direction_gains_most(norm: NormName, dual: int) -> None:
    """A step of length one gains the dual norm of the gradient (Hoelder's bound), for every image its own."""
    gradient = normal(0) * torch.tensor([1e-12, 1.0, 1e6]).double().reshape(3, 1, 1, 1)
    step = NORM[norm].direction(gradient)
    torch.testing.assert_close(torch.ones(3).double(), NORM[norm].measure(step))
    torch.testing.assert_close(gradient.flatten(1).norm(p=dual, dim=1), (step * gradient).flatten(1).sum(1))


@BOTH
def test_a_zero_gradient_gives_no_step(norm: NormName) -> None:
    """Not a NaN, and no step for the one image that has none."""
    gradient = normal(0)
    gradient[1] = 0
    step = NORM[norm].direction(gradient)
    assert not step[1].any()
    assert step[0].any()


def test_an_l2_direction_of_float32_has_length_one() -> None:
    """Also where all entries of a large image are equal: float32's own sum would be wrong by 7e-5 of itself."""
    flat = NORM["l2"].direction(torch.ones(1, 3, 256, 128))
    assert NORM["l2"].measure(flat).item() == pytest.approx(1, abs=1e-7)


@given(norm=NAMES, dtype=TYPES, seed=st.integers(0, 2**32), radius=st.floats(0, 60), reach=st.floats(0, 300))
def test_a_projection_lies_inside(norm: NormName, dtype: torch.dtype, seed: int, radius: float, reach: float) -> None:
    """In the ball and in [0, 255]; what was inside stays, and projecting twice changes nothing more."""
    clean = clean_counts(seed, dtype)
    counts = clean + reach * normal(seed + 1, dtype=dtype)
    found = NORM[norm].project(counts, clean, radius)
    assert found.dtype == dtype
    assert found.min() >= 0
    assert found.max() <= 255
    assert (NORM[norm].measure(found.double() - clean.double()) <= radius + 1e-6 * 255).all()
    inside = NORM[norm].measure(counts - clean) <= radius
    ranged = ((counts >= 0) & (counts <= 255)).flatten(1).all(1)
    torch.testing.assert_close(counts[inside & ranged], found[inside & ranged], rtol=0, atol=1e-4)
    torch.testing.assert_close(found, NORM[norm].project(found, clean, radius), rtol=0, atol=1e-4)


@given(seed=st.integers(0, 2**32), counts=st.integers(0, 40))
def test_a_whole_l_inf_projection_is_exact(seed: int, counts: int) -> None:
    """Whole counts stay whole in float32, so that nothing passes the ball by a last bit."""
    clean = clean_counts(seed, torch.float32)
    found = NORM["linf"].project(clean + 50 * normal(seed, dtype=torch.float32).round(), clean, float(counts))
    assert torch.equal(found.round(), found)
    assert ((found - clean).abs() <= counts).all()


@BOTH
def test_a_projection_is_the_nearest_point_of_the_ball(norm: NormName) -> None:
    """No random point of the ball is nearer (away from the range's ends)."""
    clean = torch.full((1, 1, 2, 2), 128.0, dtype=torch.float64)
    counts = clean + 20 * normal(3, (1, 1, 2, 2))
    found = NORM[norm].project(counts, clean, 9.0)
    uniform = Draw(0, tuple(map(str, range(3000)))).batch(0, 0, torch.zeros(3000, 1, 2, 2).double())
    others = clean + 9 * NORM[norm].start(uniform)
    assert (found - counts).norm() <= (others - counts).flatten(1).norm(dim=1).min()


@given(norm=NAMES, dtype=TYPES, seed=st.integers(0, 2**32))
def test_random_points_lie_in_the_ball_and_on_the_sphere(norm: NormName, dtype: torch.dtype, seed: int) -> None:
    """A start has at most length one, a surface point exactly that."""
    uniform = torch.rand(3, 3, 4, 2, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    uniform[0, 0, 0, :2] = torch.tensor([0.0, 1 - 2.0**-53]).to(dtype)
    ball, sphere = NORM[norm].start(uniform), NORM[norm].surface(uniform)
    assert ball.dtype == sphere.dtype == dtype
    assert (NORM[norm].measure(ball) <= 1 + 1e-6).all()
    torch.testing.assert_close(torch.ones(3).double(), NORM[norm].measure(sphere), rtol=0, atol=1e-6)


@pytest.mark.parametrize("points", [1, 2, 3])
@BOTH
def test_starts_fill_the_ball_evenly(norm: NormName, points: int) -> None:
    """The share of the ball within a point's radius is uniform, and says nothing about its direction."""
    uniform = Draw(1, tuple(map(str, range(3000)))).batch(0, 0, torch.zeros(3000, 1, 1, points).double())
    found = NORM[norm].start(uniform)
    length = NORM[norm].measure(found)
    assert kstest((length**points).numpy(), "uniform").pvalue > 0.01
    toward = (found.flatten(1)[:, 0] / length).numpy()
    assert abs(np.corrcoef(toward, length.numpy())[0, 1]) < 0.06
    assert abs(toward.mean()) < 0.06


def test_l_inf_surface_is_fair() -> None:
    """Signs, half of them each."""
    signs = NORM["linf"].surface(Draw(0, ("a",)).batch(0, 0, torch.zeros(1, 3, 64, 32)))
    assert {-1.0, 1.0} == set(signs.flatten().tolist())
    assert abs(signs.mean()) < 4 / math.sqrt(signs.numel())


@BOTH
def test_nothing_depends_on_the_neighbours(norm: NormName) -> None:
    """Each image alone gives what it gives in the batch."""
    clean, gradient, uniform = clean_counts(0), normal(1), clean_counts(2) / 256
    ways: list[Any] = [
        lambda rows: NORM[norm].measure(gradient[rows]),
        lambda rows: NORM[norm].direction(gradient[rows]),
        lambda rows: NORM[norm].project(clean[rows] + 9 * gradient[rows], clean[rows], 6.5),
        lambda rows: NORM[norm].start(uniform[rows]),
        lambda rows: NORM[norm].surface(uniform[rows]),
    ]
    for way in ways:
        assert torch.equal(way([0, 1, 2]), torch.cat([way([row]) for row in range(3)]))
