"""Names that a reader takes for each other."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from ...models.zoo import ZOO

#: Cyrillic, Greek and Turkish letters, and the Latin ones that they look like (Unicode Technical Standard 39 has more).
_FOREIGN = (
    "\u0430\u0432\u0441\u0501\u0435\u0451\u04bb\u043d\u0456\u0457\u0458\u043a\u04cf\u043c\u043e\u0440\u051b\u0433"
    "\u0455\u0442\u0438\u0475\u051d\u0448\u0445\u0443\u03b1\u03b2\u03b5\u03b7\u03b9\u03ba\u03bd\u03bf\u03c1\u03c3"
    "\u03c4\u03c5\u03c7\u03c9\u03b3\u0131"
)
_LATIN = "abcdeehhiijklmopqrstuvwwxyabenikvopotuxwyi"
#: Then digits and letters, and pairs of letters, of one shape.
_SHAPES = str.maketrans("015i", "olsl")
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))


def skeleton(name: str) -> str:
    """What names that look alike have in common; not to be shown.

    >>> skeleton("t1ny-R0bust") == skeleton("TINY_robust") != skeleton("tiny")
    True
    >>> skeleton("rnodern") == skeleton("modern")
    True
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    shape = plain.casefold().translate(str.maketrans(_FOREIGN, _LATIN)).translate(_SHAPES)
    for pair, letter in _PAIRS:
        shape = shape.replace(pair, letter)
    return re.sub(r"[-_. ]+", "-", shape).strip("-")


def lookalike(name: str, taken: Collection[str]) -> str | None:
    """What `name` says or seems to say: a model of the zoo or one of the names that are taken; None where it is new."""
    mine = skeleton(name)
    return next((other for other in (*ZOO, *taken) if skeleton(other) == mine), None)
