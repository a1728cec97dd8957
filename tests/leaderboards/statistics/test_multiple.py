"""Corrections for many tests, against plain loops and their properties."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from robustreid.leaderboards.statistics.multiple import benjamini_hochberg, holm

Adjust = Callable[[Sequence[float]], tuple[float, ...]]
P_VALUES = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 0.05, 1.0])), min_size=1, max_size=25)


def holm_rejects(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Holm's steps as he wrote them: from the smallest, until one is too large."""
    order, rejected = sorted(range(len(p_values)), key=lambda i: p_values[i]), [False] * len(p_values)
    for done, place in enumerate(order):
        if p_values[place] > alpha / (len(p_values) - done):
            break
        rejected[place] = True
    return rejected


def benjamini_hochberg_rejects(p_values: Sequence[float], alpha: float) -> list[bool]:
    """All up to the largest k with p(k) <= k alpha / m."""
    count = len(p_values)
    reached = [k for k, p in enumerate(sorted(p_values), 1) if p <= k * alpha / count]
    limit = sorted(p_values)[reached[-1] - 1] if reached else -1.0
    return [p <= limit for p in p_values]


def check_steps(adjust: Adjust, steps: Callable[[Sequence[float], float], list[bool]], p_values: list[float]) -> None:
    """Adjusted values at most alpha are just those that the steps reject at alpha; not asked where rounding decides."""
    adjusted = adjust(p_values)
    for alpha in (0.001, 0.05, 0.0731, 0.5):
        if all(abs(value - alpha) > 1e-9 for value in adjusted):
            assert [value <= alpha for value in adjusted] == steps(p_values, alpha)


@given(p_values=P_VALUES)
@settings(max_examples=150, deadline=None)
def test_adjusted_values_reject_what_the_steps_reject(p_values: list[float]) -> None:
    """Both corrections agree with their definitions at several levels, ties and zeros among them."""
    check_steps(holm, holm_rejects, p_values)
    check_steps(benjamini_hochberg, benjamini_hochberg_rejects, p_values)


def not_monotone(p_values: Sequence[float]) -> tuple[float, ...]:
    """A wrong Holm that goes on after the first that is not rejected."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    factors = {place: len(p_values) - done for done, place in enumerate(order)}
    return tuple(min(1.0, p * factors[place]) for place, p in enumerate(p_values))


def test_a_correction_that_is_not_monotone_is_seen() -> None:
    """Of 0.03 and 0.04 Holm rejects neither; without the running maximum the larger one would stand."""
    check_steps(holm, holm_rejects, [0.03, 0.04])
    with pytest.raises(AssertionError):
        check_steps(not_monotone, holm_rejects, [0.03, 0.04])


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@given(p_values=P_VALUES, data=st.data())
@settings(max_examples=80, deadline=None)
def test_properties_of_a_correction(adjust: Adjust, p_values: list[float], data: st.DataObject) -> None:
    """It keeps probabilities, lowers none, keeps their order, and follows a permutation of its input."""
    adjusted = adjust(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, adjusted, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [after for _, after in pairs] == sorted(adjusted)
    order = data.draw(st.permutations(range(len(p_values))))
    assert adjust([p_values[i] for i in order]) == tuple(adjusted[i] for i in order)
    assert all(a >= b for a, b in zip(holm(p_values), benjamini_hochberg(p_values), strict=True))


def test_a_published_example() -> None:
    """The fifteen p-values of Benjamini and Hochberg (1995): at 5 % they keep four, and Holm three."""
    found = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    found += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    assert sum(p <= 0.05 for p in benjamini_hochberg(found)) == 4
    assert sum(p <= 0.05 for p in holm(found)) == 3
    assert holm(found)[:2] == pytest.approx((0.0015, 0.0056))
    assert benjamini_hochberg(found)[3] == pytest.approx(0.0095 * 15 / 4)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_no_tests_and_no_probabilities(adjust: Adjust) -> None:
    """Nothing gives nothing; NaN, numbers above 1 and tables are bugs of the caller."""
    assert adjust([]) == ()
    assert adjust([0.04]) == (0.04,)
    for wrong in ([float("nan")], [1.1], [-0.1], [[0.5]]):
        with pytest.raises(ValueError, match="p-values"):
            adjust(wrong)  # type: ignore[arg-type]
