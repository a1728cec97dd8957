"""What a weights file was trained on, as its card says: `card.json` beside it, or `NAME.json` beside NAME.safetensors.

A card is what a training of this package leaves, or what somebody wrote by hand:

    {"trained_on": ["sysu"], "trial": null}

Names are those of data set formats. A card that names another file's digest (`weights_sha256`) is none of this file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import InvalidFileError
from ..base import ModelSpec
from .entry import ZooEntry
from .files import file_digest, made_of, weights_sha256
from .published import PUBLISHED


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known of the training of some weights."""

    #: Names of data set formats; None where nobody knows.
    trained_on: tuple[str, ...] | None = None
    #: The split that it was trained on, from 1, of a set that has splits.
    trial: int | None = None


def trained_on(model: ModelSpec | Path | None) -> tuple[str, ...] | None:
    """The data sets that a model has seen, by the names of their formats; None where nothing is known of it.

    Args:
        model: a specification, its weights file, or None for a model without one.

    Raises:
        InvalidFileError: its card says so in a form that means nothing.
    """
    return card_of(model).trained_on


def card_of(model: ModelSpec | Path | None) -> Card:
    """What is known of the training of a model: from its card, or else from the table of published ones.

    Raises:
        InvalidFileError: its card says so in a form that means nothing.
    """
    path = model.weights if isinstance(model, ModelSpec) else model
    if path is None or not path.is_file():
        return Card()
    sha256 = model.sha256 if isinstance(model, ModelSpec) else ""
    for place in (path.with_suffix(".json"), path.with_name("card.json")):
        noted = _noted(place)
        if "trained_on" not in noted:
            continue
        named = noted.get("weights_sha256")
        if named is not None and named != (sha256 := sha256 or weights_sha256(path)):
            continue
        return _card(place, noted)
    entry = _published(path)
    return Card(trained_on=entry.trained_on or None) if entry else Card()


def _noted(place: Path) -> Mapping[str, Any]:
    """What a file says; nothing where it is no card: other tools put files of such names there too."""
    try:
        found = json.loads(place.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _card(place: Path, noted: Mapping[str, Any]) -> Card:
    names, trial = noted["trained_on"], noted.get("trial")
    is_list = names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names))
    if not is_list or not (trial is None or type(trial) is int):
        raise InvalidFileError(
            f"The card {str(place)!r} says trained_on {names!r} and trial {trial!r}; expected a list of data set "
            f'formats, such as ["regdb"], or null, and the number of a split, or null.'
        )
    return Card(trained_on=None if names is None else tuple(names), trial=trial)


def _published(path: Path) -> ZooEntry | None:
    """The published model whose file this is, by its digest."""
    forms = [form for entry in PUBLISHED for form in (entry, entry.stand_in) if form and form.is_pinned]
    for form in forms:
        first = form.files[0]
        if Path(form.file).suffix != path.suffix:
            continue
        digest = made_of(path) if form.converted else file_digest(path, first.algorithm)
        if digest == first.digest:
            return form
    return None
