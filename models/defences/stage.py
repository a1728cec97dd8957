"""How a defence stands before a model: stages, one inside the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..registry import load_reference
from .base import Defence
from .draws import content, split

#: Features (B, D) of images (B, 3, H, W); and the same by what stands behind a stage, which is given besides one number
#: (B,) an image that decides what is drawn for it (`draws`).
Embed = Callable[[Tensor], Tensor]
Rest = Callable[[Tensor, Tensor], Tensor]


class Stage(nn.Module):
    """What a defence does to images (B, 3, H, W) in [0, 1], before they are resized and normalised.

    One without a useful gradient may say in a method `pull_back(images, gradient)` what an adversary who knows it takes
    in its place: the gradient (B, 3, H, W) at its input, of the one at its output. Without that it is passed straight.
    """

    #: Whether it draws.
    is_random: ClassVar[bool] = False
    #: Whether it gives a mean of several features, which is no unit vector.
    is_mean: ClassVar[bool] = False

    def __init__(self, defence: Defence) -> None:
        super().__init__()
        self.defence = defence
        self.eot_samples = defence.samples

    def around(self, rest: Rest, images: Tensor, own: Tensor) -> Tensor:
        """Features (B, D) of images behind this stage, by the rest; `own` (B,) are the images' numbers."""
        return rest(self(images), own)

    def extra_repr(self) -> str:
        """Its parameters: a module in memory is known by its printed form."""
        return f"{self.defence}, version {self.defence.version}"


class Stages(nn.ModuleDict):
    """Several stages by name, the first one first; a name that stands twice gets a number (`jpeg-2`)."""

    def __init__(self, defences: tuple[Defence, ...]) -> None:
        super().__init__()
        for place, defence in enumerate(defences):
            before = sum(other.name == defence.name for other in defences[:place])
            name = f"{defence.name}-{before + 1}" if before else defence.name
            self[name] = load_reference(defence.stage, __package__)(defence)

    @property
    def hiding(self) -> tuple[str, ...]:
        """Names of those whose gradient is replaced by who knows them."""
        return tuple(name for name, stage in self._stages() if stage.defence.is_hiding)

    @property
    def paths(self) -> tuple[str, ...]:
        """The same from a module on that has these stages as `defences`."""
        return tuple(f"defences.{name}" for name in self.hiding)

    @property
    def is_mean(self) -> bool:
        """Whether features come out as means."""
        return any(stage.is_mean for _, stage in self._stages())

    def forward(self, embed: Embed, images: Tensor) -> Tensor:
        """Features (B, D) of images (B, 3, H, W) behind all of them."""
        rest: Rest = lambda pixels, _: embed(pixels)  # noqa: E731 (the end of the chain)
        stages = self._stages()
        for _, stage in reversed(stages):
            rest = _behind(stage, rest)
        # Of what comes in: grey levels that a stage computes may be others in another arithmetic.
        is_drawn = any(stage.is_random for _, stage in stages)
        return rest(images, content(images) if is_drawn else torch.zeros(len(images), dtype=torch.int64))

    def _stages(self) -> list[tuple[str, Stage]]:
        return [(name, stage) for name, stage in self.items() if isinstance(stage, Stage)]


def _behind(stage: Stage, rest: Rest) -> Rest:
    # Each stage hands other numbers on, so that two of a kind draw apart.
    return lambda images, own: stage.around(lambda pixels, of: rest(pixels, split(of, 0)), images, own)
