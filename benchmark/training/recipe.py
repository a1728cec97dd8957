"""A training recipe as it was asked for: names resolved, numbers exact, nothing of it run yet."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from ... import UserError
from ...attacks.threat import parse_epsilon
from ...models.base import NORMALISATIONS, ModelSpec
from ...models.catalogue import ARCHITECTURES, INPUT_SIZES
from ...models.registry import unknown
from ...models.training.augment import Augment
from ...models.training.plan import Plan
from ...models.weights.files import file_sha256
from ..config.reading import Document, Place, parse_document, read_document
from ..config.schema import DatasetEntry
from ..datasets.catalogue import FORMATS, refuse_contradictions
from ..datasets.opening import DatasetRequest
from .perturb import INNER_OBJECTIVES, PgdPerturb
from .schema import PerturbSection, RecipeFile, check
from .scoring import grid_about


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A checked recipe file."""

    name: str
    #: The file as it was written.
    text: str
    #: What the network is trained to be: architecture, input size, normalisation, metric; without weights.
    spec: ModelSpec
    #: Weights to start from; None starts at random.
    weights: Path | None
    data: DatasetRequest
    plan: Plan
    perturb: PgdPerturb | None
    #: What the weights file holds.
    store: Literal["float32", "float16"]
    #: The whole file, where it asks for scores.
    scores: Document | None
    #: Digest of everything above that decides the weights: no name, path or comment; not how they are stored or scored.
    sha256: str


def load_recipe(path: str | Path) -> Recipe:
    """The recipe behind a path, or behind the name of one that the package ships.

    Raises:
        UserError: anything wrong in it, a line a problem, with the line and path of the key.
    """
    document = read_recipe(path)
    if is_perturbation(document):
        raise UserError(f"{document.name}: this is the recipe of a perturbation; expected that of a network.")
    return resolve(document)


def read_recipe(path: str | Path) -> Document:
    """The document behind a path or a shipped name, of whatever kind.

    Raises:
        UserError: there is none, or it is no YAML.
    """
    given = Path(path)
    if given.suffix not in {".yml", ".yaml"}:
        return _shipped(str(path))
    if not given.exists():
        raise UserError(
            f"There is no file {str(path)!r}; give the path of a training recipe (see `robustreid train --help`) or "
            f"the name of a shipped one: {', '.join(_names())}."
        )
    return read_document(given)


def is_perturbation(document: Document) -> bool:
    """Whether a recipe is one of a perturbation rather than of a network."""
    return isinstance(document.data, dict) and document.data.get("kind") == "perturbation"


def shipped(*, perturbations: bool = False) -> list[str]:
    """The names of the recipes that the package ships: those of networks, or those of perturbations."""
    return [name for name in _names() if is_perturbation(_shipped(name)) == perturbations]


def _names() -> list[str]:
    recipes = files("robustreid.benchmark.recipes.train")
    return sorted(item.name.removesuffix(".yml") for item in recipes.iterdir() if item.name.endswith(".yml"))


def _shipped(name: str) -> Document:
    if name not in _names():
        raise UserError(f"{unknown('training recipe', name, _names())} Or give the path of a .yml file.")
    text = (files("robustreid.benchmark.recipes.train") / f"{name}.yml").read_text(encoding="utf-8")
    return parse_document(text, name=f"{name}.yml", folder=Path.cwd())


def resolve(document: Document) -> Recipe:
    """A document as a recipe."""
    file = check(document)
    if file.architecture not in ARCHITECTURES:
        raise _at(document, ("architecture",), unknown("architecture", file.architecture, ARCHITECTURES.names()))
    weights = None if file.weights is None else document.folder / Path(file.weights).expanduser()
    losses, share = file.losses, file.perturb.share if file.perturb else 1.0
    if not losses.softmax and not losses.triplet:
        raise UserError(f"{document.where(('losses',))}: both weights are 0; expected one above 0.")
    if file.scores:
        # A model that is nowhere yet: what is wrong with the rest is said before the training, not after.
        grid_about({"name": file.name, "plugin": "to:come"}, document)
    recipe = Recipe(
        name=file.name,
        text=document.text,
        spec=ModelSpec(
            label=file.name,
            architecture=file.architecture,
            input_size=INPUT_SIZES.get(file.architecture),
            normalise=NORMALISATIONS["imagenet"],
            metric=file.metric,
        ),
        weights=weights,
        data=data_request(document, file.data),
        plan=Plan(
            seed=file.seed,
            epochs=file.epochs,
            identities=file.batch.identities,
            images=file.batch.images,
            optimiser=file.optimiser.name,
            learning_rate=file.optimiser.learning_rate,
            weight_decay=file.optimiser.weight_decay,
            warmup_epochs=file.optimiser.warmup_epochs,
            softmax=losses.softmax,
            label_smoothing=losses.label_smoothing,
            triplet=losses.triplet,
            margin=None if losses.margin == "soft" else losses.margin,
            augment=Augment(flip=file.augment.flip, crop=file.augment.crop, erase=file.augment.erase),
            share=share,
            preserve=file.perturb.preserve if file.perturb else 0.0,
            average=file.average,
            precision=file.precision,
        ),
        perturb=_perturb(document, file.perturb, file) if file.perturb else None,
        store=file.store,
        scores=document if file.scores else None,
        sha256="",
    )
    return replace(recipe, sha256=_digest(document, file, weights))


def _at(document: Document, place: Place, error: UserError) -> UserError:
    return type(error)(f"{document.where(place)}: {error}")


def data_request(document: Document, entry: DatasetEntry) -> DatasetRequest:
    """The training set that a recipe's `data` means. UserError for an unknown one, or keys that contradict it."""
    layout = entry.format or entry.name
    if layout not in FORMATS:
        hint = " Or say which `format` its `root` has." if entry.format is None else ""
        raise _at(document, ("data",), UserError(f"{unknown('data set', layout, FORMATS.names())}{hint}"))
    try:
        refuse_contradictions(entry.name, layout, has_root=entry.root is not None, options=entry.options)
    except UserError as error:
        raise _at(document, ("data",), error) from None
    root = None if entry.root is None else document.folder / Path(entry.root).expanduser()
    return DatasetRequest(label=entry.name, format=layout, root=root, options=entry.options)


def _perturb(document: Document, entry: PerturbSection, file: RecipeFile) -> PgdPerturb:
    if entry.objective not in INNER_OBJECTIVES:
        raise _at(document, ("perturb", "objective"), unknown("objective", entry.objective, INNER_OBJECTIVES))
    radii = {}
    for key in ("epsilon", "step_size"):
        try:
            radii[key] = parse_epsilon(getattr(entry, key))
        except UserError as error:
            raise _at(document, ("perturb", key), error) from None
    if entry.references == "self" and entry.objective == "pull":
        raise _at(document, ("perturb", "objective"), UserError("an image cannot be pulled to itself; take push."))
    return PgdPerturb(
        objective=entry.objective,
        steps=entry.steps,
        references=entry.references,
        precision=file.precision,
        seed=file.seed,
        **radii,
    )


def _digest(document: Document, file: RecipeFile, weights: Path | None) -> str:
    decides: dict[str, Any] = file.model_dump(exclude={"kind", "name", "data", "weights", "store", "scores"})
    try:
        decides["weights"] = None if weights is None else file_sha256(weights)
    except UserError as error:
        raise _at(document, ("weights",), error) from None
    if file.perturb:
        decides["perturb"] |= {key: str(parse_epsilon(getattr(file.perturb, key))) for key in ("epsilon", "step_size")}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
