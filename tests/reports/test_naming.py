"""Names of others as file names and in narrow places."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from robustreid.reports.naming import printable, short, slug, upright


@given(st.lists(st.text(), min_size=1, max_size=3), st.lists(st.text(), min_size=1, max_size=3))
def test_a_slug_is_a_plain_file_name(parts: list[str], others: list[str]) -> None:
    """Letters, digits and hyphens, bounded; two names never share one."""
    made = slug(*parts)
    assert re.fullmatch(r"[a-z0-9-]{1,60}", made)
    assert (made == slug(*others)) == (parts == others)


@given(st.text(max_size=300))
def test_short_is_short_and_printable(text: str) -> None:
    """No control character is left, no more characters than asked for, and a short text stays."""
    for made in (short(text), upright(text)):
        assert len(made) <= 48
        assert made == printable(made)
    if len(text) < 28:
        assert short(text) == printable(text)
