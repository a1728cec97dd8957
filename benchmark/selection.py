"""`-k EXPR`, `--keep-images-of EXPR`: which cells, by words of their labels joined with and, or, not, parentheses."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .. import UserError

if TYPE_CHECKING:
    from .records import Cell

_WORD = re.compile(r"\(|\)|[^\s()]+")
_END = "its end"

#: Whether a label is meant.
Matches = Callable[[str], bool]


def matcher(expression: str, option: str = "-k") -> Matches:
    """A test for labels such as `osnet mini ama-ifgsm linf 5/255 gallery`; a word matches where it stands in one.

    `option` is where the expression was given, for messages.

    >>> matcher("osnet and not (noise or query)")("osnet mini ama-ifgsm linf 5/255 gallery")
    True

    Raises:
        UserError: the expression does not parse.
    """
    return _Parser(expression, option).parse()


def select_cells(cells: Sequence[Cell], expression: str | None, option: str = "-k") -> list[Cell]:
    """The cells whose label matches; all of them without an expression.

    Raises:
        UserError: the expression does not parse, or matches nothing.
    """
    if expression is None:
        return list(cells)
    matches = matcher(expression, option)
    chosen = [cell for cell in cells if matches(cell.label)]
    if not chosen:
        raise UserError(
            f"{option} {expression!r} matches no cell of the grid; their labels read like {cells[0].label!r}."
        )
    return chosen


class _Parser:
    """Recursive descent: or binds weaker than and, and that weaker than not."""

    def __init__(self, expression: str, option: str) -> None:
        self.expression = expression
        self.option = option
        self.words: Sequence[str] = [*_WORD.findall(expression), _END]
        self.position = 0

    def parse(self) -> Matches:
        found = self._joined("or")
        if self._word() != _END:
            raise self._wrong()
        return found

    def _word(self) -> str:
        return self.words[self.position]

    def _took(self, word: str) -> bool:
        if self._word() != word:
            return False
        self.position += 1
        return True

    def _joined(self, word: str) -> Matches:
        parts = [self._joined("and") if word == "or" else self._single()]
        while self._took(word):
            parts.append(self._joined("and") if word == "or" else self._single())
        return lambda label: (any if word == "or" else all)(part(label) for part in parts)

    def _single(self) -> Matches:
        if self._took("not"):
            inner = self._single()
            return lambda label: not inner(label)
        if self._took("("):
            inner = self._joined("or")
            if not self._took(")"):
                raise self._wrong()
            return inner
        word = self._word()
        if word in {_END, ")", "and", "or"}:
            raise self._wrong()
        self.position += 1
        return lambda label: word.lower() in label.lower()

    def _wrong(self) -> UserError:
        return UserError(
            f"{self.option} {self.expression!r} does not parse at {self._word()!r}; expected words joined with and, "
            f"or, not and parentheses, as in 'ama-ifgsm and not query'."
        )
