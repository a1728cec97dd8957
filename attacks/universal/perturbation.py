"""A fitted perturbation: one tensor, and what it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ... import UserError
from ...models.base import ModelSpec
from ...models.pixels import resize

#: By how much (in [0, 1] pixel units) an entry may pass its epsilon: float32's last bits.
TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """One change for all images, known by the digest of its file: two with the same digest are one."""

    #: sha256 of the file, hexadecimal.
    sha256: str
    #: (3, H, W) float32, in [0, 1] pixel units, within `epsilon`.
    delta: Tensor = field(repr=False, compare=False)
    #: The L-inf radius that it was fitted for.
    epsilon: Fraction = field(compare=False)
    #: A name of `PROCEDURES`: how it was fitted.
    procedure: str = field(compare=False)
    #: What the model it was fitted on was called, and the sha256 of that model's weights.
    model: str = field(compare=False)
    model_sha256: str = field(compare=False)
    #: Digest of the training images.
    data_sha256: str = field(compare=False)
    #: The test-time defence in front of that model, as the column `defence` names it; None where there was none.
    model_defence: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.delta.ndim != 3 or len(self.delta) != 3 or not self.delta.numel():
            raise ValueError(f"expected a perturbation (3, H, W), got {tuple(self.delta.shape)}")
        if not bool(torch.isfinite(self.delta).all()):
            raise ValueError("expected finite numbers in a perturbation")
        largest = float(self.delta.abs().max())
        if not 0 < self.epsilon <= 1 or largest > float(self.epsilon) + TOLERANCE:
            raise ValueError(
                f"expected a perturbation within its epsilon of {self.epsilon}, got entries of {largest:.6g}"
            )

    def __str__(self) -> str:
        """Its digest: how the parameters of an attack name it."""
        return self.sha256

    def is_of(self, model: ModelSpec) -> bool:
        """Whether a model is the one that it was fitted on: the weights, and the defence in front of them."""
        return (self.model_sha256, self.model_defence) == (model.sha256, model.defence_title)

    def at(self, like: Tensor) -> Tensor:
        """The perturbation (1, 3, H, W) in the size, type and place of images (B, 3, H, W); resized bilinearly."""
        height, width = like.shape[-2:]
        return resize(self.delta[None].to(like), (height, width))


def fitted_by(attack: str, given: Any) -> Perturbation:
    """The perturbation that an attack of a grid has. UserError where it has none, or that of another procedure."""
    if given is None:
        raise UserError(
            f"{attack} needs the key `perturbation` with the file of a fitted perturbation; fit one with "
            f"`robustreid train` (docs/universal.md)."
        )
    if not isinstance(given, Perturbation):
        raise UserError(f"{attack}: perturbation: expected the path of a .safetensors file, got {given!r}.")
    if given.procedure != attack:
        raise UserError(f"{attack}: the perturbation was fitted by {given.procedure}; name the attack so.")
    return given
