"""What a test-time defence is: a name, parameters, and how an adversary who knows it goes through. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

#: How the gradient of a defence is followed by default: as it is; replaced, where it leads nowhere (BPDA); as the
#: mean over draws (EOT).
Gradient = Literal["differentiable", "bpda", "eot"]


class ParameterError(ValueError):
    """A parameter of a defence out of its range."""

    def __init__(self, key: str, expected: str, got: object) -> None:
        super().__init__(f"{key}: expected {expected}, got {got!r}")
        self.key = key


@dataclass(frozen=True, kw_only=True)
class Defence:
    """One test-time defence with its parameters, which are its fields; hashable, and equal where it does the same."""

    name: ClassVar[str]
    #: Raised by hand when its numbers can change.
    version: ClassVar[int] = 1
    #: One line for `robustreid ls defences`.
    summary: ClassVar[str]
    gradient: ClassVar[Gradient]
    #: `module:class` of the `Stage` that does it, relative to this package.
    stage: ClassVar[str]

    @property
    def is_hiding(self) -> bool:
        """Whether its own gradient leads nowhere, or less far than what `Stage.pull_back` gives in its place."""
        return self.gradient == "bpda"

    @property
    def samples(self) -> int:
        """How many gradients, over its draws, an adversary takes the mean of by default."""
        return 1

    def parameters(self) -> Mapping[str, Any]:
        """As canonical JSON values."""
        return asdict(self)

    def identity(self) -> list[Any]:
        """What goes into a cell's id."""
        return [self.name, self.version, dict(self.parameters())]

    def __str__(self) -> str:
        """`jpeg(quality=75)`, as it stands in the column `defence`."""
        return f"{self.name}({', '.join(f'{key}={value}' for key, value in self.parameters().items())})"


def title(defences: tuple[Defence, ...]) -> str | None:
    """The column `defence`: in the order in which an image meets them; None where there is none."""
    return " + ".join(map(str, defences)) or None


def check_whole(key: str, value: object, low: int, high: int, *, odd: bool = False) -> None:
    """ParameterError unless `value` is a whole number from `low` to `high`."""
    if type(value) is not int or not low <= value <= high or (odd and value % 2 == 0):
        raise ParameterError(key, f"{'an odd' if odd else 'a whole'} number from {low} to {high}", value)


def check_number(key: str, value: object, above: float, most: float) -> None:
    """ParameterError unless `value` is a number above `above` and at most `most`."""
    if type(value) not in {int, float} or not math.isfinite(value) or not above < value <= most:  # type: ignore[arg-type,operator]
        raise ParameterError(key, f"a number above {above:g} and at most {most:g}", value)
