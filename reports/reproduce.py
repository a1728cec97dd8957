"""The command that makes one number anew: `robustreid run` with a `-k` that means exactly that cell of the grid."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

#: What `-k` cannot look for as one word.
_PIECE = re.compile(r"[^\s()]+")

_RESERVED = {"and", "or", "not"}


class Selector:
    """Expressions for the cells of one grid."""

    def __init__(self, labels: Sequence[str]) -> None:
        """`labels` are those of all its cells."""
        self._labels = [label.lower() for label in labels]
        self._places = {label: place for place, label in reversed(list(enumerate(self._labels)))}
        #: By token of a label: a bit for each label that has it.
        self._tokens: dict[str, int] = {}
        for place, label in enumerate(self._labels):
            for token in label.split():
                self._tokens[token] = self._tokens.get(token, 0) | 1 << place
        self._found: dict[str, int] = {}

    def _having(self, word: str) -> int:
        """The labels in which a word stands, as bits."""
        if word not in self._found:
            bits = 0
            for token, labels in self._tokens.items():
                if word in token:
                    bits |= labels
            self._found[word] = bits
        return self._found[word]

    def expression(self, label: str) -> str | None:
        """An expression that matches this label and no other of the grid; None where there can be none."""
        wanted = label.lower()
        place = self._places.get(wanted)
        if place is None:
            return None
        own = 1 << place
        words = list(dict.fromkeys(_PIECE.findall(wanted)))
        bits = (1 << len(self._labels)) - 1
        for word in words:
            bits &= self._having(word)
        text = [_spelt(word) for word in words]
        while bits != own:
            other = (bits & ~own).bit_length() - 1
            strange = next((word for word in _PIECE.findall(self._labels[other]) if word not in wanted), None)
            if strange is None:
                return None
            bits &= ~self._having(strange)
            text.append(f"not {_spelt(strange)}")
        return " and ".join(text) or None

    def command(self, label: str) -> str | None:
        """The line for a shell that runs this cell alone, in a folder of its own."""
        found = self.expression(label)
        return None if found is None else f"robustreid run grid.yml --out again -k {shlex.quote(found)}"


def _spelt(word: str) -> str:
    """`-k` ignores case, but not in its own words."""
    return word.upper() if word in _RESERVED else word
