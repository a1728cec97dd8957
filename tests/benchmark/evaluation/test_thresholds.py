"""Counting between thresholds gives what a plain comparison of everything with everything gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from robustreid.benchmark.evaluation import devices
from robustreid.benchmark.evaluation.thresholds import Thresholds, thresholds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[Any]

CPU = torch.device("cpu")


def counted(values: list[FloatArray], tiles: list[FloatArray], width: float) -> tuple[list[int], list[int], int]:
    """Above and tied of each value, as the filter does it with bands of a half width, and how many were in doubt.

    Args:
        values: ascending, of each row.
        tiles: (R, G) float32 each.
        width: numbers closer to a value than this are looked at again, as they are.
    """
    every = np.concatenate(values)
    starts = np.concatenate([[0], np.cumsum([len(row) for row in values])])
    limits = thresholds(every, starts, every - width, every + width, CPU)
    n_doubtful = 0
    for tile in tiles:
        numbers = torch.from_numpy(tile.copy())
        near = limits.count(numbers, torch.empty_like(numbers))
        assert torch.equal(numbers, torch.from_numpy(tile))
        rows, number = near // tile.shape[1], numbers.view(-1)[near]
        inside = limits.count_outside(rows, number)
        limits.count_exact(rows[inside], number[inside].to(torch.float64))
        n_doubtful += int(inside.sum())
    above, tied = limits.above_and_tied()
    return above.tolist(), tied.tolist(), n_doubtful


def compared(values: list[FloatArray], tiles: list[FloatArray]) -> tuple[list[int], list[int]]:
    """The plain twin."""
    above, tied = [], []
    for row, own in enumerate(values):
        numbers = np.concatenate([tile[row].astype(np.float64) for tile in tiles])
        above += [int((numbers > value).sum()) for value in own]
        tied += [int((numbers == value).sum()) for value in own]
    return above, tied


def problem(seed: int, n_rows: int, center: float, spread: float, width: float) -> tuple[list[FloatArray], Any]:
    """Values and numbers, some of them equal to a value, at the end of a band, or one last bit beside it."""
    random = np.random.default_rng(seed)
    values = [
        np.unique(random.normal(0.0, spread, random.integers(1, 12)).astype(np.float32)).astype(np.float64)
        for _ in range(n_rows)
    ]
    tiles = []
    for _ in range(3):
        tile = random.normal(center, 1.0, (n_rows, 60)).astype(np.float32)
        for row, own in enumerate(values):
            ends = (np.concatenate([own, own - width, own + width])).astype(np.float32)
            ends = np.concatenate([ends, np.nextafter(ends, np.float32(9)), np.nextafter(ends, np.float32(-9))])
            some = random.choice(60, 20, replace=False)
            tile[row, some] = random.choice(ends, 20)
            tile[row, random.integers(0, 60)] = -np.inf
        tiles.append(tile)
    return values, tiles


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    n_rows=st.sampled_from([1, 3, 300]),
    center=st.sampled_from([-3.0, 0.0, 3.0]),
    spread=st.sampled_from([0.0, 1e-5, 0.3, 2.0]),
    width=st.sampled_from([1e-7, 1e-4, 0.1]),
    is_cpu=st.booleans(),
)
def test_everything_is_counted_as_compared(
    seed: int, n_rows: int, center: float, spread: float, width: float, is_cpu: bool
) -> None:
    """Numbers far from all values on either side, among them, or equal to them; one block of rows and several."""
    values, tiles = problem(seed, n_rows, center, spread, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "is_cpu", lambda device: is_cpu)
        above, tied, _ = counted(values, tiles, width)
    assert (above, tied) == compared(values, tiles)


def test_few_are_in_doubt() -> None:
    """Only numbers in a band are looked at again: of a hundred thousand, about those of its width."""
    random = np.random.default_rng(0)
    values, tiles = [np.array([0.1, 0.5, 0.9])], [random.random((1, 100_000), dtype=np.float32)]
    _, _, n_doubtful = counted(values, tiles, 1e-4)
    assert 20 < n_doubtful < 120


def _or_equal(self: Thresholds, bounds: torch.Tensor, rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """The planted bug: the first bound that is above the number, not one that is at or above it."""
    starts = [int(start) for start in self.starts]
    found = [
        starts[row] + int((bounds[starts[row] : starts[row + 1]] <= number).sum())
        for row, number in zip(rows.tolist(), numbers, strict=True)
    ]
    return torch.tensor(found, dtype=torch.int64)


def _at_or_above(self: Thresholds, bounds: torch.Tensor, rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """The right twin of that."""
    return _or_equal(self, torch.nextafter(bounds, torch.tensor(torch.inf, dtype=bounds.dtype)), rows, numbers)


@pytest.mark.parametrize(("twin", "is_right"), [(_at_or_above, True), (_or_equal, False)])
def test_a_wrong_comparison_is_caught(twin: Any, is_right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `<=` in place of `<` a tie counts as nearer."""
    monkeypatch.setattr(Thresholds, "_first", twin)
    problems = [problem(seed, 3, 0.0, 0.3, 1e-4) for seed in range(5)]
    assert all(counted(*each, 1e-4)[:2] == compared(*each) for each in problems) == is_right


@pytest.mark.parametrize("touched", ["first", "last"])
def test_a_bin_that_is_forgotten_is_caught(touched: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: of the two bins that a band touches one is taken for clear."""

    def forgetful(*arguments: Any) -> Thresholds:
        limits = made(*arguments)
        rows = torch.repeat_interleave(torch.arange(len(limits.bases)), torch.diff(limits.starts))
        bound = limits.lows if touched == "first" else limits.highs
        bins = ((bound - limits.bases[rows, 0]) * limits.scales[rows, 0]).to(torch.int64) + 1
        level = torch.arange(len(rows)) + rows + 1
        limits.table[rows, bins] = level.to(torch.int32) + (touched == "last")
        return limits

    made = thresholds
    monkeypatch.setitem(globals(), "thresholds", forgetful)
    problems = [problem(seed, 3, 0.0, 0.3, 1e-4) for seed in range(5)]
    assert any(counted(*each, 1e-4)[:2] != compared(*each) for each in problems)
