"""Parameters of attacks, in the types of their own fields."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

from .. import UserError
from .threat import parse_epsilon


def parse(parameter: dataclasses.Field[Any], value: Any) -> Any:
    """`value` in the parameter's own type, so that `1` and `1.0` are one cell. ValueError where it is of another."""
    kind = str(parameter.type)
    if kind == "Fraction":
        try:
            # As with epsilon, a bare 1 may mean 1/255 or the whole range.
            return parse_epsilon(value, "linf" if re.fullmatch(r"[0-9]+", str(value).strip()) else "l2")
        except UserError as error:
            raise ValueError(f"{parameter.name}: expected a fraction such as 1/255, got {value!r}") from error
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise ValueError(f"{parameter.name}: expected a number, got {value!r}")  # noqa: TRY004
    if kind.startswith("int"):
        if value is None and "None" in kind:
            return None
        if not isinstance(value, int):
            raise ValueError(f"{parameter.name}: expected a whole number, got {value!r}")
        return value
    if value is None:
        raise ValueError(f"{parameter.name}: expected a number, got nothing")
    if not math.isfinite(value):
        raise ValueError(f"{parameter.name}: expected a finite number, got {value!r}")
    return float(value)
