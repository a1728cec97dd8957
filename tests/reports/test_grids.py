"""Data sets of a grid: what they are, whatever they are called; whatever is odd says nothing."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from robustreid.reports.grids import AskedData, asked_data

NOTHING = AskedData(format="", protocol="")


def test_formats_and_protocols() -> None:
    """By label: the entry's format, or the label where that is one; the protocol where it is said."""
    text = """
    datasets:
      - market1501
      - {name: sysu, format: synthetic, protocol: sysu-all}
      - name: mine
        format: occluded-duke
        root: "${DATA}/x"
      - {name: theirs, format: my-plugin}
      - &a {name: aliased, format: dukemtmc}
    """
    assert asked_data(text) == {
        "market1501": AskedData(format="market1501", protocol=""),
        "sysu": AskedData(format="synthetic", protocol="sysu-all"),
        "mine": AskedData(format="occluded-duke", protocol=""),
        "theirs": NOTHING,
        "aliased": AskedData(format="dukemtmc", protocol=""),
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("datasets: 3", {}),
        ("- market1501", {}),
        ("datasets: [[market1501]]", {}),
        ("datasets: [", {}),
        ("\x00\ufffe", {}),
        ("datasets: [{format: sysu}]", {}),
        ("datasets: [{name: a, format: [sysu]}]", {"a": NOTHING}),
        ("datasets: [{name: a, format: sysu, format: synthetic}]", {"a": NOTHING}),
        ("datasets: [{name: a, format: sysu}, {name: a, format: regdb}]", {"a": NOTHING}),
        ("x: &x {format: sysu}\ndatasets: [{name: a, <<: *x}]", {"a": NOTHING}),
        (
            "datasets: [!!python/object/apply:os.system {name: a, format: sysu}]",
            {"a": AskedData(format="sysu", protocol="")},
        ),
        ("datasets: &a [*a]", {}),
        (f"datasets: {'[' * 20_000}", {}),
        (f"x: {'y' * 300_000}\ndatasets: [market1501]", {}),
    ],
)
def test_what_is_odd_says_nothing(text: str, found: dict[str, AskedData]) -> None:
    """And ends no reader."""
    assert asked_data(text) == found


def test_nothing_grows() -> None:
    """Aliases of aliases, forty levels deep, stay the few lines that they are."""
    levels = ["a0: &a0 {name: x}"] + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)]
    start = time.process_time()
    assert asked_data("\n".join([*levels, "datasets: [*a39, market1501]"])) == {
        "market1501": AskedData(format="market1501", protocol="")
    }
    assert time.process_time() - start < 60


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    """Without an error."""
    assert isinstance(asked_data(text), dict)
