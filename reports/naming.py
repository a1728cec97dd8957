"""Names from files of others: made harmless for a file name, an address, a picture and a narrow column."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata

#: What has no shape, or is no character of XML at all.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")

#: Characters that turn the direction of what follows.
_TURNS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def slug(*parts: str) -> str:
    """A file name without its ending: what can be read of the parts, and a digest that tells any two of them apart.

    >>> slug("osnet", "query")
    'osnet-query-56f08dca26'
    """
    plain = unicodedata.normalize("NFKD", " ".join(parts)).encode("ascii", "ignore").decode().lower()
    readable = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:48].strip("-")
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]
    return f"{readable or 'x'}-{digest}"


def printable(text: str) -> str:
    """The same with a visible mark in place of what has no shape and of line breaks."""
    return (
        _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split(" "))).replace("\n", " ").replace("\r", " ")
    )


def short(text: str, length: int = 48) -> str:
    """The same, cut in its middle where it is longer than `length`.

    >>> short("abcdefghij", 7)
    'abc\u2026hij'
    """
    clean = printable(text)
    if len(clean) <= length:
        return clean
    head = length // 2
    return f"{clean[:head]}\N{HORIZONTAL ELLIPSIS}{clean[len(clean) - (length - 1 - head) :]}"


def upright(text: str, length: int = 28) -> str:
    """For a picture, where nothing isolates a name from its neighbours: also without turns of direction."""
    return short(_TURNS.sub("\N{REPLACEMENT CHARACTER}", text), length)
