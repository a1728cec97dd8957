"""The keys of a grid file, checked all at once by pydantic; what they mean together is `grid`'s business."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
)

from ... import UserError
from ...attacks.threat import Goal, NormName, Side
from ...models.base import Metric
from ...models.registry import nearest
from .reading import Document, Place

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _label(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(f"expected a name of 1 to 64 letters, digits, dots, dashes or underscores, got {value!r}")
    if not value.strip("."):
        raise ValueError(f"expected a name that is more than dots, because folders are called so, got {value!r}")
    return value


def _radius(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected a radius such as 8/255 or 0.03, got {value!r}")  # noqa: TRY004 (pydantic's)
    return value


_Name = Annotated[str, AfterValidator(_label)]
_Radius = Annotated[Any, BeforeValidator(_radius)]
_Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Positive = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)]
_Side = Annotated[int, Field(strict=True, ge=1)]
_Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: _Name


class NormaliseEntry(BaseModel):
    """`normalise: {mean: [...], std: [...]}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[_Finite, _Finite, _Finite]
    std: tuple[_Positive, _Positive, _Positive]


_Normalise = Annotated[
    Annotated[Literal["none", "imagenet"], Tag("word")] | Annotated[NormaliseEntry, Tag("numbers")],
    Discriminator(lambda value: "numbers" if isinstance(value, dict | NormaliseEntry) else "word"),
]


class ModelEntry(_Entry):
    """One model: a zoo name alone, or a label with a weights file."""

    architecture: str | None = None
    weights: str | None = None
    plugin: str | None = None
    normalise: _Normalise | None = None
    metric: Metric | None = None
    input_size: tuple[_Side, _Side] | None = Field(default=None, strict=False)


class DatasetEntry(_Entry):
    """One retrieval set; the format defaults to the name where that is a known set."""

    format: str | None = None
    root: str | None = None


class AttackEntry(_Entry):
    """A preset, maybe with changed parameters, or objective + optimiser under a new name."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class ExcludeEntry(BaseModel):
    """Cells to leave out: those that match every key given."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: str | None = None
    dataset: str | None = None
    attack: str | None = None
    epsilon: _Radius | None = None
    side: Side | None = None
    goal: Goal | None = None
    seed: _Seed | None = None


_Models = Annotated[ModelEntry, BeforeValidator(_named)]
_Datasets = Annotated[DatasetEntry, BeforeValidator(_named)]
_Attacks = Annotated[AttackEntry, BeforeValidator(_named)]


class GridFile(BaseModel):
    """A whole grid file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: _Name
    models: Annotated[list[_Models], Field(min_length=1)]
    datasets: Annotated[list[_Datasets], Field(min_length=1)]
    attacks: Annotated[list[_Attacks], Field(min_length=1)]
    epsilons: Annotated[list[_Radius], BeforeValidator(_as_list), Field(min_length=1)]
    side: Annotated[list[Side], BeforeValidator(_as_list), Field(min_length=1)]
    goal: Annotated[list[Goal], BeforeValidator(_as_list), Field(min_length=1)] = ["untargeted"]
    norm: NormName = "linf"
    seeds: Annotated[list[_Seed], BeforeValidator(_as_list), Field(min_length=1)] = [0]
    precision: Literal["exact"] = "exact"
    perturb_at: Literal["auto", "native", "input"] = "auto"
    exclude: list[ExcludeEntry] = []


#: What may stand where, for the nearest name of an unknown key.
KEYS: dict[str, tuple[str, ...]] = {
    "": tuple(GridFile.model_fields),
    "models": tuple(ModelEntry.model_fields),
    "datasets": tuple(DatasetEntry.model_fields),
    "exclude": tuple(ExcludeEntry.model_fields),
    "normalise": tuple(NormaliseEntry.model_fields),
}

#: What pydantic's kinds of problems are called here.
_EXPECTED = {
    "string_type": "text",
    "list_type": "a list",
    "too_short": "at least one entry",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "greater_than_equal": "a whole number from 0",
    "less_than": "a whole number below 2^63",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
}

#: Keys with a fixed number of values.
_FIXED = {
    "mean": "three numbers",
    "std": "three numbers above 0",
    "input_size": "two whole numbers above 0, [height, width]",
}


def check(document: Document) -> GridFile:
    """The document as a grid file. UserError with one line a problem, each with its line and path."""
    if not isinstance(document.data, dict):
        raise UserError(f"{document.name}:1: expected a grid file with the keys {', '.join(KEYS[''])}.")
    try:
        return GridFile.model_validate(document.data)
    except ValidationError as error:
        problems = dict.fromkeys(_problem(document, dict(found)) for found in error.errors())
        raise UserError("\n".join(problems)) from None


def _problem(document: Document, found: dict[str, Any]) -> str:
    place: Place = _existing(document, found["loc"])
    where = document.where(place)
    if found["type"] == "extra_forbidden":
        key = str(place[-1])
        section = next((str(part) for part in reversed(place[:-1]) if isinstance(part, str)), "")
        known = KEYS.get(section, ())
        hint = nearest(key, known) or f" Known keys: {', '.join(known)}."
        return f"{where}: unknown key {key!r}.{hint}"
    fixed = next((key for key in _FIXED if key in place), None)
    if fixed:
        whole = place[: place.index(fixed) + 1]
        return f"{document.where(whole)}: expected {_FIXED[fixed]}, got {_value(document, whole)!r}."
    if found["type"] in _EXPECTED:
        return f"{where}: expected {_EXPECTED[found['type']]}, got {found['input']!r}."
    if found["type"] == "missing":
        key = next(str(part) for part in reversed(found["loc"]) if isinstance(part, str))
        return f"{where}: the key {key!r} is missing; add it."
    if found["type"] == "literal_error":
        value, expected = str(found["input"]), re.findall(r"'([^']*)'", found["ctx"]["expected"])
        return f"{where}: expected one of {', '.join(expected)}, got {value!r}.{nearest(value, expected)}"
    message = str(found["msg"]).removeprefix("Value error, ")
    got = "" if "got" in message else f", got {found['input']!r}"
    return f"{where}: {message[:1].lower()}{message[1:]}{got}."


def _value(document: Document, place: Place) -> Any:
    value = document.data
    for part in place:
        value = value[part]
    return value


def _existing(document: Document, location: tuple[str | int, ...]) -> Place:
    """The location that pydantic gives, without what it adds for unions and for keys that take one or many."""
    place: Place = ()
    value = document.data
    for part in location:
        known = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        if part in known:
            place, value = (*place, part), value[part]
    return place
