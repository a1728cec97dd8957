"""A model for each split of a data set: `weights: w_{trial}.safetensors` names ten files, one a split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .. import UserError
from .base import ModelSpec

#: What stands in a path where the number of the split belongs, from 1.
PLACE = "{trial}"
#: Splits of every data set that has any.
N_SPLITS = 10


def is_by_trial(path: str | Path | None) -> bool:
    """Whether a path names a file for each split."""
    return path is not None and PLACE in str(path)


def paths_by_trial(path: Path) -> tuple[Path, ...]:
    """The files of all splits.

    Raises:
        UserError: some of them do not exist.
    """
    found = tuple(Path(str(path).replace(PLACE, str(number))) for number in range(1, N_SPLITS + 1))
    missing = [str(file) for file in found if not file.is_file()]
    if missing:
        raise UserError(
            f"{str(path)!r} names a file for each of {N_SPLITS} splits, and {len(missing)} of them are not there, such "
            f"as {missing[0]!r}; put them there, or name one file."
        )
    return found


def resolve_by_trial(path: Path, resolve: Callable[[Path], ModelSpec]) -> ModelSpec:
    """One specification that stands for those of all splits.

    Args:
        path: with `{trial}` in it.
        resolve: the specification of one file.

    Raises:
        UserError: a file is missing, or the files of two splits are the same.
        InvalidFileError: a file is no weights file.
    """
    each = tuple(resolve(file) for file in paths_by_trial(path))
    known: dict[str, Path | None] = {}
    for spec in each:
        if spec.sha256 in known:
            raise UserError(
                f"{str(spec.weights)!r} and {str(known[spec.sha256])!r} hold the same weights; each split has a model "
                f"of its own, or else name one file for all and say in its card what it was trained on."
            )
        known[spec.sha256] = spec.weights
    whole = hashlib.sha256("\n".join(spec.sha256 for spec in each).encode()).hexdigest()
    return replace(each[0], weights=path, sha256=whole, by_trial=each)
