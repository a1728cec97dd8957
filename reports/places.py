"""The figure of a track: the score of each model with its interval, beside what it has unattacked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..leaderboards.standing import Estimate, Standing, Standings
from .drawing import COLOURS, Drawing, figure_style, saved
from .naming import printable, upright
from .standings import interval_text, place_text
from .svg import FAINT, INK, Mark, Marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Models that a figure shows at most.
MOST = 24


def draw_places(standings: Standings, prefix: str) -> Drawing | None:
    """Clean mAP and score of each model that has a place, in their order, with 95% intervals; None without one."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = [row for row in standings.rows if row.is_complete and row.worst is not None][:MOST]
    if not rows:
        return None
    names = [f"{place_text(row)}\u2002\u2002{upright(row.label, 26)}" for row in rows]
    width, height = 6.0, 0.27 * len(rows) + 1.05
    left = 0.25 + 0.078 * max(map(len, names))
    marks: dict[str, Marks] = {}
    with figure_style():
        figure = Figure(figsize=(width, height))
        axes = figure.subplots()
        figure.subplots_adjust(left=left / width, right=1 - 0.15 / width, top=1 - 0.4 / height, bottom=0.42 / height)
        axes.grid(visible=False, axis="y")
        for place, row in enumerate(rows):
            _row(axes, place, row, marks)
        if standings.chance is not None:
            axes.axvline(100 * standings.chance, color=INK, linestyle=(0, (1, 2)), linewidth=1, zorder=1)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_yticks(range(len(rows)), names)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("mAP (points)")
        looks: tuple[tuple[str, dict[str, Any]], ...] = (
            ("clean", {"marker": "o", "color": COLOURS[0]}),
            ("score", {"marker": "D", "color": COLOURS[1]}),
        )
        handles = [Line2D([], [], linestyle="-", linewidth=1.4, label=label, **look) for label, look in looks]
        if standings.chance is not None:
            handles.append(Line2D([], [], color=INK, linestyle=(0, (1, 2)), linewidth=1, label="chance"))
        figure.legend(handles=handles, loc="upper right", ncols=3, frameon=False, handletextpad=0.5, borderaxespad=0.1)
        summary = "Score and clean mAP of each model with their 95% intervals, in the order of their places."
        return Drawing(svg=saved(figure, summary, prefix, marks), n_columns=1)


def _row(axes: Axes, place: int, row: Standing, marks: dict[str, Marks]) -> None:
    if row.worst is None:
        return
    if row.clean is not None:
        ends = [100 * row.worst.value, 100 * row.clean.value]
        axes.plot(ends, [place, place], color=FAINT, linewidth=1, zorder=1.5)
        _estimate(axes, place, row, row.clean, ("o", COLOURS[0], "clean"), marks)
    _estimate(axes, place, row, row.worst, ("D", COLOURS[1], "score"), marks)


def _estimate(
    axes: Axes, place: int, row: Standing, found: Estimate, look: tuple[str, str, str], marks: dict[str, Marks]
) -> None:
    marker, colour, where = look
    axes.plot([100 * found.low, 100 * found.high], [place, place], color=colour, linewidth=1.8, zorder=3)
    gid = f"marks-{len(marks)}"
    style: dict[str, Any] = {"linestyle": "", "markersize": 5.4, "markeredgewidth": 0, "clip_on": False, "zorder": 4}
    axes.plot([100 * found.value], [place], marker=marker, color=colour, gid=gid, **style)
    said = Mark(where=where, said=f"mAP {interval_text(found)}")
    marks[gid] = Marks(name=printable(row.label), context=f"place {place_text(row)}", marks=(said,))
