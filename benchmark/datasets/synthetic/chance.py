"""Chance that is the same everywhere: whole numbers from a counter, never floats and never a library's generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_MASK = 2**64 - 1
_STEP = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB

_T = TypeVar("_T")


def _mixed(value: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit of the input moves every bit."""
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


class Chance:
    """A stream of whole numbers that its key alone decides.

    >>> Chance(0, "hair", 7).below(100) == Chance(0, "hair", 7).below(100)
    True

    Args:
        *key: numbers and words; streams of different keys have nothing to do with one another.
    """

    def __init__(self, *key: int | str) -> None:
        self._state = _STEP
        for part in key:
            # A word's letters as one number, and its kind, so that 1 and "1" differ.
            word = int.from_bytes(part.encode(), "big") * 2 + 1 if isinstance(part, str) else part * 2
            while True:
                self._state = _mixed((self._state ^ (word & _MASK)) + _STEP & _MASK)
                word >>= 64
                if word in {0, -1}:
                    break

    def bits(self) -> int:
        """The next 64 bits."""
        self._state = (self._state + _STEP) & _MASK
        return _mixed(self._state)

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1."""
        return (self.bits() * count) >> 64

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + self.below(high - low + 1)

    def around(self, middle: int, spread: int) -> int:
        """A whole number at most `spread` from `middle`, more often near it: the mean of two draws."""
        return middle + (self.between(-2 * spread, 2 * spread) + self.between(-2 * spread, 2 * spread)) // 4

    def one_in(self, count: int) -> bool:
        """True once in `count` times."""
        return self.below(count) == 0

    def pick(self, values: Sequence[_T]) -> _T:
        """One of the values."""
        return values[self.below(len(values))]

    def weighted(self, values: Sequence[tuple[_T, int]]) -> _T:
        """One of the values, as often as its weight says."""
        left = self.below(sum(weight for _, weight in values))
        for value, weight in values:
            left -= weight
            if left < 0:
                return value
        raise AssertionError("a weight was negative")

    def field(self, *shape: int) -> NDArray[np.uint64]:
        """Independent 64-bit numbers, an array of the shape."""
        count = int(np.prod(shape))
        value = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_STEP) + np.uint64(self.bits())
        value = (value ^ (value >> np.uint64(30))) * np.uint64(_FIRST)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(_SECOND)
        return (value ^ (value >> np.uint64(31))).reshape(shape)
