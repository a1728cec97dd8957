"""The keys of a grid file, checked all at once by pydantic; what they mean together is `grid`'s business."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

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


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str

    @field_validator("name")
    @classmethod
    def _label(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError(f"expected a label of 1 to 64 letters, digits, dots, dashes or underscores, got {value!r}")
        return value


class NormaliseEntry(BaseModel):
    """`normalise: {mean: [...], std: [...]}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class ModelEntry(_Entry):
    """One model: a zoo name alone, or a label with a weights file."""

    architecture: str | None = None
    weights: str | None = None
    plugin: str | None = None
    normalise: Literal["none", "imagenet"] | NormaliseEntry | None = None
    metric: Metric | None = None
    input_size: tuple[int, int] | None = Field(default=None, strict=False)


class DatasetEntry(_Entry):
    """One retrieval set; the format defaults to the name where that is a known set."""

    format: str | None = None
    root: str | None = None


class AttackEntry(_Entry):
    """A preset, maybe with changed parameters, or objective + optimiser under a new name."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class ExcludeEntry(BaseModel):
    """Cells to leave out: those that match every key given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = None
    dataset: str | None = None
    attack: str | None = None
    epsilon: str | int | float | None = None
    side: Side | None = None
    goal: Goal | None = None
    seed: int | None = None


_Models = Annotated[ModelEntry, BeforeValidator(_named)]
_Datasets = Annotated[DatasetEntry, BeforeValidator(_named)]
_Attacks = Annotated[AttackEntry, BeforeValidator(_named)]


class GridFile(BaseModel):
    """A whole grid file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    models: Annotated[list[_Models], Field(min_length=1)]
    datasets: Annotated[list[_Datasets], Field(min_length=1)]
    attacks: Annotated[list[_Attacks], Field(min_length=1)]
    epsilons: Annotated[list[str | int | float], BeforeValidator(_as_list), Field(min_length=1)]
    side: Annotated[list[Side], BeforeValidator(_as_list), Field(min_length=1)]
    goal: Annotated[list[Goal], BeforeValidator(_as_list), Field(min_length=1)] = ["untargeted"]
    norm: NormName = "linf"
    seeds: Annotated[list[int], BeforeValidator(_as_list), Field(min_length=1)] = [0]
    precision: Literal["exact"] = "exact"
    perturb_at: Literal["auto", "native", "input"] = "auto"
    exclude: list[ExcludeEntry] = []

    @field_validator("name")
    @classmethod
    def _label(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError(f"expected a name of 1 to 64 letters, digits, dots, dashes or underscores, got {value!r}")
        return value


#: What may stand where, for the nearest name of an unknown key.
_KEYS: dict[str, tuple[str, ...]] = {
    "": tuple(GridFile.model_fields),
    "models": tuple(ModelEntry.model_fields),
    "datasets": tuple(DatasetEntry.model_fields),
    "exclude": tuple(ExcludeEntry.model_fields),
}


def check(document: Document) -> GridFile:
    """The document as a grid file. UserError with one line a problem, each with its line and path."""
    if not isinstance(document.data, dict):
        raise UserError(f"{document.name}:1: expected a grid file with the keys {', '.join(_KEYS[''])}.")
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
        section = str(place[0]) if len(place) > 1 else ""
        known = _KEYS.get(section, ())
        hint = nearest(key, known) or f" Known keys: {', '.join(known)}."
        return f"{where}: unknown key {key!r}.{hint}"
    if found["type"] == "missing":
        key = next(str(part) for part in reversed(found["loc"]) if isinstance(part, str))
        return f"{where}: the key {key!r} is missing; add it."
    if found["type"] == "literal_error":
        value, expected = str(found["input"]), re.findall(r"'([^']*)'", found["ctx"]["expected"])
        return f"{where}: expected one of {', '.join(expected)}, got {value!r}.{nearest(value, expected)}"
    message = str(found["msg"]).removeprefix("Value error, ")
    got = "" if "got" in message else f", got {found['input']!r}"
    return f"{where}: {message[:1].lower()}{message[1:]}{got}."


def _existing(document: Document, location: tuple[str | int, ...]) -> Place:
    """The location that pydantic gives, without what it adds for unions, and with what a one-or-many key leaves out."""
    place: Place = ()
    for part in location:
        if (*place, part) in document.lines:
            place = (*place, part)
    if location and not place and isinstance(location[0], str):
        return ()
    return place
