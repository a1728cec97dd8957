"""YAML with line numbers: duplicate keys refused, `${VAR}` expanded, every value a plain Python one."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import UserError

#: Where a value stands: keys and list positions from the root of the document.
Place = tuple[str | int, ...]

_TOO_DEEP = "values are nested without end, expected a grid file; write it without aliases to themselves."
#: How many values a file may have once its aliases are expanded: a few lines of aliases can mean billions.
MAX_VALUES = 100_000

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def printable(text: str) -> str:
    """`text` on one line, with line breaks, control characters and changes of direction spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


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
        parts = [f"[{part}]" if isinstance(part, int) else f".{printable(part)}" for part in place]
        path = "".join(parts).removeprefix(".")
        # What never was a file has no lines.
        front = f"{self.name}:{self.line(place)}" if self.lines else self.name
        return f"{front}: {path}" if path else front

    def refusal(self, place: Place, error: UserError) -> UserError:
        """The error, of its own kind, with its place in front."""
        return type(error)(f"{self.where(place)}: {error}")


def read_document(path: Path, changes: Sequence[str] = ()) -> Document:
    """The YAML file at `path`, changed as `parse_document` says.

    Raises:
        UserError: it is missing, unreadable or not YAML, or a change is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"There is no file {str(path)!r}; give the path of a grid file (see `robustreid run --help`)."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else f"byte {error.start} is not UTF-8"
        raise UserError(f"{str(path)!r} cannot be read: {why}; expected a YAML file in UTF-8.") from error
    return parse_document(text, name=str(path), folder=path.resolve().parent, changes=changes)


def parse_document(text: str, *, name: str, folder: Path, changes: Sequence[str] = ()) -> Document:
    """The same, from text that came from somewhere else.

    Args:
        text: YAML.
        name: what messages call it.
        folder: where relative paths start.
        changes: top-level keys to set, as `precision=fast` or `seeds=[0, 1]`; the values are YAML. They are set before
            `${VAR}` is expanded, so a variable of a key that is set need not be there; the document's text is the
            changed one, so that what is kept beside the results is what was run.
    """
    raw = _read(text, name)
    if changes and isinstance(raw, dict):
        text = _changed(raw, changes)
        raw = _read(text, name)
    lines: dict[Place, int] = {(): 1}
    try:
        data = _plain(raw, (), name, lines)
    except RecursionError:
        raise UserError(f"{name}: {_TOO_DEEP}") from None
    return Document(name=name, text=text, folder=folder, data=data, lines=lines)


def _read(text: str, name: str) -> Any:
    """YAML with its comments and places, nothing expanded."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="rt").load(text)
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
        raise UserError(f"{name}: this is not YAML: {' '.join(str(error).split())}.") from None
    except RecursionError:
        raise UserError(f"{name}: {_TOO_DEEP}") from None


def _changed(content: Any, changes: Sequence[str]) -> str:
    """The text of `content` with top-level keys set; it is changed in place.

    Raises:
        UserError: a change that is not KEY=VALUE, or not YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="rt")
    yaml.width = 10_000
    for change in changes:
        key, sign, value = change.partition("=")
        try:
            content[key.strip()] = yaml.load(value)
        except YAMLError:
            sign = ""
        if not sign or not key.strip() or not value.strip():
            raise UserError(f"--set {change!r} is not KEY=VALUE; write, for example, --set precision=fast.")
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()


def _plain(value: Any, place: Place, name: str, lines: dict[Place, int]) -> Any:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    line = lines.get(place, 1)
    if len(lines) > MAX_VALUES:
        raise UserError(f"{name}: more than {MAX_VALUES:,} values, expected a grid file; write it without aliases.")
    tag = getattr(getattr(value, "tag", None), "value", None)
    if tag is not None:
        raise UserError(f"{name}:{line}: YAML tags such as {tag!r} are not read; write the plain value.")
    if isinstance(value, CommentedMap):
        plain: dict[str, Any] = {}
        for key, item in value.items():
            there = (*place, str(key))
            if there in lines:
                raise UserError(f"{name}:{line}: the key {str(key)!r} stands twice; remove one of the two.")
            lines[there] = value.lc.key(key)[0] + 1 if key in (value.lc.data or {}) else line
            plain[str(key)] = _plain(item, there, name, lines)
        return plain
    if isinstance(value, CommentedSeq):
        items = []
        for index, item in enumerate(value):
            there = (*place, index)
            lines[there] = value.lc.item(index)[0] + 1 if index in (value.lc.data or {}) else line
            items.append(_plain(item, there, name, lines))
        return items
    return _scalar(value, f"{name}:{line}")


def _scalar(value: Any, where: str) -> Any:
    """A value of Python's own types; what YAML knows beside them (dates, bytes) is its text."""
    if isinstance(value, str):
        return _expand(str(value), where)
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def _expand(text: str, where: str) -> str:
    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match.group(1))
        if found is None:
            raise UserError(f"{where}: the variable {match.group(1)} is not set; set it, or write the path itself.")
        return found

    return _VARIABLE.sub(value, text)
