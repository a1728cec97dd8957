"""What a submission says of itself. No torch, and nothing of it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ... import UserError
from .findings import BundleError, Fault, shown
from .folders import open_inside
from .limits import MAX_TEXT
from .paths import DESCRIPTION
from .schema import SubmissionFile, check_keys
from .strict_yaml import read_yaml

_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Description:
    """A `submission.yaml` in which every key is what it should be; what they mean is for the rules."""

    #: [A-Za-z0-9._-]{1,64}, no dot in front.
    name: str
    title: str
    authors: tuple[str, ...]
    #: An SPDX identifier, or `proprietary`.
    licence: str
    #: Names of tracks, as they stand there.
    tracks: tuple[str, ...]
    #: As an entry of a grid's `models`, in plain values: `weights` (a file name beside submission.yaml) always,
    #: architecture, normalise, metric, input_size and defence where they are given. Never `name` or `plugin`.
    model_entry: Mapping[str, Any] = field(hash=False)
    #: Names of data sets.
    trained_on: tuple[str, ...]
    #: Names of stages that draw at random, and of those without a gradient of their own; empty: there are none.
    random_stages: tuple[str, ...]
    non_differentiable_stages: tuple[str, ...]
    #: As an entry of a grid's `attacks`, `name` among it; None: there is none.
    adaptive_attack: Mapping[str, Any] | None = field(default=None, hash=False)
    #: Where to reach the authors.
    contact: str | None = None
    #: https links.
    paper: str | None = None
    code: str | None = None
    #: As the authors write it: 8/255; None where it was not trained with an adversary.
    training_epsilon: str | None = None

    @property
    def weights(self) -> str:
        """The file with the weights or the program, beside submission.yaml."""
        return str(self.model_entry["weights"])

    @property
    def is_program(self) -> bool:
        """Whether that is an ONNX program."""
        return self.weights.endswith(".onnx")


def read_description(text: str, name: str = DESCRIPTION, folder: Path | None = None) -> Description:
    """The description in the text of a `submission.yaml`.

    Args:
        text: of the file.
        name: what messages call it.
        folder: where it lies, for messages.

    Raises:
        BundleError: it is no YAML that is read, or a key is missing, unknown or not what it should be; every problem.
    """
    document, faults = read_yaml(text.encode(), name)
    file, problems = (None, []) if document is None else check_keys(document)
    found = list(faults)
    if document is not None:
        found += (Fault(code="SUB107", place=document.where(place), problem=shown(what)) for place, what in problems)
    if file is None:
        raise BundleError(name if folder is None else folder / name, found)
    return describe(file)


def read_folder(folder: Path) -> Description:
    """The description of the submission in a folder.

    Raises:
        UserError: there is no such folder, or no submission.yaml in it.
        BundleError: as `read_description`.
    """
    if not (folder / DESCRIPTION).is_file():
        raise UserError(
            f"There is no {DESCRIPTION} in {str(folder)!r}; give the folder of a submission, or begin one with "
            f"`robustreid submit init`."
        )
    with open_inside(folder, DESCRIPTION) as file:
        content = file.read(MAX_TEXT + 1)
    return read_description(content.decode("utf-8", errors="backslashreplace"), DESCRIPTION, folder)


def describe(file: SubmissionFile) -> Description:
    """The same from checked keys."""
    attack = None if file.adaptive_attack is None else file.adaptive_attack.model_dump()
    return Description(
        name=file.name,
        title=file.title,
        authors=tuple(file.authors),
        licence=file.licence,
        tracks=tuple(dict.fromkeys(file.track)),
        model_entry=MappingProxyType(file.model.model_dump(exclude_none=True)),
        trained_on=tuple(file.trained_on),
        random_stages=tuple(file.random_stages),
        non_differentiable_stages=tuple(file.non_differentiable_stages),
        adaptive_attack=None if attack is None else MappingProxyType(attack),
        contact=file.contact,
        paper=file.paper,
        code=file.code,
        training_epsilon=file.training_epsilon,
    )
