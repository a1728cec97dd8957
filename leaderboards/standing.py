"""The values that cross this floor's border upward: an estimate, a model's standing on a track, a track's standings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .entries import Entry, Provenance
from .measurements import Measurement, Status
from .track import Track


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number and its 95% interval over query identities."""

    #: A fraction in [0, 1], or for a radius in [0, 1] pixel units.
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackScore:
    """What a model keeps under one attack at the track's radius."""

    #: As pages call it; `pgd from osnet` where another model's gradients were followed.
    attack: str
    #: Whether the track asks for it; what else is known against a model counts too.
    is_of_track: bool
    #: `absent`: nobody planned it.
    status: Status | Literal["absent"]
    reason: str
    mAP: Estimate | None  # noqa: N815
    rank1: Estimate | None
    flags: tuple[str, ...]
    #: Who found it; empty where it came with the model's own rows.
    finder: str
    measurement: Measurement | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class CriticalEpsilon:
    """The radius at which half of the clean mAP is left, under the track's curve attack."""

    #: In [0, 1] pixel units; `high` is the largest radius of the curve where it may lie beyond.
    estimate: Estimate
    #: More than half is left at the largest radius of the curve, which is the value then.
    is_beyond: bool


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One radius of a model's curve."""

    #: In [0, 1] pixel units; 0 is clean.
    epsilon: float
    epsilon_label: str
    #: `clean` at 0.
    status: Status | Literal["absent", "clean"]
    mAP: Estimate | None  # noqa: N815


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """One model on a track."""

    entry: Entry
    clean: Estimate | None
    clean_rank1: Estimate | None
    #: Under the worst case of `attacks`: on side query the mean over queries of the least of each query, else the least
    #: mean. None where no attack is done; a bound from above where the standing is not complete.
    worst: Estimate | None
    #: Of another adversary on side query: the least hit of each query.
    worst_rank1: Estimate | None
    #: The attack whose mean is least.
    worst_attack: str
    #: The track's attacks in its order, then what else is known at this radius.
    attacks: tuple[AttackScore, ...]
    curve: tuple[CurvePoint, ...]
    #: Mean mAP over the radii from 0 to the largest of the curve; None where a point is missing.
    area: Estimate | None
    critical: CriticalEpsilon | None
    flags: tuple[str, ...]
    #: The first and the last place that it may have; None where the standing is not complete.
    places: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """The model as boards call it."""
        return self.entry.label

    @property
    def provenance(self) -> Provenance:
        """Who computed its rows."""
        return self.entry.provenance

    @property
    def missing(self) -> tuple[AttackScore, ...]:
        """The track's attacks that have no score."""
        return tuple(score for score in self.attacks if score.is_of_track and score.mAP is None)

    @property
    def is_complete(self) -> bool:
        """Whether every attack of the track has a score: nothing is averaged over what is missing."""
        return not self.missing and self.worst is not None


@dataclass(frozen=True, kw_only=True)
class Left:
    """A model whose rows are of the track's data and attacks, and do not belong to it."""

    label: str
    #: In one sentence.
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Standings:
    """A track and who stands on it."""

    track: Track
    #: Complete ones first, most robust first among them; then the others by name.
    rows: tuple[Standing, ...]
    #: Those that share no table with the rows, and why.
    left_out: tuple[Left, ...]
    #: MAP of a random order, a fraction; None without rows.
    chance: float | None
    chance_rank1: float | None
    #: Digest of the data that all rows are about; empty without rows.
    dataset_sha256: str

    @property
    def attacks(self) -> tuple[str, ...]:
        """The columns that all rows have: the track's attacks."""
        return tuple(attack.name for attack in self.track.attacks)
