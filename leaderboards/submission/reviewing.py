"""What a maintainer must know before a submission is accepted, gathered; `reports/review.py` writes it down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...models.weights.files import weights_sha256
from ...models.zoo import ZOO
from ..entries import Entry
from ..measurements import read_measurements
from ..ranking import make_standings
from ..standing import Standing, Standings
from ..track import Track
from .adapting import is_adaptively_evaluated
from .description import Description
from .findings import Report
from .opening import Opened
from .paths import RESULTS
from .verifying import Verification

#: A clean mAP further than this from all others, or a score as much above the best of them, is worth a question.
_FAR = 0.15
#: An attack that takes less than this share of the clean mAP did nothing, in a model that somebody calls robust.
_NOTHING = 0.01
#: An attack that leaves more than the clean score by this much is no attack, a fraction.
_RISE = 0.02


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Something that may have a good reason, and that a maintainer should ask about."""

    #: One sentence.
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackReview:
    """A submission on one of its tracks, beside who stands there."""

    track: Track
    #: Of the submission; None where it has no row of the track.
    standing: Standing | None
    standings: Standings


@dataclass(frozen=True, kw_only=True, eq=False)
class Review:
    """All of it."""

    description: Description
    content_sha256: str
    report: Report
    #: Names and digests of the files.
    n_files: int
    weights_sha256: str
    is_adaptively_evaluated: bool
    verification: Verification | None
    tracks: tuple[TrackReview, ...]
    doubts: tuple[Doubt, ...]


def make_review(
    submission: Opened,
    description: Description,
    tracks: Sequence[Track],
    others: Sequence[Entry],
    *,
    verification: Verification | None,
) -> Review:
    """The review of a submission beside the entries of a board."""
    folder = submission.folder
    weights = weights_sha256(folder / str(description.model_entry["weights"]))
    has_results = (folder / RESULTS / "plan.json").is_file()
    measurements = read_measurements(folder / RESULTS) if has_results else ()
    adaptive = is_adaptively_evaluated(description, folder)
    own = Entry(
        label=description.name,
        provenance=verification.provenance if verification else "self-reported",
        is_adaptively_evaluated=adaptive,
        measurements=measurements,
    )
    reviewed = []
    for track in tracks:
        rivals = [entry for entry in others if entry.label != description.name]
        standings = make_standings(track, [*rivals, own])
        standing = next((row for row in standings.rows if row.entry is own), None)
        reviewed.append(TrackReview(track=track, standing=standing, standings=standings))
    return Review(
        description=description,
        content_sha256=submission.content_sha256,
        report=submission.report,
        n_files=submission.n_files,
        weights_sha256=weights,
        is_adaptively_evaluated=adaptive,
        verification=verification,
        tracks=tuple(reviewed),
        doubts=tuple(map(_doubt, _doubts(reviewed, others, weights))),
    )


def _doubt(text: str) -> Doubt:
    return Doubt(text=text)


def _doubts(reviewed: Sequence[TrackReview], others: Sequence[Entry], sha256: str) -> list[str]:
    found = []
    twins = [entry.label for entry in others if any(m.row.get("model_sha256") == sha256 for m in entry.measurements)]
    known = [entry.name for entry in ZOO.values() if entry.sha256 == sha256]
    if twins:
        found.append(f"Its weights are those of {', '.join(twins[:5])}, which stands beside it.")
    if known:
        found.append(f"Its weights are those of {', '.join(known)}, which this package brings or knows.")
    for each in reviewed:
        found += [f"{each.track.name}: {text}" for text in track_doubts(each)]
    return found


def track_doubts(reviewed: TrackReview) -> list[str]:
    """What a maintainer should ask about a submission on one track, a sentence each."""
    standing, found = reviewed.standing, []
    if standing is None or standing.clean is None:
        return ["no row belongs to the track."]
    rivals = [row.clean.value for row in reviewed.standings.rows if row is not standing and row.clean is not None]
    kept = [row.worst.value for row in reviewed.standings.rows if row is not standing and row.worst is not None]
    if standing.worst is not None and kept and standing.worst.value > max(kept) + _FAR:
        more = 100 * (standing.worst.value - max(kept))
        found.append(
            f"it keeps {100 * standing.worst.value:.2f} points, {more:.2f} more than the most robust of the others."
        )
    if rivals and min(abs(standing.clean.value - value) for value in rivals) > _FAR:
        found.append(
            f"its clean mAP ({100 * standing.clean.value:.2f}) is more than {100 * _FAR:.0f} points from every other."
        )
    if not standing.is_complete:
        names = ", ".join(score.attack for score in standing.missing)
        found.append(f"incomplete: no score under {names}; it gets no place.")
    chance = reviewed.standings.chance
    for score in standing.attacks:
        if score.mAP is None:
            continue
        if score.attack != "noise" and standing.clean.value - score.mAP.value < _NOTHING * standing.clean.value:
            found.append(f"{score.attack} takes nothing from it ({100 * score.mAP.value:.2f} left).")
        if chance is not None and score.mAP.value > standing.clean.value + _RISE:
            found.append(f"{score.attack} raises its mAP above the clean one.")
    if standing.flags:
        found.append(f"flags: {', '.join(standing.flags)}.")
    return found
