"""Random numbers depend on (seed, image, restart, step), and on nothing else."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustreid.attacks.draw import Draw
from scipy.stats import kstest  # type: ignore[import-untyped]

IDS = ("query/0001_c1.png", "query/0002_c1.png", "gallery/0001_c2.png", "")
LIKE = torch.zeros(4, 3, 5, 2, dtype=torch.float64)


def test_golden_values() -> None:
    """Another machine, and another version, must draw these very numbers."""
    golden = {
        (0, "query/0001_c1.png", 0, 0): [0.06236849433353053, 0.15711716504673912, 0.7534719049039046],
        (7, "query/0001_c1.png", 2, 1): [0.34337526752128, 0.734396306386588, 0.56158091203549],
        (0, "", 0, 0): [0.6666030002557638, 0.3647554562045683, 0.013979392058219298],
    }
    for (seed, image_id, restart, step), expected in golden.items():
        assert expected == Draw(seed, IDS)(image_id, restart, step, (3,)).tolist()


@given(order=st.permutations(range(4)), size=st.integers(1, 4), seed=st.integers(0, 2**40))
def test_the_same_whatever_the_batch_and_order(order: list[int], size: int, seed: int) -> None:
    """Each image has its numbers, alone or among others, at any place."""
    expected = Draw(seed, IDS).batch(1, 2, LIKE)[order]
    parts = [order[start : start + size] for start in range(0, 4, size)]
    found = [Draw(seed, tuple(IDS[row] for row in part)).batch(1, 2, LIKE[: len(part)]) for part in parts]
    assert torch.equal(expected, torch.cat(found))


def test_a_batch_has_the_type_of_its_images() -> None:
    """Made in float64 on the CPU, then rounded."""
    exact = Draw(0, IDS).batch(0, 0, LIKE)
    assert exact.dtype == torch.float64
    assert torch.equal(exact.float(), Draw(0, IDS).batch(0, 0, LIKE.float()))


def test_every_part_of_the_key_matters() -> None:
    """Another seed, image, restart or step gives other numbers, also where the parts would read the same in a row."""
    streams = [
        Draw(seed, IDS)(image_id, restart, step, (8,))
        for seed in (0, 1, 11)
        for image_id in ("a", "b", "1\na")
        for restart in (0, 1, 11)
        for step in (0, 1, 11)
    ]
    distinct = {tuple(stream.tolist()) for stream in streams}
    assert len(streams) == len(distinct)
    correlation = np.corrcoef([Draw(0, IDS)("a", 0, step, (4000,)).numpy() for step in range(5)])
    assert np.abs(correlation - np.eye(5)).max() < 0.06


def test_a_shorter_draw_is_the_beginning_of_a_longer_one() -> None:
    """The shape only folds the stream."""
    flat = Draw(0, IDS)("a", 0, 0, (30,))
    assert torch.equal(flat.reshape(3, 5, 2), Draw(0, IDS)("a", 0, 0, (3, 5, 2)))
    assert torch.equal(flat[:7], Draw(0, IDS)("a", 0, 0, (7,)))


def test_uniform() -> None:
    """Numbers in [0, 1): the distribution, its moments, and no serial correlation."""
    numbers = Draw(0, IDS)("a", 0, 0, (20_000,)).numpy()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert kstest(numbers, "uniform").pvalue > 0.01
    assert pytest.approx([(numbers**power).mean() for power in (1, 2, 3)], abs=0.01) == [1 / 2, 1 / 3, 1 / 4]
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.03
    across = np.array([Draw(0, IDS)(f"image {index}", 0, 0, (1,)).item() for index in range(2000)])
    assert kstest(across, "uniform").pvalue > 0.01


def test_another_number_of_images_is_refused() -> None:
    """A batch that is not the one the names belong to."""
    with pytest.raises(ValueError, match="expected 4 images, got 3"):
        Draw(0, IDS).batch(0, 0, LIKE[:3])


def test_global_random_state_is_untouched() -> None:
    """Neither read nor moved."""
    states = []
    for _ in range(2):
        states.append((torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()))  # noqa: NPY002
        Draw(0, IDS).batch(0, 0, LIKE)
    assert all(before == after for before, after in pairwise(states))
