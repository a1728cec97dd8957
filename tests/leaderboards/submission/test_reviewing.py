"""A review asks about what is too good, too bad, missing or untouched, and about nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from robustreid.leaderboards.entries import Entry
from robustreid.leaderboards.standing import AttackScore, Estimate, Standing, Standings
from robustreid.leaderboards.submission.reviewing import TrackReview, track_doubts
from robustreid.leaderboards.track import load_track

TRACK = load_track("synthetic-query-4")


def about(value: float) -> Estimate:
    """An estimate with an interval of four points."""
    return Estimate(value=value, low=value - 0.02, high=value + 0.02)


def standing(name: str, clean: float, worst: float, *, missing: bool = False, raised: float = 0.0) -> Standing:
    """A model that keeps `worst` under every attack of the track."""
    scores = tuple(
        AttackScore(
            attack=attack.name,
            is_of_track=True,
            status="missing" if missing and not place else "done",
            reason="",
            mAP=None if missing and not place else about(worst + raised * (not place)),
            rank1=None,
            flags=(),
            finder="",
        )
        for place, attack in enumerate(TRACK.attacks)
    )
    entry = Entry(label=name, provenance="own run", is_adaptively_evaluated=None, measurements=())
    return Standing(
        entry=entry,
        clean=about(clean),
        clean_rank1=None,
        worst=about(worst),
        worst_rank1=None,
        worst_attack="auto",
        attacks=scores,
        curve=(),
        area=None,
        critical=None,
        flags=(),
    )


def asked(own: Standing, *others: Standing) -> list[str]:
    """What a maintainer is told to ask about."""
    rows = (own, *others)
    found = Standings(track=TRACK, rows=rows, left_out=(), chance=0.02, chance_rank1=0.01, dataset_sha256="")
    return track_doubts(TrackReview(track=TRACK, standing=own, standings=found))


ZOO = (standing("tiny", 0.8, 0.01), standing("tiny-goat", 0.7, 0.4))


def test_an_ordinary_model_raises_no_question() -> None:
    """Between the others."""
    assert asked(standing("mine", 0.75, 0.45), *ZOO) == []


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (standing("mine", 0.75, 0.6), "20.00 more than the most robust of the others"),
        (standing("mine", 0.4, 0.1), "more than 15 points from every other"),
        (standing("mine", 0.75, 0.3, missing=True), "incomplete: no score under ama-ifgsm"),
        (standing("mine", 0.75, 0.5, raised=0.25), "ama-ifgsm takes nothing from it"),
        (standing("mine", 0.75, 0.5, raised=0.3), "ama-ifgsm raises its mAP above the clean one"),
        (replace(standing("mine", 0.75, 0.45), flags=("hides-gradients",)), "flags: hides-gradients"),
    ],
)
def test_what_stands_out_is_asked_about(own: Standing, words: str) -> None:
    """In a sentence with its number."""
    assert any(words in text for text in asked(own, *ZOO))


def test_no_row_of_the_track() -> None:
    """Is said."""
    found = Standings(track=TRACK, rows=(), left_out=(), chance=None, chance_rank1=None, dataset_sha256="")
    assert track_doubts(TrackReview(track=TRACK, standing=None, standings=found)) == ["no row belongs to the track."]
