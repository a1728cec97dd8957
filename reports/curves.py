"""Data of robustness curves: what is drawn, apart from how. Nothing is drawn where nothing was measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from .boards import Board, Score, combine
from .results import METRICS, Result

#: How many lines of a chart are told apart at most, and at least; the others stand back.
N_STYLES, FEWEST_STYLES = 16, 4

#: Marks in a chart above which fewer lines get any: a page with more of them opens slowly.
_MOST_MARKS = 1200


def n_styles(board: Board) -> int:
    """How many lines of the board's charts stand out."""
    marks_each = len(board.attacks) * (1 + len({result.epsilon for result in board.results}))
    return max(FEWEST_STYLES, min(N_STYLES, _MOST_MARKS // max(1, marks_each)))


@dataclass(frozen=True, kw_only=True)
class Point:
    """One epsilon of a line."""

    #: In 1/255 for L-inf, as it is for L2.
    radius: float
    epsilon_label: str
    #: `clean` or as for `Score`.
    status: str
    #: Fractions in [0, 1]; None where it is neither done nor clean.
    mAP: float | None  # noqa: N815
    rank1: float | None
    n_seeds: int = 1
    #: The 95% interval of the mAP, fractions; None where nothing stored gives one.
    ends: tuple[float, float] | None = None

    def value(self, metric: str) -> float | None:
        """The metric that is drawn."""
        return self.mAP if metric == "mAP" else self.rank1


@dataclass(frozen=True, kw_only=True)
class Line:
    """A model under an attack."""

    name: str
    #: By radius, ascending.
    points: tuple[Point, ...]
    #: Place among the styles; None for one of many that stand back.
    style: int | None

    def pieces(self, metric: str) -> list[list[Point]]:
        """The points that may be joined: a line ends at a point without a value and begins anew after it."""
        runs = groupby(self.points, key=lambda point: point.value(metric) is not None)
        return [list(points) for has_value, points in runs if has_value]

    def gaps(self, metric: str) -> list[Point]:
        """The points that have no value: they are marked, and never drawn as a number."""
        return [point for point in self.points if point.value(metric) is None]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes."""

    title: str
    metric: str
    lines: tuple[Line, ...]
    #: The score of a random order, a fraction.
    chance: float | None

    @property
    def y_title(self) -> str:
        """The metric and its unit; where the title is the metric, the unit."""
        name = METRICS[self.metric].title
        return "points" if self.title == name else f"{name} (points)"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What becomes one figure."""

    panels: tuple[Panel, ...]
    x_title: str
    #: What a screen reader says first.
    summary: str


def board_charts(board: Board) -> tuple[Chart, ...]:
    """MAP and Rank-1 against epsilon: a panel an attack, a line a model; the most robust stand out."""
    most = n_styles(board)
    lines: dict[str, list[Line]] = {attack: [] for attack in board.attacks}
    by_pair: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in board.results:
        by_pair[result.attack, result.model].append(result)
    for place, model in enumerate(board.models):
        for attack in board.attacks:
            found = by_pair.get((attack, model))
            if found:
                style = place if place < most else None
                lines[attack].append(Line(name=model, points=_points(found), style=style))
    return tuple(
        _chart(
            board,
            [(attack, metric, tuple(lines[attack])) for attack in board.attacks],
            f"{METRICS[metric].title} against epsilon on {board.title}: a panel an attack, a line a model.",
        )
        for metric in ("mAP", "rank1")
    )


def model_chart(board: Board, model: str) -> Chart:
    """MAP and Rank-1 of one model against epsilon: a panel a metric, a line an attack."""
    by_attack: dict[str, list[Result]] = defaultdict(list)
    for result in board.results:
        if result.model == model:
            by_attack[result.attack].append(result)
    lines = tuple(
        Line(name=attack, points=_points(found), style=place if place < N_STYLES else None)
        for place, (attack, found) in enumerate(by_attack.items())
    )
    return _chart(
        board,
        [(METRICS[metric].title, metric, lines) for metric in ("mAP", "rank1")],
        f"mAP and Rank-1 of {model} against epsilon on {board.title}: a line an attack.",
    )


def attack_chart(board: Board, attack: str) -> Chart:
    """MAP under one attack against epsilon: a line a model."""
    by_model: dict[str, list[Result]] = defaultdict(list)
    for result in board.results:
        if result.attack == attack:
            by_model[result.model].append(result)
    styles = {model: place for place, model in enumerate(board.models) if place < N_STYLES}
    lines = tuple(Line(name=name, points=_points(found), style=styles.get(name)) for name, found in by_model.items())
    return _chart(
        board,
        [(METRICS["mAP"].title, "mAP", lines)],
        f"mAP under {attack} against epsilon on {board.title}: a line a model.",
    )


def _chart(board: Board, panels: Sequence[tuple[str, str, tuple[Line, ...]]], summary: str) -> Chart:
    chances: dict[str, float | None] = {
        metric: next((c for r in board.results if (c := r.score(f"chance_{metric}")) is not None), None)
        for metric in ("mAP", "rank1")
    }
    return Chart(
        panels=tuple(
            Panel(title=title, metric=metric, lines=lines, chance=chances[metric]) for title, metric, lines in panels
        ),
        x_title="epsilon (1/255)" if board.norm == "linf" else "epsilon (L2)",
        summary=summary,
    )


def _points(results: Sequence[Result]) -> tuple[Point, ...]:
    """A point an epsilon, and the clean score at 0 where no cell of epsilon 0 was run."""
    by_epsilon: dict[float, list[Result]] = defaultdict(list)
    for result in results:
        by_epsilon[result.radius].append(result)
    points = [_point(radius, combine(found)) for radius, found in sorted(by_epsilon.items())]
    if points and points[0].radius > 0:
        clean = _clean(results)
        if clean is not None:
            points.insert(0, clean)
    return tuple(points)


def _point(radius: float, score: Score) -> Point:
    return Point(
        radius=radius,
        epsilon_label=score.results[0].epsilon_label,
        status=score.status,
        mAP=score.mean("mAP_attacked"),
        rank1=score.mean("rank1_attacked"),
        n_seeds=score.n_seeds,
    )


def _clean(results: Sequence[Result]) -> Point | None:
    first: Callable[[str], float | None] = lambda column: next(  # noqa: E731
        (value for result in results if (value := result.score(column)) is not None), None
    )
    mean_ap, rank1 = first("mAP_clean"), first("rank1_clean")
    if mean_ap is None or rank1 is None:
        return None
    return Point(radius=0.0, epsilon_label="0", status="clean", mAP=mean_ap, rank1=rank1)
