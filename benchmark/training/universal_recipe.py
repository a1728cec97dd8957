"""A recipe of a universal perturbation as it was asked for: `kind: perturbation`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from ... import UserError
from ...attacks.parameters import parse
from ...attacks.threat import parse_epsilon
from ...attacks.universal import PROCEDURES, Procedure
from ...models.base import ModelSpec
from ...models.registry import nearest, unknown
from ...models.splits import PLACE
from ..config.problems import validate
from ..config.reading import Document
from ..config.schema import AttackEntry, Dataset, DatasetEntry, ModelEntry, Name, Radius
from ..datasets.opening import DatasetRequest
from .recipe import data_request, model_spec
from .schema import FIXED, BatchSection, Count, Seed, as_named


class PerturbationFile(BaseModel):
    """A whole recipe of a perturbation."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["perturbation"]
    name: Name
    #: As in a grid.
    model: Annotated[ModelEntry, BeforeValidator(as_named)]
    data: Dataset
    #: A name of `PROCEDURES`, maybe with changed parameters.
    attack: Annotated[AttackEntry, BeforeValidator(as_named)]
    epsilon: Radius
    epochs: Count
    batch: BatchSection = BatchSection()
    seed: Seed = 0


KEYS: dict[str, tuple[str, ...]] = {
    "": tuple(PerturbationFile.model_fields),
    "model": tuple(ModelEntry.model_fields),
    "data": tuple(DatasetEntry.model_fields),
    "batch": tuple(BatchSection.model_fields),
}


@dataclass(frozen=True, kw_only=True)
class PerturbationRecipe:
    """A checked recipe of a perturbation."""

    name: str
    #: The file as it was written.
    text: str
    #: The model to mislead.
    model: ModelSpec
    data: DatasetRequest
    #: A name of `PROCEDURES`, and the procedure itself.
    attack: str
    procedure: Procedure
    #: L-inf radius in [0, 1] pixel units.
    epsilon: Fraction
    epochs: int
    #: P x K.
    identities: int
    images: int
    seed: int

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of the procedure."""
        return dataclasses.asdict(self.procedure)

    @property
    def sha256(self) -> str:
        """Digest of everything that decides the perturbation beside the training images: no name, path or comment."""
        decides = {
            "model": self.model.identity(),
            "attack": self.attack,
            "parameters": self.parameters,
            "epsilon": str(self.epsilon),
            "epochs": self.epochs,
            "batch": [self.identities, self.images],
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def resolve_perturbation(document: Document) -> PerturbationRecipe:
    """A document as a recipe.

    Raises:
        UserError: anything wrong in it, with the line and path of the key.
        InvalidFileError: weights that are not what they should be.
    """
    file = validate(document, PerturbationFile, keys=KEYS, fixed=FIXED)
    try:
        epsilon = parse_epsilon(file.epsilon)
    except UserError as error:
        raise document.refusal(("epsilon",), error) from None
    if not epsilon:
        raise document.refusal(("epsilon",), UserError("a perturbation of no size cannot be fitted; give one above 0."))
    model = model_spec(document, ("model",))
    if model.by_trial:
        what = f"a perturbation is fitted to the model of one split; name one weights file, without {PLACE}."
        raise document.refusal(("model",), UserError(what))
    return PerturbationRecipe(
        name=file.name,
        text=document.text,
        model=model,
        data=data_request(document, file.data),
        attack=file.attack.name,
        procedure=_procedure(document, file.attack),
        epsilon=epsilon,
        epochs=file.epochs,
        identities=file.batch.identities,
        images=file.batch.images,
        seed=file.seed,
    )


def _procedure(document: Document, entry: AttackEntry) -> Procedure:
    if entry.name not in PROCEDURES:
        raise document.refusal(("attack",), unknown("universal attack", entry.name, PROCEDURES))
    kind, given = PROCEDURES[entry.name], dict(entry.model_extra or {})
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in given:
        if key not in fields:
            hint = nearest(key, fields)
            text = f"{entry.name} takes no parameter {key!r}.{hint} It takes: {', '.join(fields)}."
            raise document.refusal(("attack", key), UserError(text))
    try:
        return kind(**{key: parse(fields[key], value) for key, value in given.items()})
    except ValueError as error:
        raise document.refusal(("attack",), UserError(f"{error}.")) from None
