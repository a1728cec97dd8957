"""YAML with line numbers: duplicate keys refused, `${VAR}` expanded, every value a plain Python one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import UserError

#: Where a value stands: keys and list positions from the root of the document.
Place = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, kw_only=True)
class Document:
    """A file as plain values, and the line every one of them stands on."""

    #: What messages call it.
    name: str
    text: str
    #: Where relative paths start.
    folder: Path
    data: Any
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int:
        """The line (from 1) of a place, or of the nearest place around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def where(self, place: Place) -> str:
        """`grid.yml:12: models[1].weights`, for the front of a message."""
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        return f"{self.name}:{self.line(place)}: {path}" if path else f"{self.name}:{self.line(place)}"


def read_document(path: Path) -> Document:
    """The YAML file at `path`. UserError where it is missing, unreadable or not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"There is no file {str(path)!r}; give the path of a grid file (see `robustreid run --help`)."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{str(path)!r} cannot be read: {error}; expected a YAML file in UTF-8.") from error
    return parse_document(text, name=str(path), folder=path.resolve().parent)


def parse_document(text: str, *, name: str, folder: Path) -> Document:
    """The same, from text that came from somewhere else."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        raw = YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        key = re.search(r'duplicate key "(.*?)"', str(error.problem))
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(
            f"{name}:{line}: the key {key.group(1) if key else '?'!r} stands twice; remove one of the two."
        ) from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{name}:{line}: this is not YAML: {error.problem or error.context}.") from None
    except YAMLError as error:
        raise UserError(f"{name}: this is not YAML: {error}.") from None
    lines: dict[Place, int] = {(): 1}
    data = _plain(raw, (), name, lines)
    return Document(name=name, text=text, folder=folder, data=data, lines=lines)


def _plain(value: Any, place: Place, name: str, lines: dict[Place, int]) -> Any:  # noqa: PLR0911 (one a type)
    from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar

    if isinstance(value, CommentedMap):
        plain: dict[str, Any] = {}
        for key, item in value.items():
            there = (*place, str(key))
            lines[there] = value.lc.key(key)[0] + 1 if key in value.lc.data else lines.get(place, 1)
            plain[str(key)] = _plain(item, there, name, lines)
        return plain
    if isinstance(value, CommentedSeq):
        items = []
        for index, item in enumerate(value):
            there = (*place, index)
            lines[there] = value.lc.item(index)[0] + 1
            items.append(_plain(item, there, name, lines))
        return items
    line = lines.get(place, 1)
    if isinstance(value, TaggedScalar):
        raise UserError(f"{name}:{line}: YAML tags such as {value.tag.value!r} are not read; write the plain value.")
    if isinstance(value, str):
        return _expand(str(value), f"{name}:{line}")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value)


def _expand(text: str, where: str) -> str:
    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match.group(1))
        if found is None:
            raise UserError(f"{where}: the variable {match.group(1)} is not set; set it, or write the path itself.")
        return found

    return _VARIABLE.sub(value, text)
