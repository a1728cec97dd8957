"""Hostile texts in every format: nothing ends a cell, starts a command or reaches the terminal.

Every check is a function of a whole output, so that a planted wrong twin meets the same function.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from robustreid.leaderboards.standing import Standings
from robustreid.reports import escaping, formats
from robustreid.reports.escaping import inert, latex, markdown, plain, width
from robustreid.reports.formats import render

#: What LaTeX output may hold: ours, and the characters and accents that texts turn into.
COMMANDS = {
    *("begin", "end", "centering", "scriptsize", "setlength", "tabcolsep", "caption", "label", "emph", "toprule"),
    *(
        "midrule",
        "bottomrule",
        "par",
        "smallskip",
        "raggedright",
        "shortstack",
        "tiny",
        "ldots",
        "ss",
        "ae",
        "AE",
        "o",
        "O",
        "l",
        "L",
    ),
    *("textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar"),
    *("r", "H", "v", "c"),
}


def latex_problems(text: str) -> list[str]:
    """What would keep LaTeX from compiling it, or make it do more than set text."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    found = [] if body.isascii() else ["not ASCII"]
    found += [f"command {name}" for name in re.findall(r"\\([A-Za-z]+)", body) if name not in COMMANDS]
    found += [f"environment {name}" for name in re.findall(r"\\(?:begin|end)\{([^}]*)\}", body) if name not in KNOWN]
    bare = re.sub(r"\\(?:[A-Za-z]+|.)", "", body)
    found += [f"bare {character}" for character in set(bare) & set('%$#_^~\\"')]
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            break
    found += ["braces"] if depth else []
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", body)
    rows = re.findall(r"^(.*) \\\\$", body, re.MULTILINE)
    found += [
        f"cells: {row[:40]}"
        for row in rows
        if len(re.findall(r"(?<!\\)&", row)) + 1 != len(columns[1] if columns else "")
    ]
    return found


KNOWN = {"table*", "tabular"}


def markdown_problems(text: str) -> list[str]:
    """Tags, rows with another number of cells, links, and what no terminal should get."""
    lines = text.splitlines()
    rows = [line for line in lines if line.startswith("|")]
    counts = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    found = [] if len(counts) < 2 else [f"cells: {sorted(counts)}"]
    found += ["tag"] if re.search(r"[<>]", text) else []
    found += ["link"] if re.search(r"(?<!\\)[\[\]`]", text) else []
    return found + control_problems(text)


def control_problems(text: str) -> list[str]:
    """Characters that steer a terminal or turn the direction of what follows."""
    return [
        f"control {ord(c):x}" for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp", "Cs"}
    ]


def csv_problems(text: str, n_rows: int) -> list[str]:
    """Cells that a spreadsheet takes for a formula, and lines that are no rows."""
    rows = list(csv.reader(io.StringIO(text)))
    found = [] if len(rows) == 1 + n_rows and len(set(map(len, rows))) == 1 else [f"rows: {len(rows)}"]
    for cell in (cell for row in rows for cell in row):
        is_number = re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", cell)
        if cell.lstrip()[:1] in {"=", "+", "-", "@"} and not is_number:
            found.append(f"formula {cell[:20]}")
    return found + control_problems(text)


@pytest.fixture(scope="module")
def problems() -> Callable[[Standings], dict[str, list[str]]]:
    """A function that gives what is wrong with each format of a board."""

    def find(standings: Standings) -> dict[str, list[str]]:
        found = {
            "latex": latex_problems(render(standings, "latex")),
            "md": markdown_problems(render(standings, "md")),
            "csv": csv_problems(render(standings, "csv"), len(standings.rows)),
            "table": control_problems(render(standings, "table")),
            "json": control_problems(render(standings, "json")),
        }
        return {form: wrong for form, wrong in found.items() if wrong}

    return find


def test_hostile_texts_are_inert_in_every_format(
    problems: Callable[[Standings], Any], sample_standings: Standings, hostile_standings: Standings
) -> None:
    """As label, finder, flag, card and reason."""
    assert problems(sample_standings) == {}
    assert problems(hostile_standings) == {}


@pytest.mark.parametrize(("form", "name"), [("latex", "latex"), ("md", "markdown"), ("table", "plain")])
def test_a_format_that_does_not_escape_is_found(
    problems: Callable[[Standings], Any],
    hostile_standings: Standings,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    name: str,
) -> None:
    """Planted: texts go through as they are."""
    monkeypatch.setattr(formats, name, lambda text, length=0: text)
    assert form in problems(hostile_standings)


def test_a_csv_with_formulas_is_found(
    problems: Callable[[Standings], Any], hostile_standings: Standings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: nothing stands before a formula."""
    monkeypatch.setattr(escaping, "_FORMULA", ("\0",))
    assert any("formula" in wrong for wrong in problems(hostile_standings)["csv"])


def test_a_text_keeps_what_it_says() -> None:
    """Letters with marks, other scripts and long texts are still told apart."""
    assert latex("Ångström, Łódź & Straße -- 行") == r"\r {A}ngstr\"{o}m, \L{}\'{o}d\'{z} \& Stra\ss{}e -{}- (U+884C)"
    assert markdown("_a_ [b](c)") == r"\_a\_ \[b\](c)"
    assert plain("a\x1b[0mb\u202ec\nd") == "a\N{REPLACEMENT CHARACTER}[0mb\N{REPLACEMENT CHARACTER}c d"
    assert len(plain("x" * 5000)) == 400
    assert width("a\u0301b\uff21") == 4
    assert [inert(text) for text in ("@x", " =1", "-5e-3", "-x")] == ["'@x", "' =1", "-5e-3", "'-x"]
