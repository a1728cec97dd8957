"""YAML of a stranger: looked at event by event before anything is built of it, so that nothing in it can grow."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ... import UserError
from ...benchmark.config.reading import Document, parse_document
from .findings import Fault, shown
from .limits import MAX_EVENTS, MAX_FINDINGS, MAX_NESTING, MAX_TEXT
from .texts import hostility

_BROKEN, _TAG, _ALIAS, _TWICE, _VARIABLE, _CONTROL = "SUB102", "SUB103", "SUB104", "SUB105", "SUB106", "SUB111"


def read_yaml(content: bytes, name: str, *, variables: bool = False) -> tuple[Document | None, tuple[Fault, ...]]:
    """The document, or all that keeps it from being read.

    Args:
        content: of the file.
        name: what messages call it.
        variables: whether it may name `${VARIABLES}`; they are never filled in: what they hold is nobody's business.
    """
    if len(content) > MAX_TEXT:
        return None, (Fault(code=_BROKEN, place=name, problem=f"has more than {MAX_TEXT:,} bytes"),)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        return None, (Fault(code=_BROKEN, place=name, problem=f"byte {error.start} is not UTF-8"),)
    faults = [*_lines(text, name, variables=variables)]
    faults += islice(_events(text, name) if not faults else (), MAX_FINDINGS)
    if faults:
        return None, tuple(faults[:MAX_FINDINGS])
    try:
        # Written otherwise, a variable means nothing to who reads the document.
        document = parse_document(text.replace("${", "$ {"), name=name, folder=Path())
    except UserError as error:
        return None, (_fault_of(str(error), name),)
    except Exception as error:  # noqa: BLE001 (whatever a parser meets in a stranger's text is the text's fault)
        return None, (Fault(code=_BROKEN, place=name, problem=f"is not YAML ({type(error).__name__})"),)
    return document, ()


def _lines(text: str, name: str, *, variables: bool) -> Iterator[Fault]:
    """What is seen before it is read as YAML, comments too."""
    for number, line in enumerate(text.split("\n"), 1):
        if "${" in line and not variables:
            yield Fault(code=_VARIABLE, place=f"{name}:{number}", problem="names a variable of the reader's machine")
        found = hostility(line.removesuffix("\r").replace("\t", " "))
        if found is not None and found[0] == "control":
            yield Fault(code=_CONTROL, place=f"{name}:{number}", problem=f"holds {found[1]}")


def _events(text: str, name: str) -> Iterator[Fault]:
    """Tags, anchors, aliases and merge keys, keys that stand twice; and what is too deep, too long or no YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    levels: list[_Level] = []
    try:
        for count, event in enumerate(YAML(typ="rt").parse(text)):
            place = f"{name}:{event.start_mark.line + 1}"
            kind = type(event).__name__
            if count > MAX_EVENTS or len(levels) > MAX_NESTING:
                problem = f"has more than {MAX_EVENTS:,} values, or values more than {MAX_NESTING} levels deep"
                yield Fault(code=_BROKEN, place=place, problem=problem)
                return
            if kind == "AliasEvent" or getattr(event, "anchor", None) is not None:
                yield Fault(code=_ALIAS, place=place, problem="has an anchor or an alias")
            tag = getattr(event, "tag", None)
            if tag is not None:
                yield Fault(code=_TAG, place=place, problem=f"has the YAML tag {shown(tag, 60)!r}")
            if kind == "DocumentStartEvent" and (event.tags or event.version):
                yield Fault(code=_TAG, place=place, problem="has a YAML directive")
            yield from _keys(levels, kind, event, place)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = f"is not YAML: {shown(error.problem or error.context, 120)}"
        yield Fault(code=_BROKEN, place=f"{name}:{line}", problem=problem)
    except YAMLError as error:
        yield Fault(code=_BROKEN, place=name, problem=f"is not YAML: {shown(error, 120)}")
    except Exception as error:  # noqa: BLE001 (as above)
        yield Fault(code=_BROKEN, place=name, problem=f"is not YAML ({type(error).__name__})")


class _Level:
    """A mapping or list that is open: which keys it has, and whether the next value of a mapping is a key."""

    def __init__(self, *, is_mapping: bool) -> None:
        self.is_mapping = is_mapping
        self.at_key = is_mapping
        self.keys: set[str] = set()


def _keys(levels: list[_Level], kind: str, event: Any, place: str) -> Iterator[Fault]:
    if kind in {"MappingEndEvent", "SequenceEndEvent"}:
        levels.pop()
        return
    opens = kind in {"MappingStartEvent", "SequenceStartEvent"}
    if not opens and kind not in {"ScalarEvent", "AliasEvent"}:
        return
    if levels and levels[-1].is_mapping:
        level = levels[-1]
        if level.at_key and kind == "ScalarEvent":
            key = str(event.value)
            if key in level.keys:
                yield Fault(code=_TWICE, place=f"{place}: {shown(key, 60)}", problem="the key stands twice")
            if key == "<<":
                yield Fault(code=_ALIAS, place=place, problem="has a merge key")
            level.keys.add(key)
        elif level.at_key:
            yield Fault(code=_BROKEN, place=place, problem="has a key that is no text")
        level.at_key = not level.at_key
    if opens:
        levels.append(_Level(is_mapping=kind == "MappingStartEvent"))


def _fault_of(message: str, name: str) -> Fault:
    """A refusal of the reader of grids, with its place apart."""
    first, _, rest = message.partition(": ")
    place = first if first.startswith(name) else name
    return Fault(code=_BROKEN, place=place, problem=shown((rest or message).rstrip("."), 200))
