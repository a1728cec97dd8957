"""Names that load late: a table of `module:object` strings, widened by installed entry points."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .. import UserError


def nearest(name: str, names: Iterable[str]) -> str:
    """' Did you mean ...?' with the closest of `names`, or an empty string."""
    close = difflib.get_close_matches(name.lower(), {n.lower(): n for n in names}, n=1, cutoff=0.5)
    by_lower = {n.lower(): n for n in names}
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""


def unknown(kind: str, name: str, names: Iterable[str]) -> UserError:
    """The one wording of an unknown name."""
    known = sorted(names)
    return UserError(f"Unknown {kind} {name!r}.{nearest(name, known)} Available: {', '.join(known)}.")


def load_reference(reference: str, package: str | None = None) -> Any:
    """The object behind `module:attribute`; a leading dot is relative to `package`."""
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module, package), attribute)


@dataclass(frozen=True)
class Registry:
    """One catalogue of names. Nothing is imported before it is asked for, so no result depends on import order."""

    #: What a name stands for, in messages: "attack".
    kind: str
    #: name -> `.module:object`, relative to `package`.
    table: Mapping[str, str]
    #: The package that relative references start from.
    package: str
    #: The entry-point group that installed distributions may add names under.
    group: str
    _discover: Callable[..., Iterable[EntryPoint]] = field(default=entry_points, repr=False)

    def plugins(self) -> dict[str, EntryPoint]:
        """Entry points of the group by name; a name that already has an owner is refused."""
        found: dict[str, EntryPoint] = {}
        for point in self._discover(group=self.group):
            if point.name in self.table or (point.name in found and found[point.name].value != point.value):
                raise UserError(
                    f"The {self.kind} name {point.name!r} of distribution {_owner(point)} is already taken; "
                    f"uninstall one of the two or ask its author to rename it."
                )
            found[point.name] = point
        return found

    def names(self) -> list[str]:
        """Every name that `load` knows, built-in ones first."""
        return [*self.table, *sorted(self.plugins())]

    def __contains__(self, name: object) -> bool:
        return name in self.table or name in self.plugins()

    def load(self, name: str) -> Any:
        """The object called `name`. UserError with the nearest name where there is none."""
        if name in self.table:
            return load_reference(self.table[name], self.package)
        points = self.plugins()
        if name not in points:
            raise unknown(self.kind, name, self.names())
        try:
            return points[name].load()
        except Exception as error:
            raise UserError(
                f"The {self.kind} {name!r} of distribution {_owner(points[name])} does not load: "
                f"{type(error).__name__}: {error}."
            ) from error


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
