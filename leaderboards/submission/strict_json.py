"""JSON of a stranger: no key twice, no NaN, no depth, and no more bytes than a caller has bounded."""

from __future__ import annotations

import json
from typing import Any

from .findings import shown
from .limits import MAX_JSON, MAX_NESTING


def read_json(content: bytes, *, most: int = MAX_JSON) -> Any:
    """The value.

    Raises:
        ValueError: what is wrong with it, as the end of a sentence.
    """
    if len(content) > most:
        raise ValueError(f"has more than {most:,} bytes")
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_mapping, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"has byte {error.start}, which is not UTF-8") from None
    except RecursionError:
        raise ValueError("is nested without end") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} in line {error.lineno}") from None
    if _is_deep(value):
        raise ValueError(f"is nested deeper than {MAX_NESTING} levels")
    return value


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"has the key {shown(key, 60)!r} twice")
        found[key] = value
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"has the number {name}")


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_NESTING + 1):
        level = [item for each in level for item in _inside(each)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
