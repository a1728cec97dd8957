"""Numbers that others published, by the family of protocols that they are about: never results, never comparable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

#: The mark of every table and every page that shows such numbers.
MARK = "Published elsewhere, not comparable"
_FILES = ("cmps.yml",)


@dataclass(frozen=True, kw_only=True)
class Column:
    """Two numbers a row: Rank-1 and mAP."""

    #: What it is, and how the source calls it where that is something else.
    title: str
    said: str


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """What one source says of one model under some attacks."""

    #: The model that is attacked.
    victim: str
    #: By attack, two texts a column, as printed there: Rank-1 and mAP in percent.
    rows: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Published:
    """What one source says of one data set."""

    key: str
    data_set: str
    source: str
    #: The source in a few words.
    cited: str
    setting: str
    #: What its numbers are.
    metrics: str
    columns: tuple[Column, ...]
    tables: tuple[PublishedTable, ...]
    #: Why they compare with nothing, a sentence or two each.
    defects: tuple[str, ...]


def published_for(protocols: Iterable[str]) -> tuple[Published, ...]:
    """What others published on the data sets of some protocols (`sysu-all`), each source once a set."""
    families = dict.fromkeys(name.partition("-")[0] for name in protocols)
    return tuple(found for family in families for key, found in _everything() if key == family)


def everything() -> tuple[Published, ...]:
    """All that this package knows of."""
    return tuple(found for _, found in _everything())


@lru_cache(maxsize=1)
def _everything() -> tuple[tuple[str, Published], ...]:
    from ruamel.yaml import YAML

    found = []
    for name in _FILES:
        text = (resources.files(__package__) / name).read_text(encoding="utf-8")
        content = YAML(typ="safe", pure=True).load(text)
        found += [(str(family), _published(content, part)) for family, part in content["families"].items()]
    return tuple(found)


def _published(content: Any, part: Any) -> Published:
    return Published(
        key=str(content["key"]),
        data_set=str(part["set"]),
        source=str(content["source"]),
        cited=str(content["cited"]),
        setting=str(content["setting"]),
        metrics=str(content["metrics"]),
        columns=tuple(Column(title=str(each["title"]), said=str(each["said"])) for each in part["columns"]),
        tables=tuple(_table(str(victim), rows) for victim, rows in part["victims"].items()),
        defects=tuple(map(str, [*part["defects"], *content["defects"]])),
    )


def _table(victim: str, rows: Any) -> PublishedTable:
    return PublishedTable(
        victim=victim,
        rows=tuple((str(name), tuple(_pairs([f"{value:.2f}" for value in values]))) for name, *values in rows),
    )


def _pairs(texts: list[str]) -> list[tuple[str, str]]:
    return list(zip(texts[::2], texts[1::2], strict=True))
