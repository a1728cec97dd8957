"""Charts as SVG: the same bytes for the same data, whatever the machine's fonts, styles and time.

What comes out stands alone as a file for a paper, and inside a page under a policy that allows no inline style: every
style is an attribute, and lettering is `currentColor`, so that it follows the page.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .curves import Chart, Line, Panel, Point
from .naming import printable, upright
from .results import METRICS, outward, points
from .svg import FAINT, INK, Mark, Marks, finished

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's colours without yellow and black, and two more that stay apart from them on white and on black; then
#: markers and dashes, so that no line is told by its colour alone.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8f6bd1", "#7a8793")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
_DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)))
#: Panels a row, and their size in inches by how many there are.
_COLUMNS = 4
_PANEL_SIZES = {1: (6.0, 3.2), 2: (4.5, 2.9), 3: (3.7, 2.8), 4: (3.1, 2.6)}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure."""

    svg: str
    #: Columns of panels, by which the page gives it room; 0 for the headline.
    n_columns: int


@contextmanager
def figure_style() -> Iterator[None]:
    """Matplotlib as every figure of ours is drawn, whatever somebody else has set."""
    import matplotlib as mpl

    ours: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "robustreid",
        "text.parse_math": False,
        "font.family": ["DejaVu Sans"],
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 8.5,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.7,
        "axes.linewidth": 0.8,
        "lines.linewidth": 1.7,
        "lines.markersize": 4.6,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "text.usetex": False,
        **dict.fromkeys(
            ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), INK
        ),
    }
    wanted: dict[Any, Any] = {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith(("backend", "webagg"))}
    wanted.update(ours)
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")  # a name may have letters that the font lacks; a browser has them
        mpl.rcParams.update(wanted)
        yield


def draw_chart(chart: Chart, prefix: str) -> Drawing:
    """The chart as SVG; `prefix` makes its ids its own on a page with several."""
    from matplotlib.figure import Figure

    n_columns = min(_COLUMNS, max(1, len(chart.panels)))
    n_rows = math.ceil(len(chart.panels) / n_columns)
    panel_width, panel_height = _PANEL_SIZES[n_columns]
    width = n_columns * panel_width
    names = _legend(chart)
    longest = max((len(name) for name, _ in names), default=0)
    legend_columns = max(1, min(len(names), int(width / (0.75 + 0.075 * longest))))
    # In inches: the legend stands below the axes.
    legend_height = 0.2 * math.ceil(len(names) / legend_columns) + 0.1
    height = n_rows * panel_height + legend_height
    marks: dict[str, Marks] = {}
    with figure_style():
        figure = Figure(figsize=(width, height))
        axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        figure.subplots_adjust(
            left=0.62 / width,
            right=1 - 0.12 / width,
            top=1 - 0.3 / height,
            bottom=(legend_height + 0.5) / height,
            wspace=0.12,
            hspace=0.3,
        )
        ticks = sorted({point.radius for panel in chart.panels for line in panel.lines for point in line.points})
        for place, panel in enumerate(chart.panels):
            row, column = divmod(place, n_columns)
            is_lowest = place + n_columns >= len(chart.panels)
            _draw_panel(axes[row][column], panel, marks, ticks, chart.x_title if is_lowest else "")
            axes[row][column].tick_params(labelbottom=is_lowest)
            axes[row][column].set_ylabel("" if column else panel.y_title)
        for place in range(len(chart.panels), n_rows * n_columns):
            axes[place // n_columns][place % n_columns].set_visible(False)
        if names:
            figure.legend(
                handles=_handles(names), loc="lower center", ncols=legend_columns, frameon=False, handlelength=2.8
            )
        return Drawing(svg=saved(figure, chart.summary, prefix, marks), n_columns=n_columns)


def _legend(chart: Chart) -> list[tuple[str, int | None]]:
    """Name and style of what the legend lists; then what stands back, failures and chance."""
    lines = [line for panel in chart.panels for line in panel.lines]
    styled = dict(sorted({line.style: line.name for line in lines if line.style is not None}.items()))
    found: list[tuple[str, int | None]] = [(upright(name), style) for style, name in styled.items()]
    others = len({line.name for line in lines if line.style is None})
    if others:
        found.append((f"{others} more", None))
    if any(line.gaps(panel.metric) for panel in chart.panels for line in panel.lines):
        found.append(("no score: failed, skipped or missing", -1))
    if any(panel.chance is not None for panel in chart.panels):
        found.append(("chance", -2))
    return found


def _look(style: int | None) -> dict[str, Any]:
    if style is None:
        return {"color": FAINT, "linewidth": 0.9, "marker": ""}
    return {
        "color": COLOURS[style % len(COLOURS)],
        "marker": _MARKERS[style % len(_MARKERS)],
        "linestyle": _DASHES[(style // len(COLOURS)) % len(_DASHES)],
    }


def _handles(names: Sequence[tuple[str, int | None]]) -> list[Any]:
    from matplotlib.lines import Line2D

    looks: dict[int, dict[str, Any]] = {
        -1: {"color": INK, "marker": "x", "linestyle": "", "markersize": 6},
        -2: {"color": INK, "linestyle": (0, (1, 2)), "linewidth": 1},
    }
    return [
        Line2D([], [], label=name, **(looks[style] if style is not None and style < 0 else _look(style)))
        for name, style in names
    ]


def _draw_panel(axes: Axes, panel: Panel, marks: dict[str, Marks], ticks: Sequence[float], x_title: str) -> None:
    axes.set_title(upright(panel.title, 34))
    axes.set_xlabel(x_title)
    axes.set_ylim(0, 104)
    axes.set_yticks(range(0, 101, 20))
    if ticks:
        span = (ticks[-1] - ticks[0]) or 1
        axes.set_xlim(ticks[0] - 0.04 * span, ticks[-1] + 0.04 * span)
        # Labels that would touch are left out; the first and the last stay.
        shown = [ticks[0]]
        for tick in ticks[1:]:
            if tick - shown[-1] >= 0.085 * span:
                shown.append(tick)
        axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
    if panel.chance is not None:
        axes.axhline(100 * panel.chance, color=INK, linestyle=(0, (1, 2)), linewidth=1, zorder=1)
    # Those that stand back first, the best one on top.
    for line in sorted(panel.lines, key=lambda line: (line.style is not None, -(line.style or 0))):
        _draw_line(axes, line, panel, marks)


def _draw_line(axes: Axes, line: Line, panel: Panel, marks: dict[str, Marks]) -> None:
    look = _look(line.style)
    if line.style is not None:
        _draw_band(axes, line, panel, look["color"])
    for piece in line.pieces(panel.metric):
        values = [(point.radius, 100 * (point.value(panel.metric) or 0.0)) for point in piece]
        axes.plot(*zip(*values, strict=True), **{**look, "marker": ""}, zorder=3 if line.style is not None else 2)
    if line.style is None:
        return
    style = {**look, "linestyle": "", "clip_on": False}
    scored = [point for piece in line.pieces(panel.metric) for point in piece]
    if scored:
        heights = [100 * (point.value(panel.metric) or 0.0) for point in scored]
        gid = _noted(marks, line, panel, scored)
        axes.plot([point.radius for point in scored], heights, **style, markeredgewidth=0, zorder=4, gid=gid)
    gaps = line.gaps(panel.metric)
    if gaps:
        # On the axis and across it: beside the scale, never at a value.
        style |= {"marker": "x", "markeredgewidth": 1.8, "markersize": 7, "transform": axes.get_xaxis_transform()}
        gid = _noted(marks, line, panel, gaps)
        axes.plot([point.radius for point in gaps], [0.0] * len(gaps), **style, zorder=5, gid=gid)


def _draw_band(axes: Axes, line: Line, panel: Panel, colour: str) -> None:
    """The intervals of a line's points, joined as the points are."""
    for piece in line.pieces(panel.metric):
        found = [(point.radius, *point.ends) for point in piece if point.ends is not None]
        if len(found) == len(piece) > 1:
            radii, lows, highs = zip(*found, strict=True)
            low, high = [100 * value for value in lows], [100 * value for value in highs]
            axes.fill_between(radii, low, high, color=colour, alpha=0.13, linewidth=0, zorder=1.5)


def _noted(marks: dict[str, Marks], line: Line, panel: Panel, found: Sequence[Point]) -> str:
    """A name for the group of these points' marks, which say their numbers."""
    # On a model's own page the panel's title is the metric, and a line's name is the attack.
    title = "" if panel.title == METRICS[panel.metric].title else printable(panel.title)
    gid = f"marks-{len(marks)}"
    said = tuple(_mark(point) for point in found)
    marks[gid] = Marks(name=printable(line.name), context=title, marks=said)
    return gid


def _mark(point: Point) -> Mark:
    between = "" if point.ends is None else f" [{', '.join(outward(*point.ends))}]"
    score = f"mAP {points(point.mAP)}{between}" + ("" if point.rank1 is None else f", Rank-1 {points(point.rank1)}")
    if point.status == "clean":
        return Mark(where="clean", said=score)
    seeds = f", mean of {point.n_seeds} seeds" if point.n_seeds > 1 else ""
    said = f"{score}{seeds}" if point.status == "done" else point.status
    return Mark(where=f"epsilon {point.epsilon_label}", said=said)


def saved(figure: Figure, summary: str, prefix: str, marks: dict[str, Marks]) -> str:
    """The figure as text; the groups with these ids are marks."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return finished(buffer.getvalue(), summary=printable(summary), prefix=prefix, marks=marks)
