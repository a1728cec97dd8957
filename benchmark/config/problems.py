"""A document checked by pydantic, and what it finds put into sentences with the line and path of the key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ... import UserError
from ...models.registry import nearest
from .reading import Document, Place

Model = TypeVar("Model", bound=BaseModel)

#: What pydantic's kinds of problems are called here.
_EXPECTED = {
    "string_type": "text",
    "list_type": "a list",
    "too_short": "at least one entry",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "greater_than_equal": "a whole number from 0",
    "less_than": "a whole number below 2^63",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
}


def validate(
    document: Document, model: type[Model], *, keys: Mapping[str, Sequence[str]], fixed: Mapping[str, str]
) -> Model:
    """The document as `model`.

    Args:
        document: a file that was read.
        model: what it should be.
        keys: by section (the last named key around; "" is the top), what may stand there, for the nearest name.
        fixed: by key, what is expected of it, where pydantic's kinds of problems say too little.

    Raises:
        UserError: one line a problem, each with its line and path.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        problems = problems_of(document, error, keys=keys, fixed=fixed)
        raise UserError("\n".join(f"{document.where(place)}: {what}" for place, what in problems)) from None


def problems_of(
    document: Document, error: ValidationError, *, keys: Mapping[str, Sequence[str]], fixed: Mapping[str, str]
) -> list[tuple[Place, str]]:
    """Every problem once: where it is, and a sentence; for the arguments see `validate`."""
    return list(dict.fromkeys(_problem(document, dict(found), keys, fixed) for found in error.errors()))


def _problem(
    document: Document, found: dict[str, Any], keys: Mapping[str, Sequence[str]], fixed: Mapping[str, str]
) -> tuple[Place, str]:
    place: Place = existing(document, found["loc"])
    if found["type"] == "extra_forbidden":
        key = str(place[-1])
        section = next((str(part) for part in reversed(place[:-1]) if isinstance(part, str)), "")
        known = keys.get(section, ())
        hint = nearest(key, known) or f" Known keys: {', '.join(known)}."
        return place, f"unknown key {key!r}.{hint}"
    described = next((key for key in reversed(place) if key in fixed), None)
    if described is not None:
        whole = place[: place.index(described) + 1]
        return whole, f"expected {fixed[str(described)]}, got {_value(document, whole)!r}."
    if found["type"] in _EXPECTED:
        return place, f"expected {_EXPECTED[found['type']]}, got {found['input']!r}."
    if found["type"] == "missing":
        key = next(str(part) for part in reversed(found["loc"]) if isinstance(part, str))
        return place, f"the key {key!r} is missing; add it."
    if found["type"] == "literal_error":
        value, expected = str(found["input"]), re.findall(r"'([^']*)'", found["ctx"]["expected"])
        return place, f"expected one of {', '.join(expected)}, got {value!r}.{nearest(value, expected)}"
    message = str(found["msg"]).removeprefix("Value error, ")
    got = "" if "got" in message else f", got {found['input']!r}"
    return place, f"{message[:1].lower()}{message[1:]}{got}."


def _value(document: Document, place: Place) -> Any:
    value = document.data
    for part in place:
        value = value[part]
    return value


def existing(document: Document, location: tuple[str | int, ...]) -> Place:
    """The location that pydantic gives, without what it adds for unions and for keys that take one or many."""
    place: Place = ()
    value = document.data
    for part in location:
        known = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        if part in known:
            place, value = (*place, part), value[part]
    return place
