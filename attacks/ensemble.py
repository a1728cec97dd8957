"""`auto`, version 1: the standard ensemble for retrieval, fixed, so that two papers' numbers can be compared.

Its shape is that of AutoAttack (Croce and Hein 2020, arXiv 2003.01690): strong attacks that fail for different reasons,
nothing to tune, the worst case kept for each image. At most 300 gradients and 1,000 similarity queries an image.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .base import Attack, Attempt
from .counts import quantise
from .draw import Draw
from .loss import Loss, Moment
from .objectives import Objective
from .objectives.metric import Push
from .objectives.ranking import SoftAP
from .objectives.toward import TowardNearest
from .optimisers import APGD, Optimiser, Square, Trace
from .optimisers.base import CLEAN
from .references import References
from .threat import Goal, Side, Threat

#: Raised by hand when its numbers can change; its members and their order are part of it.
AUTO_VERSION = 1

#: A query whose average precision is this near to the least possible one has nothing more to lose.
AP_MARGIN = 1e-3


@dataclass(frozen=True, kw_only=True)
class Member:
    """One attack of the ensemble."""

    name: str
    objective: Objective
    optimiser: Optimiser

    @property
    def gradients(self) -> int:
        """Gradients an image."""
        return self.optimiser.steps * self.optimiser.restarts if isinstance(self.optimiser, APGD) else 0


def _apgd(steps: int, restarts: int = 1) -> APGD:
    return APGD(steps=steps, restarts=restarts)


#: What stayed of ten after the study in docs/results.md: each adds 0.3 points of mAP or more on some model.
MEMBERS: tuple[Member, ...] = (
    Member(name="push", objective=Push(), optimiser=_apgd(60)),
    Member(name="soft-ap", objective=SoftAP(), optimiser=_apgd(60, 2)),
    *(
        Member(name=f"toward-{place}", objective=TowardNearest(neighbour=place), optimiser=_apgd(30))
        for place in (1, 2, 3, 4)
    ),
    Member(name="square", objective=Push(), optimiser=Square(queries=1000)),
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How well each image of a batch still finds its own."""

    #: (B,) float64 in [0, 1]: average precision (step), the least it can be, and the expected hit at rank 1.
    ap: Tensor
    least_ap: Tensor
    hit: Tensor

    @property
    def is_ap_lost(self) -> Tensor:
        """(B,) bool: nothing is left to lose of the average precision."""
        return self.ap <= self.least_ap + AP_MARGIN

    @property
    def is_hit_lost(self) -> Tensor:
        """(B,) bool: the first place is lost for certain."""
        return self.hit <= 0


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The worst cases of a batch under one threat: two adversaries."""

    #: (B, 3, H, W) on the 8-bit grid: the images with the least average precision, and with the least hit at rank 1.
    of_ap: Tensor
    of_hit: Tensor
    #: By member, the images (B, 3, H, W) it made, on the 8-bit grid; those that were not needed are missing.
    by_member: dict[str, Tensor]
    flags: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Whatever(Objective):
    """What stands for the objectives of the members, where an attack has one."""

    needs_neighbours: ClassVar[bool] = True
    goals: ClassVar[tuple[Goal, ...]] = ("untargeted",)
    sides: ClassVar[tuple[Side, ...]] = ("query", "gallery")

    def __call__(self, features: Tensor, references: References) -> Tensor:
        raise NotImplementedError("an ensemble climbs the objectives of its members")


@dataclass(frozen=True, kw_only=True)
class Ensemble(Optimiser):
    """What a catalogue and a plan know of `auto`; `cascade` and `side_by_side` run it."""

    is_random: ClassVar[bool] = True

    #: By name; nothing of it can be chosen.
    members: str = "+".join(member.name for member in MEMBERS)

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:
        raise NotImplementedError("an ensemble needs a judge; see `cascade`")

    def trace(self, threat: Threat) -> Trace:
        """The most that is needed: images that are lost early need less."""
        if threat.epsilon == 0:
            climbing = [member for member in MEMBERS if member.gradients]
            moments = tuple((0, place) for place, _ in enumerate(climbing))
            return Trace(gradients=tuple((m.name, CLEAN) for m in climbing), values=(), final=CLEAN, moments=moments)
        gradients: list[Hashable] = []
        values: list[Hashable] = []
        steps: list[Moment] = []
        for member in MEMBERS:
            trace = member.optimiser.trace(threat)
            gradients += [(member.name, point) for point in trace.gradients]
            steps += trace.known_moments
            values += [(member.name, point) for point in (*trace.values, trace.final, "8-bit")]
        return Trace(gradients=tuple(gradients), values=tuple(values), final=("auto", threat), moments=tuple(steps))

    def is_whole(self, threat: Threat) -> bool:  # noqa: ARG002
        return True


def cascade(
    loss_of: Callable[[Member], Loss], look: Callable[[Tensor], Verdict], images: Tensor, threat: Threat, draw: Draw
) -> Worst:
    """Attack queries: one member after the other, until everything is lost; the worst is kept for each image.

    An image that has lost all is left as it is whoever else goes on, so its result depends on itself alone; random
    numbers depend on seed, image, member and restart.

    Args:
        loss_of: the loss that a member climbs.
        look: what 8-bit images come to against the true gallery.
        images: (B, 3, H, W), clean.
        threat: the ball.
        draw: the batch's random numbers.
    """
    known = look(images)
    of_ap = of_hit = images
    by_member: dict[str, Tensor] = {}
    flags: frozenset[str] = frozenset()
    for member in MEMBERS:
        is_ap_lost, is_hit_lost = known.is_ap_lost, known.is_hit_lost
        if bool((is_ap_lost & is_hit_lost).all()):
            break
        attempt = _attempt(member, loss_of(member), images, threat, draw)
        found = quantise(attempt.images, images)
        verdict = look(found)
        by_member[member.name], flags = found, flags | attempt.flags
        worse_ap = is_worse(verdict.ap, known.ap) & ~is_ap_lost
        worse_hit = is_worse(verdict.hit, known.hit) & ~is_hit_lost
        of_ap, of_hit = (
            torch.where(worse.to(images.device).reshape(-1, 1, 1, 1), found, old)
            for worse, old in ((worse_ap, of_ap), (worse_hit, of_hit))
        )
        known = Verdict(
            ap=torch.where(worse_ap, verdict.ap, known.ap),
            least_ap=known.least_ap,
            hit=torch.where(worse_hit, verdict.hit, known.hit),
        )
    return Worst(of_ap=of_ap, of_hit=of_hit, by_member=by_member, flags=flags)


def is_worse(new: Tensor, old: Tensor) -> Tensor:
    """(B,) bool: where a new score (B,) leaves less than the old one."""
    return new < old


def side_by_side(
    loss_of: Callable[[Member], Loss], images: Tensor, threat: Threat, draw: Draw
) -> tuple[dict[str, Tensor], frozenset[str]]:
    """Attack a gallery: what every member makes of a batch (8 bit), since one gallery serves all queries, and flags.

    Which member is worst shows only when all of the gallery is attacked.
    """
    found, flags = {}, frozenset[str]()
    for member in MEMBERS:
        attempt = _attempt(member, loss_of(member), images, threat, draw)
        found[member.name] = quantise(attempt.images, images)
        flags |= attempt.flags
    return found, flags


def _attempt(member: Member, loss: Loss, images: Tensor, threat: Threat, draw: Draw) -> Attempt:
    (attempt,) = Attack(optimiser=member.optimiser)(loss, images, [threat], draw.meant_for(f"auto {member.name}"))
    return attempt
