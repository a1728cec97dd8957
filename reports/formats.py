"""A board as text: for a terminal, in Markdown, in LaTeX; CSV and JSON are in `records.py`."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..leaderboards.standing import Standing, Standings
from .escaping import latex, markdown, plain, width
from .records import csv_text, json_text
from .standings import (
    Fact,
    attack_text,
    critical_texts,
    facts,
    interval_text,
    notes,
    of_track,
    place_text,
    provenance_text,
    score_text,
)

#: Between two columns.
_GAP = "  "
#: Titles of columns that hold words; the others are flush right.
_WORDS = frozenset({"place", "model", "flags", "provenance"})


@dataclass(frozen=True, kw_only=True)
class Table:
    """Titles and cells, plain texts."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, index: int) -> list[str]:
        """A column's texts, its title first."""
        return [self.titles[index], *(row[index] for row in self.rows)]


def board_table(standings: Standings) -> Table:
    """A row a model, in the order of the board; numbers in points with their intervals."""
    titles = ("place", "model", "score", "Rank-1", "clean mAP", *standings.attacks, "area", "critical epsilon")
    return Table(
        titles=(*titles, "flags", "provenance"),
        rows=tuple(_row(standing, standings) for standing in standings.rows),
    )


def _row(standing: Standing, standings: Standings) -> tuple[str, ...]:
    return (
        place_text(standing),
        standing.label,
        score_text(standing),
        interval_text(standing.worst_rank1) if standing.is_complete else "-",
        interval_text(standing.clean) or "-",
        *(attack_text(score) for score in of_track(standing)),
        interval_text(standing.area) or "-",
        " ".join(critical_texts(standing.critical, standings.track)).strip() or "-",
        ", ".join(standing.flags) or "-",
        provenance_text(standing),
    )


def render(standings: Standings, form: str, *, empty: str = "", columns: int | None = None) -> str:
    """A board in a format, with a line break at its end.

    Args:
        standings: the board.
        form: a key of `FORMATS`.
        empty: why no row belongs; said where none does.
        columns: how wide a terminal is, for `table`; None for a pipe, where each model has one line.
    """
    if form == "table":
        return terminal_text(standings, empty=empty, columns=columns)
    return FORMATS[form](standings, empty)


def terminal_text(standings: Standings, *, empty: str = "", columns: int | None = None) -> str:
    """Head, table and notes; where the terminal is too narrow, the table in several parts, each with the models."""
    board = board_table(standings)
    table = Table(titles=tuple(map(plain, board.titles)), rows=tuple(tuple(map(plain, row)) for row in board.rows))
    parts = [_head(facts(standings), columns)]
    parts += _blocks(table, columns) if table.rows else [_wrapped(plain(empty, 1000), columns)]
    said = [_wrapped(plain(note, 1000), columns) for note in notes(standings)]
    return "\n\n".join([*parts, *(["\n".join(said)] if said else [])]) + "\n"


def _head(found: Sequence[Fact], columns: int | None) -> str:
    longest = max(len(fact.name) for fact in found)
    return "\n".join(
        _wrapped(f"{fact.name:<{longest}}{_GAP}{plain(fact.text, 1000)}", columns, indent=longest + len(_GAP))
        for fact in found
    )


def _wrapped(text: str, columns: int | None, indent: int = 2) -> str:
    if columns is None:
        return text
    return textwrap.fill(text, max(columns, 40), subsequent_indent=" " * indent, break_on_hyphens=False)


def _blocks(table: Table, columns: int | None) -> list[str]:
    """The table, cut between columns so that every part fits; place and model stand in each."""
    widths = [max(map(width, table.column(index))) for index in range(len(table.titles))]
    blocks: list[list[int]] = [[0, 1]]
    for index in range(2, len(widths)):
        taken = sum(widths[each] + len(_GAP) for each in blocks[-1])
        if columns is not None and taken + widths[index] > columns and len(blocks[-1]) > 2:
            blocks.append([0, 1])
        blocks[-1].append(index)
    return ["\n".join(_lines(table, block, widths)) for block in blocks]


def _lines(table: Table, block: Sequence[int], widths: Sequence[int]) -> list[str]:
    rule = ["-" * widths[index] for index in block]
    lines = []
    for row in (table.titles, *table.rows):
        cells = []
        for index in block:
            space = " " * (widths[index] - width(row[index]))
            cells.append(f"{row[index]}{space}" if table.titles[index] in _WORDS else f"{space}{row[index]}")
        lines.append(_GAP.join(cells).rstrip())
    return [lines[0], _GAP.join(rule), *lines[1:]]


def markdown_text(standings: Standings, empty: str = "") -> str:
    """For a pull request or a README: the head as a list, a table, notes as a list."""
    table = board_table(standings)
    lines = [f"### {markdown(standings.track.title)}", ""]
    lines += [f"- **{fact.name}**: {markdown(fact.text, 1000)}" for fact in facts(standings)]
    lines.append("")
    if table.rows:
        aligned = ["---" if title in _WORDS else "---:" for title in table.titles]
        lines.append(f"| {' | '.join(map(markdown, table.titles))} |")
        lines.append(f"| {' | '.join(aligned)} |")
        lines += [f"| {' | '.join(map(markdown, row))} |" for row in table.rows]
    else:
        lines.append(markdown(empty, 1000))
    said = [f"- {markdown(note, 1000)}" for note in notes(standings)]
    return "\n".join([*lines, *([""] if said else []), *said]) + "\n"


def latex_text(standings: Standings, empty: str = "") -> str:
    r"""For a paper: a `table*` with rules of booktabs, the head as its caption; ASCII alone, no other package."""
    table = board_table(standings)
    kept = [index for index in range(len(table.titles)) if index < 2 or _says_something(table.column(index)[1:])]
    letters = "".join("l" if table.titles[index] in _WORDS else "r" for index in kept)
    caption = " ".join(f"\\emph{{{fact.name}:}} {latex(fact.text, 1000)}." for fact in facts(standings))
    lines = [
        "% Needs \\usepackage{booktabs}.",
        "\\begin{table*}",
        "\\centering\\scriptsize\\setlength{\\tabcolsep}{3pt}",
        f"\\caption{{{caption}}}",
        f"\\label{{tab:{''.join(c if c.isalnum() else '-' for c in standings.track.key)}}}",
    ]
    if table.rows:
        lines += [f"\\begin{{tabular}}{{{letters}}}", "\\toprule"]
        lines += [f"{' & '.join(_stacked(table.titles[index], ' ') for index in kept)} \\\\", "\\midrule"]
        for row in table.rows:
            cells = [
                latex(row[index]) if table.titles[index] in _WORDS else _stacked(row[index], " [") for index in kept
            ]
            lines.append(f"{' & '.join(cells)} \\\\")
        lines += ["\\bottomrule", "\\end{tabular}"]
    else:
        lines.append(f"{latex(empty, 1000)}")
    said = [latex(note, 1000) for note in notes(standings)]
    if said:
        lines.append("\\par\\smallskip\\raggedright")
        lines += [f"{note}\\par" for note in said]
    return "\n".join([*lines, "\\end{table*}"]) + "\n"


def _says_something(cells: Sequence[str]) -> bool:
    """Whether a column is worth its width in a paper: not where all is unknown, or of one's own runs."""
    return not set(cells) <= {"-", "own run"}


def _stacked(text: str, sign: str) -> str:
    """A number above its interval, the words of a title above each other: a paper is narrow."""
    head, found, rest = text.partition(sign)
    if not found:
        return latex(text)
    small = "" if sign == " " else "\\tiny "
    return f"\\shortstack[r]{{{latex(head)}\\\\{{{small}{latex(sign.strip() + rest)}}}}}"


#: What `--format` takes beside `table`, which asks for the terminal.
FORMATS: Mapping[str, Callable[[Standings, str], str]] = {
    "md": markdown_text,
    "csv": lambda standings, _: csv_text(standings),
    "json": lambda standings, _: json_text(standings),
    "latex": latex_text,
}
