"""Threats: exact radii, their labels, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from robustreid import UserError
from robustreid.attacks.threat import NormName, Threat, parse_epsilon


def test_one_radius_has_one_threat() -> None:
    """5/255, 10/510, 1/51 and the float nearest to them are equal, and so are their hashes."""
    same = {
        Threat(norm="linf", epsilon=parse_epsilon(text)) for text in ("5/255", "10/510", "1/51", " 5 / 255 ", 5 / 255)
    }
    assert {Threat(norm="linf", epsilon=Fraction(1, 51))} == same
    assert Threat(norm="l2", epsilon=Fraction(1, 51)) not in same


@given(counts=st.integers(0, 255))
def test_a_float_of_whole_counts_is_exact(counts: int) -> None:
    """`k / 255` computed by Python means k/255, so that no schedule loses its last step to a rounded radius."""
    assert Fraction(counts, 255) == parse_epsilon(counts / 255)
    assert Fraction(counts, 255) == parse_epsilon(f"{counts}/255")


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (Fraction(3, 100), 0.03),
        (Fraction(3, 100), "0.03"),
        (Fraction(1, 1000), "1e-3"),
        (Fraction(1, 2), ".5"),
        (Fraction(9, 510), "4.5/255"),
        (Fraction(1), 1.0),
        (Fraction(1), "255/255"),
        (Fraction(0), 0),
        (Fraction(0), "0"),
        (Fraction(0), "0/255"),
    ],
)
def test_radii(expected: Fraction, value: str | float) -> None:
    """Fractions, decimals and zero."""
    assert expected == parse_epsilon(value)


@pytest.mark.parametrize(("named", "value"), [("8/255", 8), ("8/255", "8"), ("1/255", 1), ("255/255", " 255 ")])
def test_a_bare_integer_is_refused(named: str, value: str | int) -> None:
    """8 may mean 8/255 or 8 times the range; the message names what to write."""
    with pytest.raises(UserError, match=rf"ambiguous.* write {named}\.$"):
        parse_epsilon(value)


@pytest.mark.parametrize(
    "value",
    ["-1/255", -0.1, "nan", float("nan"), "inf", float("inf"), "", "/255", "8/", "8/0", "8/-255", "8/25.5", "1/2/3"],
)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_no_radius_is_refused(value: str | float, norm: NormName) -> None:
    """Negative, not finite or malformed, for either norm."""
    with pytest.raises(UserError, match=r"is not a radius: expected a fraction such as 8/255.*\.$"):
        parse_epsilon(value, norm)


@pytest.mark.parametrize("value", ["8/255px", "eight", True, "1.", "+1/255", "0x8", "1e999999999", "\u0661/255"])
def test_what_is_no_number_is_refused(value: str | float) -> None:
    """Words, digits of other scripts, and a number that would fill the memory."""
    with pytest.raises(UserError, match=r"is not a radius: expected a fraction such as 8/255.*\.$"):
        parse_epsilon(value)


@pytest.mark.parametrize("value", ["8.0", 8.0, "256/255", "1.001"])
def test_larger_than_the_range_is_refused(value: str | float) -> None:
    """No L-inf radius passes 1."""
    with pytest.raises(UserError, match="larger than the pixel range"):
        parse_epsilon(value)


@pytest.mark.parametrize(("expected", "value"), [(2, 2), (Fraction(5, 2), 2.5), (Fraction(1, 2), "0.5"), (8, "8")])
def test_an_l2_radius_is_any_positive_number(expected: Fraction, value: str | float) -> None:
    """An L2 length has no upper limit and no ambiguity."""
    assert expected == parse_epsilon(value, "l2")


@pytest.mark.parametrize(
    ("expected", "norm", "epsilon"),
    [
        ("5/255", "linf", Fraction(1, 51)),
        ("0/255", "linf", Fraction(0)),
        ("255/255", "linf", Fraction(1)),
        ("4.50/255", "linf", Fraction(9, 510)),
        ("2.55/255", "linf", Fraction(1, 100)),
        ("0.25/255", "linf", Fraction(1, 1020)),
        ("0.5", "l2", Fraction(1, 2)),
        ("2", "l2", Fraction(2)),
    ],
)
def test_labels(expected: str, norm: NormName, epsilon: Fraction) -> None:
    """k/255 where that is whole, else two decimals over 255; an L2 radius as a plain number."""
    assert expected == Threat(norm=norm, epsilon=epsilon).label


def test_radius_in_counts() -> None:
    """Epsilon times 255."""
    assert Threat(norm="linf", epsilon=Fraction(1, 51)).radius == 5.0
    assert Threat(norm="l2", epsilon=Fraction(1, 2)).radius == 127.5


@pytest.mark.parametrize(
    ("norm", "epsilon"),
    [("l1", Fraction(1, 2)), ("linf", Fraction(-1, 255)), ("linf", Fraction(2)), ("l2", Fraction(-1))],
)
def test_threats_without_meaning_are_refused(norm: NormName, epsilon: Fraction) -> None:
    """Another norm, a negative radius, an L-inf radius beyond the range."""
    with pytest.raises(ValueError, match="expected"):
        Threat(norm=norm, epsilon=epsilon)
