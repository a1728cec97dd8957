"""Robustness against radius: the curve of a model on a track, the area under it, and where half is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .belonging import find
from .entries import Entry
from .estimates import Column, column_of, estimate
from .measurements import Measurement
from .standing import CriticalEpsilon, CurvePoint, Estimate
from .statistics.intervals import interval_of_difference
from .track import Track

#: A point of a curve, and its queries; None where it has no score.
PointColumn = tuple[CurvePoint, Column | None]
#: How often an end of the critical radius' interval is halved: to a hundredth of a grey level on curves to 8/255.
_HALVINGS = 10


def curve_of(track: Track, entry: Entry, own: Sequence[Measurement], data: str) -> tuple[PointColumn, ...]:
    """The clean score at 0, then one point a radius under the track's curve attack."""
    clean = next((m for m in own if m.status == "done"), None)
    start = None if clean is None else column_of(clean, track.metric, "clean")
    points = [
        (CurvePoint(epsilon=0.0, epsilon_label="0", status="clean" if start else "absent", mAP=estimate(start)), start)
    ]
    for threat in track.curve:
        found = find(entry.measurements, track.curve_attack, threat, track, same_data=data)
        column = None if found is None or found.status != "done" else column_of(found, track.metric, "attacked")
        points.append(
            (
                CurvePoint(
                    epsilon=float(threat.epsilon),
                    epsilon_label=threat.label,
                    status="absent" if found is None else found.status,
                    mAP=estimate(column),
                ),
                column,
            )
        )
    return tuple(points)


def _whole(curve: Sequence[PointColumn]) -> list[tuple[float, Column]] | None:
    """Radius and queries of every point; None where one is missing or about other queries."""
    found = [(point.epsilon, column) for point, column in curve if column is not None]
    same = len(found) == len(curve) > 1 and all(column.ids == found[0][1].ids for _, column in found)
    return found if same else None


def area_of(curve: Sequence[PointColumn]) -> Estimate | None:
    """Mean mAP over the radii from 0 to the largest, straight lines between the points (trapezoid rule)."""
    points = _whole(curve)
    if points is None:
        return None
    radii = np.array([radius for radius, _ in points])
    values = np.stack([column.values for _, column in points])
    area = (np.diff(radii)[:, None] * (values[1:] + values[:-1]) / 2).sum(0) / radii[-1]
    return estimate(replace(points[0][1], values=area))


def critical_of(curve: Sequence[PointColumn]) -> CriticalEpsilon | None:
    """Where the curve first falls to half of the clean mAP, straight lines between the points.

    Its interval holds the radii at which the mAP that is left and half of the clean mAP cannot be told apart at 95%.
    """
    points = _whole(curve)
    if points is None:
        return None
    radii, excess = [radius for radius, _ in points], [column.mean - points[0][1].mean / 2 for _, column in points]
    largest = radii[-1]
    place = next((i for i, value in enumerate(excess) if value <= 0), None)
    is_beyond = place is None
    if place is None:
        value = largest
    elif place == 0:
        value = 0.0
    else:
        before, after = excess[place - 1], excess[place]
        value = radii[place - 1] + (radii[place] - radii[place - 1]) * before / (before - after)
    ends = [_end(points, value, is_upper=is_upper) for is_upper in (False, True)]
    return CriticalEpsilon(estimate=Estimate(value=value, low=ends[0], high=ends[1]), is_beyond=is_beyond)


def _end(points: Sequence[tuple[float, Column]], value: float, *, is_upper: bool) -> float:
    """An end of the interval, by halving between the value and the end of the curve."""
    largest = points[-1][0]
    inside, outside = value, largest if is_upper else 0.0
    if not _is_told_apart(points, outside):
        return outside
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if _is_told_apart(points, middle) else (middle, outside)
    return inside


def _is_told_apart(points: Sequence[tuple[float, Column]], radius: float) -> bool:
    """Whether the mAP at a radius differs from half of the clean one."""
    radii = np.array([each for each, _ in points])
    index = int(np.clip(np.searchsorted(radii, radius), 1, len(radii) - 1))
    share = (radius - radii[index - 1]) / (radii[index] - radii[index - 1])
    left, right, clean = points[index - 1][1], points[index][1], points[0][1]
    values = (1 - share) * left.values + share * right.values
    found = interval_of_difference(clean.values / 2, values, clean.identities)
    return not found.low <= 0 <= found.high
