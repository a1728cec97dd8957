"""Standings in words: the head of a board, its numbers with their intervals, and what stands beside them.

Every format of `robustreid leaderboard` and every page of a track takes its texts from here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..leaderboards.standing import AttackScore, CriticalEpsilon, Estimate, Standing, Standings
from ..leaderboards.track import Track
from .results import outward, points

#: What the brackets behind a number mean.
INTERVALS = (
    "[low, high] is the 95% interval over query identities, as if other people had been asked; gallery, model and "
    "attacked images are held fixed"
)
PLACES = (
    "a range runs from 1 + how many models are significantly better to M - how many are significantly worse (paired "
    "sign-flip tests over identities, Benjamini-Hochberg at 5% over the board)"
)
#: What the state of a data set means to a reader.
STATUSES = {
    "available": "",
    "on request": "given out on request",
    "withdrawn": "withdrawn: its owners no longer give it out, and new work should not rest on it",
}
NOT_ADAPTIVE = "not adaptively evaluated"
#: Of what the track does not ask for, how many attacks a text lists; the lowest.
_LISTED = 3
_NORMS = {"linf": "L-inf", "l2": "L2"}


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line of a head."""

    name: str
    text: str


def title(track: Track) -> str:
    """Name and version: `synthetic-query-4, version 1`."""
    return f"{track.name}, version {track.version}"


def metric_title(track: Track) -> str:
    """Which mAP its scores are."""
    return "mAP (step)" if track.metric == "mAP" else "mAP (trapezoid)"


def attacked(track: Track) -> str:
    """Whose images the adversary changes."""
    return "query and gallery" if track.side == "both" else track.side


def data_text(track: Track, sha256: str) -> str:
    """Name, options and size of its data set, and the digest that all rows share."""
    named = ", ".join(f"{k} {v}" for k, v in track.data.entry.items() if k not in {"name", "root", "format"})
    counts = f"{track.data.queries:,} queries, {track.data.gallery:,} gallery images, {track.data.identities:,} people"
    digest = f"; sha256 {sha256[:12]}" if sha256 else ""
    return f"{track.data.name}{f' ({named})' if named else ''}: {counts}{digest}"


def terms_text(track: Track) -> str:
    """What its owners allow, and whether they still give it out."""
    return "; ".join(part for part in (track.data.terms, STATUSES[track.data.status]) if part)


def adversary_text(track: Track) -> str:
    """Its threat model in one sentence."""
    return (
        f"changes the {attacked(track)} images at their {track.perturb_at} size by at most {track.threat.label} "
        f"({_NORMS[track.threat.norm]}), {track.goal}; uses references {track.references}, must own: "
        f"{track.attacker_data}; precision {track.precision}"
    )


def score_rule(track: Track) -> str:
    """What the score is."""
    what = metric_title(track)
    over = f"the worst of {', '.join(attack.name for attack in track.attacks)}"
    how = (
        "of each query the lowest average precision, then their mean"
        if track.side == "query"
        else "the attack that leaves the lowest mean, since one attacked gallery serves all queries"
    )
    return f"{what} under {over}, and of what else is known at this radius: {how}; in points"


def facts(standings: Standings) -> tuple[Fact, ...]:
    """The head of a board: everything that two tables must share to be compared."""
    track = standings.track
    largest = track.curve[-1].label if track.curve else track.threat.label
    found = [
        ("track", f"{title(track)}: {track.title}"),
        ("data", data_text(track, standings.dataset_sha256)),
        ("terms", terms_text(track)),
        ("source", track.data.source),
        ("protocol", f"{track.protocol}; metric version {track.metric_version}, engine version {track.engine_version}"),
        ("adversary", adversary_text(track)),
        ("score", score_rule(track)),
        ("area", f"mean mAP over the radii from 0 to {largest} under {track.curve_attack.name}"),
        ("critical", "the radius at which half of the clean mAP is left under the same attack"),
        ("intervals", INTERVALS),
        ("places", PLACES),
        ("chance", chance_text(standings)),
    ]
    return tuple(Fact(name=name, text=text) for name, text in found if text)


def chance_text(standings: Standings) -> str:
    """The scores of a random order; empty without rows."""
    if standings.chance is None:
        return ""
    rank1 = "" if standings.chance_rank1 is None else f", Rank-1 {points(standings.chance_rank1)}"
    return f"mAP {points(standings.chance)}{rank1}"


def interval_text(estimate: Estimate | None) -> str:
    """`38.87 [35.1, 42.7]`; empty for None."""
    return "" if estimate is None else f"{points(estimate.value)} [{', '.join(outward(estimate.low, estimate.high))}]"


def place_text(standing: Standing) -> str:
    """`1`, `2-4`; `-` for one that is not complete."""
    if standing.places is None:
        return "-"
    first, last = standing.places
    return f"{first}" if first == last else f"{first}-{last}"


def radius_text(value: float, track: Track) -> str:
    """`3.42/255`; an L2 radius as it is."""
    return f"{255 * value:.2f}/255" if track.threat.norm == "linf" else f"{value:.2f}"


def critical_texts(critical: CriticalEpsilon | None, track: Track) -> tuple[str, str]:
    """The radius and its interval: `3.42/255` and `[2.9, 4.1]`, or `> 8/255`; empty where a point is missing."""
    if critical is None or not track.curve:
        return "", ""
    largest = track.curve[-1]
    scale = 255.0 if track.threat.norm == "linf" else 1.0
    end = float(largest.epsilon)
    if critical.is_beyond and critical.estimate.low >= end:
        return f"> {largest.label}", ""
    is_open = critical.estimate.high >= end
    low = f"{math.floor(round(10 * scale * critical.estimate.low, 6)) / 10:.1f}"
    high = f"{math.ceil(round(10 * scale * critical.estimate.high, 6)) / 10:.1f}"
    bound = f"> {scale * end:g}"
    interval = f"[{low}, {bound if is_open else high}]"
    return (f"> {largest.label}" if critical.is_beyond else radius_text(critical.estimate.value, track)), interval


def score_text(standing: Standing) -> str:
    """The score with its interval; a bound from above for a standing that is not complete."""
    if standing.is_complete:
        return interval_text(standing.worst)
    return "incomplete" if standing.worst is None else f"at most {points(standing.worst.value)}"


def status_word(score: AttackScore) -> str:
    """Why an attack has no number: `failed`, `not planned`."""
    if score.status == "done":
        return "no queries"  # they are not stored, or their mean is not the score in the row
    return "not planned" if score.status == "absent" else score.status


def attack_text(score: AttackScore) -> str:
    """What is left under one attack, or why that is not known."""
    return status_word(score) if score.mAP is None else interval_text(score.mAP)


def of_track(standing: Standing) -> tuple[AttackScore, ...]:
    """Its scores under the track's attacks, in the track's order."""
    return tuple(score for score in standing.attacks if score.is_of_track)


def others(standing: Standing) -> tuple[AttackScore, ...]:
    """What else is known at the radius, the worst first: an attack that somebody found, a transfer."""
    extra = [score for score in standing.attacks if not score.is_of_track and score.mAP is not None]
    return tuple(sorted(extra, key=lambda score: (score.mAP.value if score.mAP else 0.0, score.attack)))


def other_title(score: AttackScore, track: Track) -> str:
    """How an attack that the track does not ask for is called beside those that it asks for."""
    names = {attack.name for attack in track.attacks}
    return f"{score.attack} (of another version or with other parameters)" if score.attack in names else score.attack


def missing_text(standing: Standing) -> str:
    """`incomplete: auto failed (out of memory), fna not planned`; empty for one that is complete."""
    if standing.is_complete:
        return ""
    parts = [
        f"{score.attack} {status_word(score)}{f' ({score.reason})' if score.reason else ''}"
        for score in standing.missing
    ]
    return f"incomplete: {', '.join(parts) or 'its cells are of other queries'}"


def provenance_text(standing: Standing) -> str:
    """Who computed its rows, and whether an attack was made for it."""
    return f"{standing.provenance}{f', {NOT_ADAPTIVE}' if is_not_adaptive(standing) else ''}"


def is_not_adaptive(standing: Standing) -> bool:
    """Whether its submitter made no attack for it; one's own rows are asked nothing."""
    return standing.entry.is_adaptively_evaluated is False


def lowers(score: AttackScore, standing: Standing) -> bool:
    """Whether an attack that the track does not ask for leaves less than every one that it asks for."""
    asked = [found.mAP.value for found in of_track(standing) if found.mAP is not None]
    return score.mAP is not None and not score.is_of_track and all(score.mAP.value < value for value in asked)


def notes(standings: Standings) -> Iterator[str]:
    """What must be said below a table: incomplete rows, attacks that were found, what was left out and why."""
    for row in standings.rows:
        if not row.is_complete:
            bound = "" if row.worst is None else f"; its score is at most {points(row.worst.value)}"
            yield f"{row.label} is {missing_text(row)}{bound}, and it has no place."
    for row in standings.rows:
        for score in row.attacks:
            if score.finder and score.mAP is not None:
                stronger = ", lower than every attack of the track" if lowers(score, row) else ""
                yield (
                    f"{row.label}: {score.finder} found {score.attack}, which leaves "
                    f"{interval_text(score.mAP)}{stronger}."
                )
        known = [
            f"{other_title(score, standings.track)} {interval_text(score.mAP)}"
            for score in others(row)
            if not score.finder
        ]
        if known:
            more = f" and {len(known) - _LISTED} that leave more" if len(known) > _LISTED else ""
            yield f"{row.label}: also known at this radius, and counted: {', '.join(known[:_LISTED])}{more}."
    for reason, labels in left_out(standings):
        yield f"Left out: {', '.join(labels)}: {reason}."


def left_out(standings: Standings) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Why some share no table with the rows, and who they are, a reason once."""
    by_reason: dict[str, list[str]] = {}
    for left in standings.left_out:
        by_reason.setdefault(left.reason, []).append(left.label)
    return tuple((reason, tuple(labels)) for reason, labels in by_reason.items())
