r"""Texts of others made harmless in the formats of a table: a terminal, Markdown, LaTeX, CSV.

A name in a submission is hostile text: what comes out of here neither ends a cell nor starts a command, a tag, a link
or a formula, and says the same to a reader.
"""

from __future__ import annotations

import re
import unicodedata

from .naming import upright

#: Longer texts are cut in their middle.
LONGEST = 400

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?")
#: What means something in Markdown or GitHub's dialect of it: inside a line, and where a block begins.
_MARKDOWN = re.compile(r"[\\`*_{}\[\]#|~@$]|:(?=\S)|^[-+=]|(?<=^[0-9])[.)]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # Two of them in a row would be joined to one character.
    '"': "{''}",
    "'": "{'}",
    "`": "{`}",
    # After a line break of a table they would be read as its options.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "\u00df": r"\ss{}",
    "\u00e6": r"\ae{}",
    "\u00c6": r"\AE{}",
    "\u00f8": r"\o{}",
    "\u00d8": r"\O{}",
    "\u0142": r"\l{}",
    "\u0141": r"\L{}",
    "\u2026": r"\ldots{}",
}
#: Combining marks, and the command that sets each on a letter.
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r ",
    "\u030b": "H ",
    "\u030c": "v ",
    "\u0327": "c ",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def plain(text: str, length: int = LONGEST) -> str:
    """For a terminal: one line without control characters or turns of direction, cut where it is too long."""
    line = upright(text, length)
    # Line separators of Unicode, and what has no width and no shape.
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in {"Zl", "Zp", "Cf", "Cn", "Co"} else c for c in line
    )


def width(text: str) -> int:
    """How many columns of a terminal a text takes.

    >>> width("abc"), width("\u884c\u4eba")
    (3, 4)
    """
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def markdown(text: str, length: int = LONGEST) -> str:
    r"""For a cell or a line of Markdown.

    >>> markdown("a|b <i> *c*")
    'a\\|b &lt;i&gt; \\*c\\*'
    """
    escaped = _MARKDOWN.sub(lambda found: f"\\{found[0]}", plain(text, length))
    return "".join(_ENTITIES.get(character, character) for character in escaped)


def latex(text: str, length: int = LONGEST) -> str:
    r"""For the text of a LaTeX document in any engine and encoding: ASCII alone.

    >>> latex("50% of a_b")
    '50\\% of a\\_b'
    """
    parts = [
        _LATEX.get(character) or (character if character.isascii() else _accented(character))
        for character in unicodedata.normalize("NFC", plain(text, length))
    ]
    # Two or three hyphens in a row would become a dash.
    return re.sub("-(?=-)", "-{}", "".join(parts))


def _accented(character: str) -> str:
    """A letter with its mark as a command, or the number of the character."""
    letter, *marks = list(unicodedata.normalize("NFD", character))
    if letter.isascii() and letter.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        return f"\\{_ACCENTS[marks[0]]}{{{letter}}}"
    return f"(U+{ord(character):04X})"


def inert(value: str) -> str:
    """For a cell of CSV: a text that a spreadsheet would take for a formula gets a `'` before it.

    >>> inert("=1+1"), inert("-0.25"), inert("tiny")
    ("'=1+1", '-0.25', 'tiny')
    """
    text = plain(value, max(1, len(value)))
    return f"'{text}" if value.lstrip(" ").startswith(_FORMULA) and not _NUMBER.fullmatch(value) else text
