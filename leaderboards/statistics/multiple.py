"""P-values adjusted for being one of many."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> tuple[float, ...]:
    """Adjusted p-values that hold the chance of any false alarm, whatever the dependence between the tests.

    Holm, Scandinavian Journal of Statistics 6 (1979): the k-th smallest of m times (m - k + 1), made monotone, at
    most 1. An adjusted value below 0.05 is significant at 5 % for the whole family.

    Args:
        p_values: (m,) in [0, 1], in any order.

    Returns:
        One number a test, in the order in which they came.

    Raises:
        ValueError: a value is no probability.
    """
    found = _checked(p_values)
    order = np.argsort(found, kind="stable")
    raised = np.maximum.accumulate(found[order] * np.arange(len(found), 0, -1))
    return _in_place(np.minimum(raised, 1), order)


def benjamini_hochberg(p_values: ArrayLike) -> tuple[float, ...]:
    """Adjusted p-values that hold the expected share of false alarms among the alarms.

    Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995): the k-th smallest of m times m / k, or
    that of a larger one if it is less. Proven for tests that are independent or positively dependent (Benjamini and
    Yekutieli 2001), as tests on the same queries mostly are.

    Args:
        p_values: (m,) in [0, 1], in any order.

    Returns:
        One number a test, in the order in which they came.

    Raises:
        ValueError: a value is no probability.
    """
    found = _checked(p_values)
    order = np.argsort(found, kind="stable")
    lowered = found[order] * (len(found) / np.arange(1, len(found) + 1))
    return _in_place(np.minimum.accumulate(lowered[::-1])[::-1], order)


def _checked(p_values: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(p_values, dtype=np.float64)
    if found.ndim != 1 or not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"expected a list of p-values in [0, 1], got {p_values!r}")
    return found


def _in_place(adjusted: NDArray[np.float64], order: NDArray[np.intp]) -> tuple[float, ...]:
    """Adjusted values, smallest p-value first, in the order in which the tests came."""
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return tuple(result.tolist())
