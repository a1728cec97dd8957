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
)

from ... import UserError
from ...attacks.threat import Goal, NormName, Side
from ...models.base import Metric
from ...models.splits import N_SPLITS
from ..records import Checks, Precision
from .problems import validate
from .reading import Document

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


Name = Annotated[str, AfterValidator(_label)]
Radius = Annotated[Any, BeforeValidator(_radius)]
_Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Positive = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)]
_Side = Annotated[int, Field(strict=True, ge=1)]
_Count = Annotated[int, Field(strict=True, ge=0)]
_Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
#: A number, or a variable's text that is one.
_Split = Annotated[
    int,
    BeforeValidator(lambda value: int(value) if isinstance(value, str) and value.isdigit() else value),
    Field(strict=True, ge=1, le=N_SPLITS),
]


#: Keys of a data set that are the harness's, not its format's.
_NO_OPTIONS = frozenset({"name", "format", "root", "queries"})


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Name


class NormaliseEntry(BaseModel):
    """`normalise: {mean: [...], std: [...]}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[_Finite, _Finite, _Finite]
    std: tuple[_Positive, _Positive, _Positive]


_Normalise = Annotated[
    Annotated[Literal["none", "imagenet"], Tag("word")] | Annotated[NormaliseEntry, Tag("numbers")],
    Discriminator(lambda value: "numbers" if isinstance(value, dict | NormaliseEntry) else "word"),
]


class DefenceEntry(BaseModel):
    """A defence at test time, maybe with changed parameters."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: str


class ModelEntry(_Entry):
    """One model: a zoo name alone, or a label with a zoo name or a weights file."""

    zoo: str | None = None
    architecture: str | None = None
    weights: str | None = None
    plugin: str | None = None
    normalise: _Normalise | None = None
    metric: Metric | None = None
    input_size: tuple[_Side, _Side] | None = Field(default=None, strict=False)
    defence: Annotated[list[Annotated[DefenceEntry, BeforeValidator(_named)]], BeforeValidator(_as_list)] | None = None


class DatasetEntry(_Entry):
    """One retrieval set; the format defaults to the name where that is a known set. Who is in it is for drawn sets."""

    format: str | None = None
    root: str | None = None
    queries: Annotated[int, Field(strict=True, ge=1)] | None = None
    seed: _Seed | None = None
    identities: _Count | None = None
    cameras: _Count | None = None
    shots: _Count | None = None
    distractors: _Count | None = None
    protocol: str | None = None
    boxes: str | None = None
    with_500k: bool | None = None
    verify: bool | None = None
    trial: _Split | None = None

    @property
    def options(self) -> dict[str, int | str | bool]:
        """What the format is told, as far as the file says it."""
        given = {name: getattr(self, name) for name in DatasetEntry.model_fields if name not in _NO_OPTIONS}
        return {name: value for name, value in given.items() if value is not None}


class AttackEntry(_Entry):
    """A preset, maybe with changed parameters, or objective + optimiser under a new name."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class AdaptiveEntry(BaseModel):
    """`adaptive: {bpda: [...], eot: N}`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    bpda: Annotated[list[str], BeforeValidator(_as_list)] | None = None
    eot: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = None


_Adaptive = Annotated[
    Annotated[Literal["auto", "off"], Tag("word")] | Annotated[AdaptiveEntry, Tag("settings")],
    Discriminator(lambda value: "settings" if isinstance(value, dict | AdaptiveEntry) else "word"),
]


class ExcludeEntry(BaseModel):
    """Cells to leave out: those that match every key given."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: str | None = None
    dataset: str | None = None
    attack: str | None = None
    epsilon: Radius | None = None
    side: Side | None = None
    goal: Goal | None = None
    seed: _Seed | None = None
    knowledge: Literal["white-box", "transfer"] | None = None
    surrogate: str | None = None


_Models = Annotated[ModelEntry, BeforeValidator(_named)]
Dataset = Annotated[DatasetEntry, BeforeValidator(_named)]
_Attacks = Annotated[AttackEntry, BeforeValidator(_named)]


class GridFile(BaseModel):
    """A whole grid file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Name
    models: Annotated[list[_Models], Field(min_length=1)]
    datasets: Annotated[list[Dataset], Field(min_length=1)]
    attacks: Annotated[list[_Attacks], Field(min_length=1)]
    epsilons: Annotated[list[Radius], BeforeValidator(_as_list), Field(min_length=1)]
    side: Annotated[list[Side], BeforeValidator(_as_list), Field(min_length=1)]
    goal: Annotated[list[Goal], BeforeValidator(_as_list), Field(min_length=1)] = ["untargeted"]
    norm: NormName = "linf"
    knowledge: Annotated[list[Literal["white-box", "transfer"]], BeforeValidator(_as_list), Field(min_length=1)] = [
        "white-box"
    ]
    surrogates: Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    seeds: Annotated[list[_Seed], BeforeValidator(_as_list), Field(min_length=1)] = [0]
    precision: Precision = "exact"
    folding: bool = True
    perturb_at: Literal["auto", "native", "input"] = "auto"
    adaptive: _Adaptive = "auto"
    checks: Checks = "full"
    exclude: list[ExcludeEntry] = []


#: What may stand where, for the nearest name of an unknown key.
KEYS: dict[str, tuple[str, ...]] = {
    "": tuple(GridFile.model_fields),
    "models": tuple(ModelEntry.model_fields),
    "datasets": tuple(DatasetEntry.model_fields),
    "exclude": tuple(ExcludeEntry.model_fields),
    "normalise": tuple(NormaliseEntry.model_fields),
    "adaptive": tuple(AdaptiveEntry.model_fields),
}

#: Keys with a fixed number of values.
_FIXED = {
    "mean": "three numbers",
    "std": "three numbers above 0",
    "bpda": "a list of names of sub-modules",
    "eot": "1 to 1000 samples a gradient",
    "defence": "a defence such as jpeg or {name: jpeg, quality: 75}, or a list of them",
    "input_size": "two whole numbers above 0, [height, width]",
}


def check(document: Document) -> GridFile:
    """The document as a grid file. UserError with one line a problem, each with its line and path."""
    if not isinstance(document.data, dict):
        raise UserError(f"{document.name}:1: expected a grid file with the keys {', '.join(KEYS[''])}.")
    return validate(document, GridFile, keys=KEYS, fixed=_FIXED)
