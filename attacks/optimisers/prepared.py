"""Images that were attacked elsewhere, as an ordinary attack: handed out by image, no gradient taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..draw import Draw
from ..loss import Loss
from ..threat import Threat
from .base import CLEAN, Optimiser, Trace


@dataclass(frozen=True, kw_only=True)
class Prepared(Optimiser):
    """Gives every image the one that somebody prepared for it; an image that nobody prepared stays clean.

    Nobody trusts them to keep the budget: `Attack` projects and measures, and says `projected` where anything moved.
    """

    uses_loss: ClassVar[bool] = False
    uses_gradients: ClassVar[bool] = False

    #: Digest of all of the images, hexadecimal: what decides the numbers.
    sha256: str
    #: Who made them.
    finder: str
    #: The image (3, H, W) in [0, 1] on the 8-bit grid that takes the place of an image id; None where there is none.
    image: Callable[[str], Tensor | None] = field(compare=False, repr=False)

    def parameters(self) -> dict[str, Any]:
        return {"finder": self.finder, "sha256": self.sha256}

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:  # noqa: ARG002
        found = [self.image(name) if name else None for name in draw.image_ids]
        pairs = zip(found, images, strict=True)
        prepared = torch.stack([clean if given is None else given.to(clean) for given, clean in pairs])
        return [prepared for _ in threats]

    def is_whole(self, threat: Threat) -> bool:  # noqa: ARG002
        return True

    def trace(self, threat: Threat) -> Trace:
        return Trace(gradients=(), values=(), final=CLEAN if threat.epsilon == 0 else ("prepared", self.sha256))
