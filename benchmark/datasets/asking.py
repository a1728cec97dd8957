"""How a command line says which data set it is about: NAME, --root, --format, --protocol and -o KEY=VALUE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ... import UserError
from ..commands import FolderPath

if TYPE_CHECKING:
    from .opening import DatasetRequest

_Command = TypeVar("_Command", bound=Callable[..., Any])


def of_one_set(command: _Command) -> _Command:
    """The argument and options that say which set a command is about."""
    for decorate in (
        click.option(
            "-o",
            "options",
            multiple=True,
            metavar="KEY=VALUE",
            help="An option of the format, as identities=8 or boxes=labeled; may be given several times.",
        ),
        click.option("--protocol", help="By which rules it is scored. [default: the format's own]"),
        click.option("--format", "layout", help="A name of `robustreid data ls`. [default: NAME]"),
        click.option("--root", type=FolderPath(), help="The folder with its images; a drawn set has none."),
        click.argument("name"),
    ):
        command = decorate(command)
    return command


def asked_for(
    name: str, root: Path | None, layout: str | None, protocol: str | None, options: tuple[str, ...]
) -> tuple[DatasetRequest, str]:
    """What a command line asks for, and the name of its format.

    Raises:
        UserError: an unknown format, a contradiction, or an option that is no KEY=VALUE.
    """
    from ...models.registry import unknown
    from .catalogue import FORMATS, refuse_contradictions
    from .opening import DatasetRequest

    if (layout or name) not in FORMATS:
        if layout:
            raise unknown("data set format", layout, FORMATS.names())
        raise UserError(f"{unknown('data set', name, FORMATS.names())} Or say which --format its --root has.")
    given = _options(options)
    if protocol is not None and given.setdefault("protocol", protocol) != protocol:
        raise UserError("The protocol is given twice, by --protocol and by -o; leave one of them out.")
    found = layout or name
    refuse_contradictions(name, found, has_root=root is not None, options=given)
    return DatasetRequest(label=name, format=found, root=root, options=given), found


def _options(words: tuple[str, ...]) -> dict[str, int | str | bool]:
    """KEY=VALUE as a mapping: whole numbers and true or false are what they look like, the rest is text."""
    found: dict[str, int | str | bool] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise UserError(f"-o {word!r} is not KEY=VALUE; expected an option of the format, as identities=8.")
        if key in found:
            raise UserError(f"The option {key!r} is given twice; leave one of them out.")
        known = {"true": True, "false": False}
        digits = value.removeprefix("-")
        is_number = digits.isascii() and digits.isdigit() and len(digits) < 19
        found[key] = int(value) if is_number else known.get(value, value)
    return found
