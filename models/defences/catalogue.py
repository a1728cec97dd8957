"""From what a user writes to defences, and what `robustreid ls defences` lists. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ... import UserError
from ..registry import Registry, nearest
from .base import Defence, ParameterError

DEFENCES = Registry(
    kind="defence",
    table={
        "jpeg": ".parameters:Jpeg",
        "bit-depth": ".parameters:BitDepth",
        "blur": ".parameters:Blur",
        "median": ".parameters:Median",
        "resize-pad": ".parameters:ResizePad",
        "smoothing": ".parameters:Smoothing",
    },
    package=__package__,
    group="robustreid.defences",
)

#: A name, a name with parameters, or what was made of it before.
DefenceEntry = str | Mapping[str, Any] | Defence
DefenceRequest = DefenceEntry | Sequence[DefenceEntry] | None


class DefenceError(UserError):
    """A defence that does not exist, or not with these parameters."""

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        #: The parameter that is wrong, or `name`; None where it is the whole.
        self.key = key


def parse(request: DefenceRequest) -> tuple[Defence, ...]:
    """Defences in the order in which an image meets them.

    Args:
        request: `jpeg`, {name: jpeg, quality: 75}, a `Defence`, or several of these.

    Raises:
        DefenceError: an unknown name or parameter, or one out of its range.
    """
    if request is None:
        return ()
    entries = request if isinstance(request, list | tuple) else [request]
    return tuple(parse_one(entry) for entry in entries)  # type: ignore[arg-type]


def parse_one(entry: DefenceEntry) -> Defence:
    """One defence; see `parse`."""
    if isinstance(entry, Defence):
        return entry
    settings = dict(entry) if isinstance(entry, Mapping) else {"name": entry}
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise DefenceError(f"expected a defence such as jpeg or {{name: jpeg, quality: 75}}, got {entry!r}")
    if name not in DEFENCES:
        names = DEFENCES.names()
        raise DefenceError(f"Unknown defence {name!r}.{nearest(name, names)} Available: {', '.join(names)}.", "name")
    kind: type[Defence] = DEFENCES.load(name)
    defaults = {field.name: field.default for field in fields(kind)}
    for key in settings:
        if key not in defaults:
            known = ", ".join(defaults) or "none"
            raise DefenceError(
                f"The defence {name} has no parameter {key!r}.{nearest(key, defaults)} It has: {known}.", key
            )
    # 1 and 1.0 are one number, and one cell.
    given = {
        key: float(value) if type(value) is int and isinstance(defaults[key], float) else value
        for key, value in settings.items()
    }
    try:
        return kind(**given)
    except ParameterError as error:
        raise DefenceError(f"The defence {name}: {error}.", error.key) from None


#: How `ls` says what an adversary does by default.
_ATTACKED = {
    "differentiable": "its own gradient",
    "bpda": "BPDA: its gradient is replaced",
    "eot": "EOT: the mean gradient over its draws",
}


def list_defences() -> list[dict[str, Any]]:
    """One record a defence, with `name`."""
    found = []
    for name in DEFENCES.names():
        kind: type[Defence] = DEFENCES.load(name)
        defaults = {field.name: field.default for field in fields(kind)}
        shown = ", ".join(f"{key}={value}" for key, value in defaults.items())
        found.append(
            {
                "name": name,
                "summary": f"{kind.summary} ({shown}); attacked by {_ATTACKED[kind.gradient]}",
                "parameters": defaults,
                "attacked": kind.gradient,
                "version": kind.version,
            }
        )
    return found
