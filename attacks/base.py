"""An attack: an objective, an optimiser and the references it needs, behind a call that trusts none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .counts import from_counts, to_counts
from .draw import Draw
from .loss import Loss, Passes
from .norms import NORM
from .optimisers import Optimiser
from .threat import Threat

#: By how much (in [0, 1] pixel units, measured in float64) a perturbation may pass its radius: float32's last bits.
TOLERANCE = 1e-6

#: Raised where the final projection had to move an image: the optimiser did not keep its budget.
FLAG_PROJECTED = "projected"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one attack made of one batch under one threat."""

    #: (B, 3, H, W) in [0, 1], inside the ball.
    images: Tensor
    #: (B,) float64, the size of each perturbation in the threat's norm, in [0, 1] pixel units.
    norm: Tensor
    #: Image passes of this threat, by itself and after sharing.
    passes: Passes
    #: How far to believe it.
    flags: frozenset[str]

    @property
    def forwards(self) -> int:
        """Forward passes of images that this threat needs by itself."""
        return self.passes.forwards

    @property
    def backwards(self) -> int:
        """Backward passes of images that this threat needs by itself."""
        return self.passes.backwards


@dataclass(frozen=True, kw_only=True)
class Attack:
    """An optimiser with a final outside: whatever `run` hands back is checked, projected and measured here."""

    optimiser: Optimiser

    def __call__(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Attempt]:
        """One attempt a threat on images (B, 3, H, W) in [0, 1].

        Raises:
            ValueError: the optimiser handed back another shape or something that is not finite.
        """
        return [self._attempt(loss, images, threat, draw) for threat in threats]

    def _attempt(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw) -> Attempt:
        before = loss.passes
        (found,) = self.optimiser.run(loss, images.clone(), [threat], draw)
        spent = loss.passes - before
        found = found.detach().to(images.dtype)
        if found.shape != images.shape or not bool(torch.isfinite(found).all()):
            raise ValueError(f"the attack handed back images of shape {tuple(found.shape)}, or not finite ones")
        inside, moved, norm = confine(found, images, threat)
        flags = self.optimiser.flags(threat) | ({FLAG_PROJECTED} if moved else set())
        return Attempt(images=inside, norm=norm, passes=spent, flags=flags)


def confine(found: Tensor, clean: Tensor, threat: Threat) -> tuple[Tensor, bool, Tensor]:
    """`found` inside the ball around `clean` and inside [0, 1], whether anything had to move, and its sizes (B,).

    An image that lies inside within `TOLERANCE` is handed back bit for bit, whatever its neighbours do; at epsilon 0
    it is the clean one.
    """
    norm = NORM[threat.norm]
    size = _size(found, clean, threat)
    outside = (size > _largest(threat)) | (found < 0).flatten(1).any(1) | (found > 1).flatten(1).any(1)
    moved = bool(outside.any())
    if threat.epsilon == 0:
        return clean.clone(), moved, torch.zeros_like(size)
    if not moved:
        return found, moved, size
    counts = norm.project(to_counts(found.double()), to_counts(clean.double()), threat.radius)
    inside = from_counts(counts).to(found.dtype)
    # Whole counts are worth most, but rounding to the images' own type may leave the ball; toward the clean pixel it
    # cannot.
    exact = norm.project(found.double() * 255, clean.double() * 255, threat.radius) / 255
    short = exact.to(found.dtype)
    grew = (short.double() - clean).abs() > (exact - clean).abs()
    short = torch.where(grew, torch.nextafter(short, clean), short)
    inside = torch.where(_per_image(_size(inside, clean, threat) > _largest(threat)), short, inside)
    inside = torch.where(_per_image(outside), inside, found)
    return inside, True, _size(inside, clean, threat)


def _size(images: Tensor, clean: Tensor, threat: Threat) -> Tensor:
    return NORM[threat.norm].measure(images.double() - clean.double())


def _largest(threat: Threat) -> float:
    return float(threat.epsilon) + TOLERANCE


def _per_image(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)
