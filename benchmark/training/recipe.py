"""A training recipe as it was asked for: names resolved, numbers exact, nothing of it run yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from ... import UserError
from ...models.base import NORMALISATIONS, ModelSpec
from ...models.catalogue import ARCHITECTURES, INPUT_SIZES
from ...models.registry import unknown
from ...models.training.augment import Augment
from ...models.training.metric_losses import MetricLoss
from ...models.training.plan import Plan
from ...models.weights.files import file_sha256
from ..config.grid import resolve as resolve_grid
from ..config.reading import Document, Place, parse_document, read_document
from ..config.schema import DatasetEntry
from ..datasets.catalogue import FORMATS, refuse_contradictions
from ..datasets.opening import DatasetRequest
from .adversaries.request import Adversary
from .adversary_recipe import adversary_of
from .schema import Choose, RecipeFile, ValidationSection, check
from .scoring import grid_about


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Who is kept out of training, and how often they are looked for."""

    identities: int
    seed: int
    #: In epochs; the last epoch is always scored.
    every: int
    choose: Choose
    #: A grid without models and data sets.
    grid: Mapping[str, Any]
    document: Document


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
    perturb: Adversary | None
    validation: Validation | None
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
    # Not read whole: some ask for folders that only their user knows.
    return [name for name in _names() if ("kind: perturbation" in _text(name).splitlines()) == perturbations]


def _names() -> list[str]:
    recipes = files("robustreid.benchmark.recipes.train")
    return sorted(item.name.removesuffix(".yml") for item in recipes.iterdir() if item.name.endswith(".yml"))


def _shipped(name: str) -> Document:
    if name not in _names():
        raise UserError(f"{unknown('training recipe', name, _names())} Or give the path of a .yml file.")
    return parse_document(_text(name), name=f"{name}.yml", folder=Path.cwd())


def _text(name: str) -> str:
    return (files("robustreid.benchmark.recipes.train") / f"{name}.yml").read_text(encoding="utf-8")


def resolve(document: Document) -> Recipe:
    """A document as a recipe."""
    file = check(document)
    if file.architecture not in ARCHITECTURES:
        raise document.refusal(("architecture",), unknown("architecture", file.architecture, ARCHITECTURES.names()))
    weights = None if file.weights is None else document.folder / Path(file.weights).expanduser()
    losses, share = file.losses, file.perturb.share if file.perturb else 1.0
    if not (losses.softmax or losses.triplet or losses.weighted or losses.metric):
        raise UserError(f"{document.where(('losses',))}: all weights are 0; expected one above 0.")
    # A model that is nowhere yet: what is wrong with the rest is said before the training, not after.
    stand_in = {"name": file.name, "plugin": "to:come"}
    if file.scores:
        grid_about(stand_in, document, "scores", document.data["scores"])
    recipe = Recipe(
        name=file.name,
        text=document.text,
        spec=ModelSpec(
            label=file.name,
            architecture=file.architecture,
            input_size=file.input_size or INPUT_SIZES.get(file.architecture),
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
            rounds=file.batch.rounds,
            optimiser=file.optimiser.name,
            learning_rate=file.optimiser.learning_rate,
            weight_decay=file.optimiser.weight_decay,
            warmup_epochs=file.optimiser.warmup_epochs,
            softmax=losses.softmax,
            label_smoothing=losses.label_smoothing,
            triplet=losses.triplet,
            margin=None if losses.margin == "soft" else losses.margin,
            weighted=losses.weighted,
            bnneck=losses.bnneck,
            metric_loss=MetricLoss(**losses.metric.model_dump()) if losses.metric else None,
            augment=Augment(**file.augment.model_dump()),
            share=share,
            preserve=file.perturb.preserve if file.perturb else 0.0,
            average=file.average,
            precision=file.precision,
        ),
        perturb=_perturb(document, file) if file.perturb else None,
        validation=_validation(document, file.validation, stand_in) if file.validation else None,
        store=file.store,
        scores=document if file.scores else None,
        sha256="",
    )
    return replace(recipe, sha256=_digest(document, file, recipe))


def data_request(document: Document, entry: DatasetEntry) -> DatasetRequest:
    """The training set that a recipe's `data` means. UserError for an unknown one, or keys that contradict it."""
    layout = entry.format or entry.name
    if layout == "held-out":
        what = "`held-out` is the people who are kept out of a training; give the set itself, and `validation`."
        raise document.refusal(("data",), UserError(what))
    if layout not in FORMATS:
        hint = " Or say which `format` its `root` has." if entry.format is None else ""
        raise document.refusal(("data",), UserError(f"{unknown('data set', layout, FORMATS.names())}{hint}"))
    try:
        refuse_contradictions(entry.name, layout, has_root=entry.root is not None, options=entry.options)
    except UserError as error:
        raise document.refusal(("data",), error) from None
    root = None if entry.root is None else document.folder / Path(entry.root).expanduser()
    return DatasetRequest(label=entry.name, format=layout, root=root, options=entry.options)


def model_spec(document: Document, place: Place) -> ModelSpec:
    """The model at a place of a recipe, as a grid would have it; its problems are said with their lines."""
    entry = document.data
    for key in place:
        entry = entry[key]
    whole = {"name": "model", "datasets": ["synthetic"], "attacks": ["noise"], "epsilons": [0], "side": "query"}
    n = len(place)
    lines = {("models", 0, *found[n:]): line for found, line in document.lines.items() if found[:n] == place}
    grid = replace(document, data={**whole, "models": [entry]}, lines=lines)
    try:
        return resolve_grid(grid).models[0]
    except UserError as error:
        raise type(error)(str(error).replace("models[0]", ".".join(map(str, place)))) from None


def _perturb(document: Document, file: RecipeFile) -> Adversary:
    assert file.perturb is not None  # noqa: S101 (the caller asked)
    against = model_spec(document, ("perturb", "against")) if file.perturb.against else None
    return adversary_of(document, file, file.perturb, against)


def _validation(document: Document, entry: ValidationSection, stand_in: Mapping[str, Any]) -> Validation:
    if "datasets" in entry.grid:
        raise document.refusal(
            ("validation", "datasets"), UserError("it is the people who are kept out; leave it out.")
        )
    grid = grid_about(stand_in, document, "validation", {**entry.grid, "datasets": ["synthetic"]})
    if len(grid.sides) > 1:
        raise document.refusal(("validation", "side"), UserError("give one side: one score an epoch is kept."))
    if grid.goals != ("untargeted",):
        raise document.refusal(("validation", "goal"), UserError("only untargeted scores are kept; leave it out."))
    return Validation(
        identities=entry.identities,
        seed=entry.seed,
        every=entry.every,
        choose=entry.choose,
        grid=entry.grid,
        document=document,
    )


def _digest(document: Document, file: RecipeFile, recipe: Recipe) -> str:
    """Of what decides the weights. Keys at their defaults are left out, so that a new key changes no digest."""
    away = {"kind", "name", "data", "weights", "store", "scores"}
    decides: dict[str, Any] = file.model_dump(exclude=away, exclude_defaults=True)
    try:
        decides["weights"] = None if recipe.weights is None else file_sha256(recipe.weights)
    except UserError as error:
        raise document.refusal(("weights",), error) from None
    if recipe.perturb:
        ball, against = recipe.perturb.ball, recipe.perturb.against
        decides["perturb"] |= {"epsilon": str(ball.epsilon), "step_size": str(ball.step_size)}
        if against:
            decides["perturb"]["against"] = against.identity()
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
