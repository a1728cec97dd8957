"""`-k EXPR` against Python's own and, or, not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from robustreid import UserError
from robustreid.benchmark.config.grid import load_grid
from robustreid.benchmark.planner import make_plan
from robustreid.benchmark.selection import matcher, select_cells

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORDS = ("osnet", "5/255", "gallery", "ama-ifgsm", "GALLERY")
LABELS = ("osnet mini ama-ifgsm linf 5/255 gallery", "osnet mini noise linf 15/255 query seed=0", "", "Gallery")

_EXPRESSIONS = st.recursive(
    st.sampled_from(WORDS),
    lambda inner: st.one_of(
        inner.map(lambda text: f"not {text}"),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"( {text} )"),
        st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map("".join),
    ),
    max_leaves=12,
)


def by_python(expression: str, label: str) -> bool:
    """The same words and joints, evaluated by Python."""
    python = re.sub(r"[^\s()]+", lambda word: word[0] if word[0] in {"and", "or", "not"} else repr(word[0]), expression)
    python = re.sub(r"'([^']*)'", lambda word: str(word[1].lower() in label.lower()), python)
    return bool(eval(python))  # noqa: S307 (of words of our own)


@given(_EXPRESSIONS)
def test_expressions_mean_what_python_says(expression: str) -> None:
    """Binding, grouping and case, on every label."""
    matches = matcher(expression)
    assert [matches(label) for label in LABELS] == [by_python(expression, label) for label in LABELS]


def test_known_selections() -> None:
    """A few that people write."""
    chosen = {text: [matcher(text)(label) for label in LABELS] for text in ("osnet and not (noise or query)", "5/255")}
    assert chosen == {
        "osnet and not (noise or query)": [True, False, False, False],
        "5/255": [True, True, False, False],
    }


@pytest.mark.parametrize(
    ("expression", "place"),
    [
        ("", "its end"),
        ("   ", "its end"),
        ("a and", "its end"),
        ("or b", "or"),
        ("a b", "b"),
        ("a not b", "not"),
        ("(a", "its end"),
        ("a)", ")"),
        ("()", ")"),
        ("not", "its end"),
        ("a and or b", "or"),
    ],
)
def test_what_does_not_parse_says_where(expression: str, place: str) -> None:
    """One sentence with the expression, the place and an example."""
    said = f"-k {expression!r} does not parse at {place!r}; expected words joined with and, or, not and parentheses, "
    with pytest.raises(UserError, match=f"^{re.escape(said)}as in 'ama-ifgsm and not query'\\.$"):
        matcher(expression)


@given(st.text(alphabet="ab ()andortn\x00\u202e", max_size=30))
def test_any_text_parses_or_is_refused(expression: str) -> None:
    """Nothing that is typed ends in another error."""
    try:
        matches = matcher(expression)
    except UserError:
        return
    assert matches("a b") == by_python(expression, "a b")


def test_an_expression_that_matches_nothing_is_refused(write_grid: Callable[..., Path]) -> None:
    """A `-k` without a cell is a mistake; the message shows what a label reads like, and nothing is run."""
    cells = make_plan(load_grid(write_grid()), {}).cells
    assert select_cells(cells, None) == select_cells(cells, "ama") == list(cells)
    with pytest.raises(UserError, match="matches no cell of the grid; their labels read like 'lin mini ama-ifgsm"):
        select_cells(cells, "nothing-like-it")
