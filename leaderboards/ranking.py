"""Standings of a track: the worst case of each model, its interval, and the places that it may have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from .belonging import belongs, find, is_at, is_attack, nearly
from .curve import area_of, critical_of, curve_of
from .entries import Entry
from .estimates import Column, column_of, estimate, least_of
from .flags import flags_across
from .measurements import Measurement
from .placing import places
from .standing import AttackScore, Left, Standing, Standings
from .track import Track


def make_standings(track: Track, entries: Sequence[Entry]) -> Standings:
    """Who stands where on a track.

    Raises:
        InvalidFileError: the queries of a cell do not read back.
    """
    data = _shared_data(track, entries)
    rows, worst, left = [], {}, []
    for entry in entries:
        own = [m for m in entry.measurements if belongs(m, track, same_data=data)]
        reasons = nearly(entry.measurements, track, same_data=data)
        if not own:
            if reasons:
                left.append(Left(label=entry.label, reason=f"{'; '.join(reasons[:4])}"))
            continue
        standing, column = _standing(track, entry, own, data)
        rows.append(standing)
        if standing.is_complete and column is not None:
            worst[entry.label] = column
    found = places(worst)
    placed = [replace(row, places=found.get(row.label)) for row in rows]
    first = next((m for row in rows for m in row.entry.measurements if belongs(m, track, same_data=data)), None)
    return Standings(
        track=track,
        rows=tuple(sorted(placed, key=_order)),
        left_out=tuple(left),
        chance=first.score("chance_mAP") if first else None,
        chance_rank1=first.score("chance_rank1") if first else None,
        dataset_sha256=data,
    )


def _shared_data(track: Track, entries: Sequence[Entry]) -> str:
    """The digest of the data of a table: the track's, or the one that the most models have."""
    if track.data.sha256:
        return track.data.sha256
    digests = [
        {str(m.row["dataset_sha256"]) for m in entry.measurements if belongs(m, track) and m.status == "done"}
        for entry in entries
    ]
    counted = Counter(digest for each in digests for digest in each)
    return min(counted, key=lambda digest: (-counted[digest], digest)) if counted else ""


def _order(row: Standing) -> tuple[bool, float, str]:
    """Complete ones first, the most robust first among them: a failure never counts as robustness."""
    return not row.is_complete, -row.worst.value if row.is_complete and row.worst else 0.0, row.label


def _standing(track: Track, entry: Entry, own: Sequence[Measurement], data: str) -> tuple[Standing, Column | None]:
    found = [
        (attack.name, find(entry.measurements, attack, track.threat, track, same_data=data)) for attack in track.attacks
    ]
    known = {m.cell_id for _, m in found if m is not None}
    extra = [
        m
        for m in own
        if m.cell_id not in known
        and m.status == "done"
        and is_at(m.row, track.threat)
        and not any(is_attack(m.row, attack, track) for attack in track.attacks)
    ]
    across = flags_across([{**m.row, "status": m.status} for m in own])
    scores = [
        *(_score(name, m, entry, track, across, is_of_track=True) for name, m in found),
        *(_score(_title(m), m, entry, track, across, is_of_track=False) for m in extra),
    ]
    done = [m for _, m in found if m is not None and m.status == "done"] + extra
    worst, worst_attack = _worst(track, done, track.metric)
    hits, _ = _worst(track, done, "rank1")
    clean = next((m for m in own if m.status == "done"), None)
    curve = curve_of(track, entry, own, data)
    standing = Standing(
        entry=entry,
        clean=None if clean is None else estimate(column_of(clean, track.metric, "clean")),
        clean_rank1=None if clean is None else estimate(column_of(clean, "rank1", "clean"), is_binary=True),
        worst=estimate(worst),
        worst_rank1=estimate(hits, is_binary=True),
        worst_attack=worst_attack,
        attacks=tuple(scores),
        curve=tuple(point for point, _ in curve),
        area=area_of(curve),
        critical=critical_of(curve),
        flags=tuple(sorted({flag for score in scores for flag in score.flags})),
    )
    return standing, worst


def _title(measurement: Measurement) -> str:
    row = measurement.row
    return f"{row['attack']} from {row['surrogate']}" if row.get("surrogate") else str(row["attack"])


def _score(
    name: str,
    measurement: Measurement | None,
    entry: Entry,
    track: Track,
    across: dict[str, frozenset[str]],
    *,
    is_of_track: bool,
) -> AttackScore:
    if measurement is None:
        return AttackScore(
            attack=name,
            is_of_track=is_of_track,
            status="absent",
            reason="",
            mAP=None,
            rank1=None,
            flags=(),
            finder="",
        )
    own = {str(flag) for flag in (measurement.row.get("flags") if measurement.status != "missing" else None) or ()}
    return AttackScore(
        attack=name,
        is_of_track=is_of_track,
        status=measurement.status,
        reason=measurement.reason,
        mAP=estimate(column_of(measurement, track.metric, "attacked")),
        rank1=estimate(column_of(measurement, "rank1", "attacked"), is_binary=True),
        flags=tuple(sorted(own | across.get(measurement.cell_id, frozenset()))),
        finder=entry.finders.get(measurement.cell_id, ""),
        measurement=measurement,
    )


def _worst(track: Track, done: Sequence[Measurement], metric: str) -> tuple[Column | None, str]:
    """The worst case of some cells, and the attack whose mean is least.

    Side query: of each query the least value, by `least_of`. Else the cell with the least mean: one attacked gallery
    serves all queries.
    """
    columns = [(column, _title(m)) for m in done if (column := column_of(m, metric, "attacked")) is not None]
    columns = [(column, title) for column, title in columns if column.ids == columns[0][0].ids]
    if not columns or len(columns) < len(done):
        return None, ""
    least, title = min(columns, key=lambda pair: float(pair[0].values.mean()))
    if track.side != "query":
        return least, title
    return replace(least, values=least_of([column for column, _ in columns], track.protocol)), title
