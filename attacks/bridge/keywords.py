"""The keywords of a foreign constructor that a grid may set, in the types of their own defaults."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from ... import UserError
from ...models.registry import nearest
from ..optimisers.base import MAX_STEPS
from ..threat import parse_epsilon

Value = bool | int | float | str | Fraction | None

#: The radius, under the names that constructors have for it: it is the threat's.
RADIUS = ("eps", "max_epsilon")
#: What the bridge hands over itself.
OURS = frozenset({"self", "model", "norm", "seed", "n_classes", "verbose", *RADIUS})
#: Whole numbers by default that need not be whole.
_REAL = frozenset({"c", "kappa", "scale", "lam"})
_CHOICES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("APGD", "loss"): ("ce", "dlr"),
    ("Square", "loss"): ("margin", "ce"),
    ("TIFGSM", "kernel_name"): ("gaussian", "linear", "uniform"),
}


def defaults(constructor: type) -> dict[str, Any]:
    """Every keyword that a grid may set, with the package's own default."""
    found = inspect.signature(constructor).parameters.values()
    return {
        each.name: each.default
        for each in found
        if each.name not in OURS and isinstance(each.default, bool | int | float | str)
    }


def step_share(constructor: type) -> Fraction | None:
    """Alpha as a share of epsilon, as the package's own defaults have it; None for an attack without steps."""
    known = inspect.signature(constructor).parameters
    if "alpha" not in known or "eps" not in known:
        return None
    return Fraction(known["alpha"].default / known["eps"].default).limit_denominator(100)


def read(name: str, constructor: type, given: Mapping[str, Any]) -> dict[str, Value]:
    """Every keyword of an attack with the given values in place; alpha is None where it follows epsilon.

    Raises:
        UserError: an unknown keyword (with the nearest one), or a value of another type or out of range.
    """
    usual = defaults(constructor)
    for key in given:
        if key not in usual:
            raise UserError(
                f"Attack 'torchattacks.{name}' takes no parameter {key!r}.{nearest(key, usual)} "
                f"It takes: {', '.join([*usual, 'logit_scale'])}; epsilon, norm and seed come from the cell."
            )
    try:
        found = {key: _parsed(name, key, given.get(key, value), value) for key, value in usual.items()}
    except ValueError as error:
        raise UserError(f"Attack 'torchattacks.{name}': {error}.") from error
    if step_share(constructor) is not None and "alpha" not in given:
        found["alpha"] = None
    return found


def _parsed(attack: str, key: str, value: Any, usual: Any) -> Value:
    if isinstance(usual, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{key}: expected true or false, got {value!r}")  # noqa: TRY004
        return value
    if isinstance(usual, str):
        choices = _CHOICES.get((attack, key))
        if not isinstance(value, str) or (choices and value not in choices):
            raise ValueError(f"{key}: expected {' or '.join(choices or ['a word'])}, got {value!r}")
        return value
    if key == "alpha":
        return _step(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key}: expected a number, got {value!r}")
    if isinstance(usual, float) or key in _REAL:
        return float(value)
    if value != int(value) or not 1 <= value <= MAX_STEPS:
        raise ValueError(f"{key}: expected a whole number from 1 to {MAX_STEPS}, got {value!r}")
    return int(value)


def _step(value: Any) -> Fraction:
    try:
        # As with epsilon, a bare 1 may mean 1/255 or the whole range.
        step = parse_epsilon(value, "linf" if re.fullmatch(r"[0-9]+", str(value).strip()) else "l2")
    except UserError as error:
        raise ValueError(f"alpha: expected a fraction such as 1/255, got {value!r}") from error
    if step == 0:
        raise ValueError("alpha: expected more than 0, got 0")
    return step
