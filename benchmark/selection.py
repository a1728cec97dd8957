"""`-k EXPR`: which cells, by words of their labels joined with and, or, not and parentheses."""

from __future__ import annotations

import re
from collections.abc import Callable

from .. import UserError

_WORD = re.compile(r"\(|\)|[^\s()]+")


def matcher(expression: str) -> Callable[[str], bool]:
    """A test for labels such as `osnet mini ama-ifgsm linf 5/255 gallery`; a word matches where it stands in one.

    >>> matcher("osnet and not (noise or query)")("osnet mini ama-ifgsm linf 5/255 gallery")
    True

    Raises:
        UserError: the expression does not parse.
    """
    words = _WORD.findall(expression)
    position = 0

    def wrong(found: str) -> UserError:
        return UserError(
            f"-k {expression!r} does not parse at {found!r}; expected words joined with and, or, not and parentheses, "
            f"as in 'ama-ifgsm and not query'."
        )

    def peek() -> str:
        return words[position] if position < len(words) else "its end"

    def take() -> str:
        nonlocal position
        position += 1
        return words[position - 1]

    def either() -> Callable[[str], bool]:
        parts = [both()]
        while peek() == "or":
            take()
            parts.append(both())
        return lambda label: any(part(label) for part in parts)

    def both() -> Callable[[str], bool]:
        parts = [single()]
        while peek() == "and":
            take()
            parts.append(single())
        return lambda label: all(part(label) for part in parts)

    def single() -> Callable[[str], bool]:
        word = peek()
        if word == "not":
            take()
            inner = single()
            return lambda label: not inner(label)
        if word == "(":
            take()
            inner = either()
            if peek() != ")":
                raise wrong(peek())
            take()
            return inner
        if position >= len(words) or word in {"and", "or", ")"}:
            raise wrong(word)
        take()
        return lambda label: word.lower() in label.lower()

    found = either()
    if position < len(words):
        raise wrong(peek())
    return found
