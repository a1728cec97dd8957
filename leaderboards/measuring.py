"""A test's model measured: one cell is evaluated, or read where it stands. Torch loads late.

What is kept lies in one run directory a model and data set, so that cells share clean features, and a second session
runs nothing that stands. A model that is code (a module in memory, a plug-in) is never kept beyond a call: nobody can
see whether its code has changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import UserError
from ..benchmark.api import Evaluation, evaluate
from .gate.joining import join
from .measurements import Measurement, read_measurements

#: What `evaluate` takes for data.
Data = str | Path | Mapping[str, Any]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class NotMeasuredError(Exception):
    """The evaluation failed or was skipped; the message is its reason."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One cell of a model."""

    evaluation: Evaluation
    #: The same with the scores of each query.
    cell: Measurement
    #: Where its row is kept.
    run: Path


def run_of(model: Any, data: Data, *, kept: Path, scratch: Path) -> Path:
    """The run directory for a model and a data set: under `kept`, or `scratch` itself for a model that is code."""
    if not isinstance(model, str | Path | Mapping) or (isinstance(model, Mapping) and "plugin" in model):
        return scratch
    asked = [_plain(model), _plain(data)]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:12]
    return kept / f"{_slug(model)}-{_slug(data)}-{digest}"


def _plain(asked: str | Path | Mapping[str, Any]) -> Any:
    """What tells two requests apart; a path that is there, wherever it is named from, is its place."""
    if isinstance(asked, Mapping):
        return [str(Path.cwd()), dict(asked)]
    return str(Path(asked).resolve()) if Path(asked).exists() else str(asked)


def _slug(asked: str | Path | Mapping[str, Any]) -> str:
    name = str(asked.get("name", "entry")) if isinstance(asked, Mapping) else Path(asked).stem
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:32].strip(".") or "unnamed"


def measure(model: Any, data: Data, options: Mapping[str, Any], *, run: Path, name: str | None = None) -> Measured:
    """Evaluate one cell, or read it where it stands; what failed before is tried again.

    Sessions and processes wait for each other where they share the run directory.

    Args:
        model: as `robustreid.evaluate` takes it, and so are `data` and `options`.
        data: see there.
        options: see there.
        run: the run directory.
        name: what the model is called from here on; as `evaluate` calls it where None.

    Raises:
        UserError: the request is wrong.
        NotMeasuredError: the cell failed or was skipped.
    """
    from filelock import FileLock

    if name is not None and not _NAME.fullmatch(name):
        raise UserError(f"name is {name!r}; expected 1 to 64 letters, digits, dots, dashes or underscores.")
    run.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{run}.lock"):
        try:
            evaluation = evaluate(model, data, out=run, again="failed", **options)
        except RuntimeError as error:
            if not str(error).startswith("the evaluation "):
                raise
            raise NotMeasuredError(str(error)) from None
        (cell,) = read_measurements(run)
        cell = replace(cell, loaded=cell.queries)
    if name is not None:
        evaluation = Evaluation({**evaluation.row, "model": name})
        label = f"{name}{cell.label.removeprefix(cell.model)}"
        cell = replace(cell, model=name, label=label, row={**cell.row, "model": name})
    return Measured(evaluation=evaluation, cell=cell, run=run)


def merge(known: Sequence[Measurement], cell: Measurement) -> tuple[Measurement, ...]:
    """The cells with one more; one that is among them already counts once, and none shares its id with another.

    Raises:
        UserError: another model of that label was measured under the same attack.
    """
    if any(other.cell_id == cell.cell_id and other.model == cell.model for other in known):
        return tuple(known)
    if any(other.cell_id == cell.cell_id for other in known):  # the same weights under another name
        own = hashlib.sha256(f"{cell.model} {cell.cell_id}".encode()).hexdigest()[:32]
        cell = replace(cell, cell_id=own, row={**cell.row, "cell_id": own})
    for pair in join(known, [cell], by_label=True):
        if pair.new is cell and pair.base is not None and not pair.differences:
            raise UserError(
                f"Two models are called {cell.model!r} and were both measured by {cell.label!r}; give one of them "
                f"another name: robust(model, data, name='...')."
            )
    return (*known, cell)
