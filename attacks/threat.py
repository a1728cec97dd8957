"""What the adversary may do: a norm and a radius, exact."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from .. import UserError

NormName = Literal["linf", "l2"]
Side = Literal["query", "gallery", "both"]
Goal = Literal["untargeted", "targeted"]
NORMS: tuple[NormName, ...] = ("linf", "l2")
SIDES: tuple[Side, ...] = ("query", "gallery", "both")
GOALS: tuple[Goal, ...] = ("untargeted", "targeted")

_NUMBER = re.compile(r"[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, kw_only=True)
class Threat:
    """A ball around the clean image, in [0, 1] pixel units."""

    norm: NormName
    #: The radius; a reduced fraction, so 5/255, 10/510 and 1/51 are one threat.
    epsilon: Fraction

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ValueError(f"expected a norm among {', '.join(NORMS)}, got {self.norm!r}")
        if self.epsilon < 0 or (self.norm == "linf" and self.epsilon > 1):
            raise ValueError(f"expected an epsilon in [0, 1] pixel units, got {self.epsilon}")

    @property
    def radius(self) -> float:
        """Epsilon in 8-bit counts: 5/255 is 5.0."""
        return float(self.epsilon * 255)

    @property
    def label(self) -> str:
        """How pages write epsilon: `5/255`, `4.50/255`; an L2 radius as a plain number.

        >>> Threat(norm="linf", epsilon=Fraction(1, 51)).label
        '5/255'
        >>> Threat(norm="linf", epsilon=Fraction(1, 100)).label
        '2.55/255'
        """
        if self.norm == "l2":
            return f"{float(self.epsilon):g}"
        counts = self.epsilon * 255
        return f"{counts}/255" if counts.denominator == 1 else f"{float(counts):.2f}/255"


def parse_epsilon(value: str | float, norm: NormName = "linf") -> Fraction:
    """The exact radius behind `5/255`, `0.02` or `1e-3`.

    A bare integer other than 0 is refused for L-inf, because `8` may mean 8/255 or 8 times the whole range. A float
    that is the nearest one to k/255 means k/255.

    >>> parse_epsilon("10/510") == parse_epsilon("5/255") == parse_epsilon(5 / 255)
    True

    Raises:
        UserError: what is not a number, is negative or, for L-inf, lies outside [0, 1].
    """
    text = str(value).strip()
    top, slash, bottom = (part.strip() for part in text.partition("/"))
    if isinstance(value, bool) or not _NUMBER.fullmatch(top) or (slash and not re.fullmatch(r"[1-9][0-9]*", bottom)):
        raise UserError(
            f"epsilon {text!r} is not a radius: expected a fraction such as 8/255 or a number such as 0.03."
        )
    epsilon = Fraction(top) / Fraction(bottom or 1)
    counts = Fraction(round(epsilon * 255), 255)
    if isinstance(value, float) and float(counts) == value:
        epsilon = counts
    if norm == "linf":
        if not slash and re.fullmatch(r"[0-9]+", top) and epsilon != 0:
            raise UserError(
                f"epsilon {text!r} is ambiguous: expected a radius in [0, 1] pixel units; write {text}/255."
            )
        if epsilon > 1:
            raise UserError(f"epsilon {text!r} is larger than the pixel range: expected a radius in [0, 1], as 8/255.")
    return epsilon
