"""Standings with made-up numbers, ordinary and hostile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from robustreid.leaderboards.entries import Entry
from robustreid.leaderboards.standing import (
    AttackScore,
    CriticalEpsilon,
    CurvePoint,
    Estimate,
    Left,
    Standing,
    Standings,
)
from robustreid.leaderboards.track import Track, load_track

#: Names that a submission may have: markup, formulas, turns of direction, escapes of a terminal, endless ones.
HOSTILE = (
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "\u202egnp.exe\u202c",
    "a\x1b[31mred\x07",
    "50% & $x^2$ #1 {a}_b~\\end{tabular}\\input{/etc/passwd}",
    "| a | b |\n| --- |",
    "x" * 5_000,
)
RADII = (1, 2, 4, 8)


def estimate(value: float, half: float = 0.03) -> Estimate:
    """A number and an interval around it."""
    return Estimate(value=value, low=max(0.0, value - half), high=min(1.0, value + half))


def make_standing(track: Track, label: str, score: float, places: tuple[int, int] | None, **given: Any) -> Standing:
    """A model with made-up numbers.

    Args:
        track: what it stands on.
        label: its name.
        score: its worst-case mAP.
        places: None for one whose last attack failed.
        given: `provenance`, `adaptive`, `card`, `finder` (of an attack that leaves 0.05 less), `flags`, `is_beyond`.
    """
    last = track.attacks[-1].name
    attacks = []
    for index, attack in enumerate(track.attacks):
        is_failed = places is None and attack.name == last
        attacks.append(
            AttackScore(
                attack=attack.name,
                is_of_track=True,
                status="failed" if is_failed else "done",
                reason="out of memory" if is_failed else "",
                mAP=None if is_failed else estimate(score + 0.1 * (len(track.attacks) - 1 - index)),
                rank1=None if is_failed else estimate(score),
                flags=(),
                finder="",
            )
        )
    if given.get("finder"):
        found = replace(attacks[0], attack="images", is_of_track=False, finder=given["finder"])
        attacks.append(replace(found, mAP=estimate(score - 0.05), rank1=estimate(score)))
    curve = [
        CurvePoint(
            epsilon=k / 255,
            epsilon_label=f"{k}/255" if k else "0",
            status="done" if k else "clean",
            mAP=estimate(0.85 * (0.3 + score) ** (k / 6)),
        )
        for k in (0, *RADII)
    ]
    radius = Estimate(value=3.42 / 255, low=2.9 / 255, high=4.1 / 255)
    if given.get("is_beyond"):
        radius = Estimate(value=8 / 255, low=7.1 / 255, high=8 / 255)
    return Standing(
        entry=Entry(
            label=label,
            provenance=given.get("provenance", "own run"),
            is_adaptively_evaluated=given.get("adaptive"),
            measurements=(),
            card=given.get("card", {}),
        ),
        clean=estimate(0.85),
        clean_rank1=estimate(0.9),
        worst=estimate(score),
        worst_rank1=estimate(score + 0.02),
        worst_attack=last,
        attacks=tuple(attacks),
        curve=tuple(curve),
        area=estimate(0.5),
        critical=CriticalEpsilon(estimate=radius, is_beyond=bool(given.get("is_beyond"))),
        flags=tuple(given.get("flags", ())),
        places=places,
    )


@pytest.fixture(scope="session")
def standing_maker() -> Callable[..., Standing]:
    """Gives a model with made-up numbers."""
    return make_standing


def make_standings(track: Track, rows: Sequence[Standing], left: Sequence[Left] = ()) -> Standings:
    """A board of made-up numbers."""
    return Standings(
        track=track,
        rows=tuple(rows),
        left_out=tuple(left),
        chance=0.04 if rows else None,
        chance_rank1=0.01 if rows else None,
        dataset_sha256=track.data.sha256 or "" if rows else "",
    )


@pytest.fixture(scope="session")
def standings_maker() -> Callable[..., Standings]:
    """Gives a board of made-up numbers."""
    return make_standings


@pytest.fixture(scope="session")
def small_track(make_track: Callable[..., Path]) -> Track:
    """The track that the made-up rows belong to."""
    return load_track(make_track())


@pytest.fixture(scope="session")
def sample_standings(small_track: Track) -> Standings:
    """Two that share the first place, one behind them, one incomplete, one left out; a finder, a flag, a submission."""
    rows = [
        make_standing(small_track, "goat", 0.41, (1, 2), finder="Ada Lovelace", is_beyond=True),
        make_standing(
            small_track, "metric-at", 0.38, (1, 2), provenance="self-reported", adaptive=False, flags=["zero-gradient"]
        ),
        make_standing(small_track, "plain", 0.05123456789, (3, 3)),
        make_standing(small_track, "broken", 0.3, None),
    ]
    return make_standings(small_track, rows, [Left(label="r50", reason="engine version 1 (the track: 2)")])


@pytest.fixture(scope="session")
def hostile_standings(small_track: Track) -> Standings:
    """A board on which every text is hostile."""
    rows = [
        make_standing(
            small_track,
            name,
            0.4 - 0.01 * place,
            (1, len(HOSTILE)),
            finder=name,
            flags=[name],
            card=dict.fromkeys(("title", "authors", "licence", "paper", "code"), name),
        )
        for place, name in enumerate(HOSTILE)
    ]
    return make_standings(small_track, rows, [Left(label=name, reason=name) for name in HOSTILE])


@pytest.fixture(scope="session")
def hostile_names() -> tuple[str, ...]:
    """Names that a submission may have."""
    return HOSTILE
