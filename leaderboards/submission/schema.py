"""The keys of `submission.yaml`, checked all at once by pydantic; what they mean together is for the rules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError

from ... import UserError
from ...attacks.threat import parse_epsilon
from ...benchmark.config.problems import problems_of
from ...benchmark.config.reading import Document, Place
from ...models.base import Metric
from .paths import part_of

_NAME = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"
#: What a plain value of an attack may be.
_Scalar = bool | int | float | str


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _weights(value: str) -> str:
    if part_of(value) not in {"weights", "program"}:
        raise ValueError(
            f"expected the name of a .safetensors or .onnx file beside submission.yaml, such as weights.safetensors, "
            f"got {value!r}"
        )
    return value


def _track(value: str) -> str:
    if value.lower().endswith((".yml", ".yaml")):
        raise ValueError(f"expected the name of a track, and no file of whoever reads this, got {value!r}")
    return value


def _radius(value: str) -> str:
    try:
        parse_epsilon(value)
    except UserError as error:
        raise ValueError(str(error)) from None
    return value


_Line = Annotated[str, Field(min_length=1, max_length=200)]
_Lines = Annotated[list[_Line], Field(min_length=1, max_length=50)]
_Names = Annotated[list[_Line], Field(max_length=20)]
_Name = Annotated[str, Field(pattern=_NAME)]
_Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Positive = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)]
_Side = Annotated[int, Field(strict=True, ge=1, le=4096)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NormaliseEntry(_Part):
    """`normalise: {mean: [...], std: [...]}`."""

    mean: Annotated[list[_Finite], Field(min_length=3, max_length=3)]
    std: Annotated[list[_Positive], Field(min_length=3, max_length=3)]


class DefenceEntry(_Part):
    """A defence at test time of this package, maybe with changed parameters."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: _Name


_Normalise = Annotated[
    Annotated[Literal["none", "imagenet"], Tag("word")] | Annotated[NormaliseEntry, Tag("numbers")],
    Discriminator(lambda value: "numbers" if isinstance(value, dict | NormaliseEntry) else "word"),
]


class ModelEntry(_Part):
    """As an entry of a grid's `models`, without what only the owner of a machine may ask for."""

    weights: Annotated[str, AfterValidator(_weights)]
    architecture: _Name | None = None
    normalise: _Normalise | None = None
    metric: Metric | None = None
    input_size: Annotated[list[_Side], Field(min_length=2, max_length=2)] | None = None
    defence: Annotated[list[Annotated[DefenceEntry, BeforeValidator(_named)]], BeforeValidator(_as_list)] | None = None


class AttackEntry(_Part):
    """As an entry of a grid's `attacks`: a preset, or objective + optimiser under a new name, of plain values."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[str, _Scalar | list[_Scalar] | None]

    name: _Name


class SubmissionFile(_Part):
    """A whole `submission.yaml`."""

    schema_: Annotated[int, Field(alias="schema", strict=True, ge=1, le=1)]
    name: _Name
    title: _Line
    authors: _Lines
    contact: _Line | None = None
    paper: _Line | None = None
    code: _Line | None = None
    licence: _Line
    track: Annotated[
        list[Annotated[_Name, AfterValidator(_track)]], BeforeValidator(_as_list), Field(min_length=1, max_length=20)
    ]
    model: ModelEntry
    trained_on: _Names
    training_epsilon: Annotated[str, BeforeValidator(str), Field(max_length=40), AfterValidator(_radius)] | None = None
    random_stages: _Names
    non_differentiable_stages: _Names
    adaptive_attack: Annotated[AttackEntry, BeforeValidator(_named)] | None = None


#: What may stand where, for the nearest name of an unknown key.
KEYS: dict[str, tuple[str, ...]] = {
    "": ("schema", *(name for name in SubmissionFile.model_fields if name != "schema_")),
    "model": tuple(ModelEntry.model_fields),
    "normalise": tuple(NormaliseEntry.model_fields),
}

_NAMED = "1 to 64 letters, digits, dots, dashes or underscores that do not begin with a dot"
#: What is expected of keys, where pydantic's kinds of problems say too little.
_FIXED = {
    "schema": "1, the only version that there is",
    "name": _NAMED,
    "title": "a line of 1 to 200 characters",
    "authors": "a list of 1 to 50 names, each a line of at most 200 characters",
    "contact": "a line of at most 200 characters",
    "paper": "an https link of at most 200 characters",
    "code": "an https link of at most 200 characters",
    "licence": "an SPDX identifier such as MIT, or proprietary",
    "track": "the name of a track (`robustreid ls tracks`), or a list of them",
    "mean": "three numbers",
    "std": "three numbers above 0",
    "architecture": "the name of an architecture (`robustreid ls models`)",
    "input_size": "two whole numbers from 1 to 4096, [height, width]",
    "defence": "a defence such as jpeg or {name: jpeg, quality: 75}, or a list of them",
    "trained_on": "a list of names of data sets; [] where it was not trained",
    "training_epsilon": "a radius such as 8/255",
    "random_stages": "a list of names, [] where no stage draws at random",
    "non_differentiable_stages": "a list of names, [] where every stage has a gradient",
    "adaptive_attack": "an attack such as {name: mine, objective: push, optimiser: apgd, eot: 20}, or null",
}


def check_keys(document: Document) -> tuple[SubmissionFile | None, list[tuple[Place, str]]]:
    """The document as a submission's file, or every problem with its place."""
    if not isinstance(document.data, dict):
        return None, [((), f"expected a submission with the keys {', '.join(KEYS[''])}")]
    try:
        return SubmissionFile.model_validate(document.data), []
    except ValidationError as error:
        return None, problems_of(document, error, keys=KEYS, fixed=_FIXED)
