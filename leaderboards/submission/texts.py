"""Text that comes from a stranger and will stand on a terminal and on a page: what it must not hold."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Hostility = Literal["control", "markup"]

#: What begins a tag, a comment or an entity of HTML, or a link or an image of Markdown.
_MARKUP = re.compile(
    r"<[A-Za-z/!?]|&#[0-9A-Za-z]{1,9};|&[A-Za-z][0-9A-Za-z]{1,31};|!\[|\]\(|(?:java|vb)script\s*:|data:[a-z]+/",
    re.IGNORECASE,
)
#: Categories of Unicode: control, format (direction, zero width), surrogate, private, line and paragraph separator.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
#: Letters that nobody sees, though Unicode calls them letters, marks or symbols.
_BLANK = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def hostility(text: str) -> tuple[Hostility, str] | None:
    """What of `text` could steer a terminal or a page, and its name: ('control', 'U+202E RIGHT-TO-LEFT OVERRIDE').

    >>> hostility("Metric defence, 4/255 < 8/255 & more")
    >>> hostility("<script>")
    ('markup', "'<s'")
    """
    if not text.isascii() or not text.isprintable():
        for letter in text:
            if unicodedata.category(letter) in _UNSEEN or letter in _BLANK:
                return "control", f"U+{ord(letter):04X} {unicodedata.name(letter, 'a control character')}"
    found = _MARKUP.search(text)
    return ("markup", repr(found.group())) if found else None
