"""Whole-number chance: the same everywhere, and even."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from robustreid.benchmark.datasets.synthetic.chance import Chance


def test_the_stream_is_written_down() -> None:
    """The first numbers of one key, so that no change of Python, NumPy or machine goes unseen."""
    chance = Chance(0, "person", 1)
    assert [chance.below(1000) for _ in range(6)] == [381, 282, 227, 106, 965, 758]
    assert Chance(0, "person", 1).field(2, 2).tolist() == [
        [13864107547739070629, 847072877575308418],
        [7443062544873918273, 10568730162462924465],
    ]


def test_keys_of_other_kinds_and_orders_differ() -> None:
    """1 and "1", (1, 2) and (2, 1), a word and its beginning: all have streams of their own."""
    keys: list[tuple[int | str, ...]] = [
        (1,),
        ("1",),
        (1, 2),
        (2, 1),
        (1, 0),
        (0, 1),
        ("ab",),
        ("a", "b"),
        ("a",),
        (2**63,),
        (2**64 + 1,),
        (),
    ]
    assert len({Chance(*key).bits() for key in keys}) == len(keys)


@pytest.mark.parametrize("count", [2, 3, 7, 10])
def test_every_value_comes_as_often(count: int) -> None:
    """Frequencies over many keys stay within five standard deviations of even."""
    n = 6000
    found = Counter(Chance("even", index).below(count) for index in range(n))
    assert set(found) == set(range(count))
    allowed = 5 * np.sqrt(n * (1 / count) * (1 - 1 / count))
    assert max(abs(times - n / count) for times in found.values()) < allowed


def test_weights_are_kept() -> None:
    """A value of weight 3 comes three times as often as one of weight 1; one of weight 0 never."""
    found = Counter(Chance("weights", index).weighted([("a", 3), ("b", 1), ("c", 0)]) for index in range(4000))
    assert found["c"] == 0
    assert 2700 < found["a"] < 3300


def test_bounds_are_both_reached() -> None:
    """`between` includes both ends, `around` stays within its spread."""
    found = {Chance("between", index).between(-2, 2) for index in range(400)}
    assert found == {-2, -1, 0, 1, 2}
    assert {abs(Chance("around", index).around(50, 3) - 50) for index in range(400)} == {0, 1, 2, 3}
