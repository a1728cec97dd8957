"""8-bit counts: exact round trips, and a rounding that no norm can grow by."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustreid.attacks.counts import SNAP, from_counts, quantise, snap, to_counts
from robustreid.attacks.norms import NORM
from robustreid.attacks.threat import NormName
from torch import Tensor

TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
EVERY = torch.arange(256).reshape(1, 1, 16, 16)


@TYPES
def test_8_bit_images_survive_the_round_trip_bit_for_bit(dtype: torch.dtype) -> None:
    """u8 / 255 to counts is whole, and back it is the same number."""
    images = EVERY.to(dtype) / 255
    assert torch.equal(EVERY.to(dtype), to_counts(images))
    assert torch.equal(images, from_counts(to_counts(images)))


def test_snap_moves_only_what_is_nearly_whole() -> None:
    """Rounding errors are taken away, true fractions stay."""
    counts = torch.tensor([3.0, 3 + SNAP / 2, 3 - SNAP / 2, 3 + 2 * SNAP, 3.5, 2.9], dtype=torch.float64)
    expected = torch.tensor([3.0, 3.0, 3.0, 3 + 2 * SNAP, 3.5, 2.9], dtype=torch.float64)
    assert torch.equal(expected, snap(counts))


@TYPES
def test_whole_steps_are_left_alone(dtype: torch.dtype) -> None:
    """Every pixel and every whole step that stays in range comes back as it is."""
    clean = EVERY.to(dtype) / 255
    for step in (-16, -5, -1, 0, 1, 2, 8, 255):
        moved = (EVERY + step).clamp(0, 255).to(dtype) / 255
        assert torch.equal(moved, quantise(moved, clean))


@TYPES
def test_fractions_are_rounded_toward_the_clean_pixel(dtype: torch.dtype) -> None:
    """Up or down, what is left of a count is dropped."""
    clean = torch.full((1, 1, 1, 6), 100.0, dtype=dtype) / 255
    moved = clean + torch.tensor([0.4, 0.9, -0.4, -0.9, 2.6, -2.6], dtype=dtype) / 255
    expected = torch.tensor([100.0, 100, 100, 100, 102, 98], dtype=dtype) / 255
    assert torch.equal(expected, quantise(moved, clean).flatten())


def assert_only_shrinks(rounding: Callable[[Tensor, Tensor], Tensor], images: Tensor, clean: Tensor) -> None:
    """The check: on the grid exactly, in [0, 1], and no farther from the clean image in either norm."""
    rounded = rounding(images, clean)
    assert torch.equal(from_counts((rounded * 255).round()), rounded)
    assert rounded.min() >= 0
    assert rounded.max() <= 1
    assert rounded.dtype == clean.dtype
    for norm in NORM.values():
        before, after = (norm.measure(x.double() - clean.double()) for x in (images, rounded))
        assert (after <= before + 1e-6).all()


def moved_images(seed: int, size: float, norm: NormName, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Images (2, 3, 5, 4) somewhere in or on the ball of `size` counts around clean ones."""
    source = torch.Generator().manual_seed(seed)
    clean = torch.randint(0, 256, (2, 3, 5, 4), generator=source).to(dtype)
    uniform = torch.rand(clean.shape, generator=source, dtype=dtype)
    delta = NORM[norm].surface(uniform) if seed % 2 else NORM[norm].start(uniform)
    return from_counts(NORM[norm].project(clean + size * delta, clean, size)), from_counts(clean)


@given(
    seed=st.integers(0, 2**32),
    size=st.one_of(st.integers(0, 32).map(float), st.floats(0, 40)),
    norm=st.sampled_from(["linf", "l2"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_no_norm_grows(seed: int, size: float, norm: NormName, dtype: torch.dtype) -> None:
    """Whole and fractional budgets of both norms, in both types."""
    assert_only_shrinks(quantise, *moved_images(seed, size, norm, dtype))


def half_up(images: Tensor, clean: Tensor) -> Tensor:
    """The wrong twin: the nearest 8-bit image."""
    del clean
    return from_counts((images * 255 + 0.5).floor())


def truncated(images: Tensor, clean: Tensor) -> Tensor:
    """Another wrong twin: `mul(255).byte()`, as public code saves it, which rounds toward black."""
    del clean
    return from_counts((images * 255).floor())


@pytest.mark.parametrize("wrong", [half_up, truncated])
def test_another_rounding_is_rejected(wrong: Any) -> None:
    """What passes for the right one fails for the nearest level, and for truncation."""
    images, clean = moved_images(1, 4.7, "linf", torch.float64)
    assert_only_shrinks(quantise, images, clean)
    with pytest.raises(AssertionError):
        assert_only_shrinks(wrong, images, clean)


@given(counts=st.fractions(0, 32, max_denominator=7), seed=st.integers(0, 1000))
def test_a_rounded_l_inf_ball_keeps_the_whole_part_of_its_radius(counts: Fraction, seed: int) -> None:
    """After rounding, the largest change is floor(epsilon * 255) levels wherever the range leaves room."""
    images, clean = moved_images(2 * seed + 1, float(counts), "linf", torch.float64)
    change = ((quantise(images, clean) - clean) * 255).round().abs()
    room = (clean * 255 >= 33) & (clean * 255 <= 222)
    assert change.max() <= int(counts)
    assert (change[room] == int(counts)).all()
