"""What an entry of a grid's `models` stands for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ... import UserError
from ...models.base import ModelSpec, Normalise
from ...models.defences.base import Defence
from ...models.defences.catalogue import DefenceError, parse_one
from ...models.load import resolve
from ...models.splits import is_by_trial, resolve_by_trial
from ...models.zoo import find
from .reading import Place
from .schema import DefenceEntry, ModelEntry, NormaliseEntry


class PlacedError(UserError):
    """What is wrong with one key of an entry."""

    def __init__(self, message: str, place: Place = ()) -> None:
        super().__init__(message)
        #: From the entry on.
        self.place = place


def model_of(entry: ModelEntry, path: Callable[[str | None], Path | None]) -> ModelSpec:
    """The model of an entry; `path` says where a file lies that the grid names.

    Raises:
        UserError: there is no such model, or it is said in two ways that contradict each other.
    """
    normalise: Any = entry.normalise
    if isinstance(normalise, NormaliseEntry):
        normalise = Normalise(mean=normalise.mean, std=normalise.std)
    defence = _defences(entry.defence or [])
    own = {"weights": entry.weights, "plugin": entry.plugin, "architecture": entry.architecture}
    given = [key for key, value in own.items() if value is not None]
    if given and entry.zoo is not None:
        raise PlacedError(
            f"The model {entry.name!r} is {entry.zoo!r} of the zoo, which brings its own {' and '.join(given)}; leave "
            f"one of the two out.",
            ("zoo",),
        )
    if given:

        def own_model(weights: Path | None) -> ModelSpec:
            return resolve(
                label=entry.name,
                architecture=entry.architecture,
                weights=weights,
                plugin=entry.plugin,
                normalise=normalise,
                metric=entry.metric or "cosine",
                input_size=entry.input_size,
                defence=defence,
            )

        weights = path(entry.weights)
        return resolve_by_trial(weights, own_model) if weights and is_by_trial(weights) else own_model(weights)
    known, weights = find(entry.zoo or entry.name)
    if known.defence:
        defence = (*defence, parse_one(known.defence))
    return resolve(
        label=entry.name,
        architecture=known.architecture,
        weights=weights,
        normalise=normalise or known.normalise,
        metric=entry.metric or known.metric,
        input_size=entry.input_size,
        defence=defence,
    )


def _defences(entries: list[DefenceEntry]) -> tuple[Defence, ...]:
    found = []
    for index, entry in enumerate(entries):
        try:
            found.append(parse_one(entry.model_dump()))
        except DefenceError as error:
            deeper = () if error.key is None else (error.key,)
            raise PlacedError(str(error), ("defence", index, *deeper)) from None
    return tuple(found)
