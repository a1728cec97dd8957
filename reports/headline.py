"""The headline figure: what the worst attack leaves of each model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .boards import Board, BoardRow
from .drawing import COLOURS, Drawing, figure_style, saved
from .naming import printable, upright
from .results import points
from .svg import FAINT, INK, Mark, Marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_headline(boards: Sequence[Board], prefix: str, *, most: int = 8) -> Drawing:
    """What the worst attack leaves: from each model's clean mAP to its worst, the `most` most robust of each board."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    shown = [(board, [row for row in board.rows if row.is_complete][:most]) for board in boards]
    shown = [(board, rows) for board, rows in shown if rows]
    n_lines = sum(len(rows) + 1 for _, rows in shown)
    longest = max(len(upright(row.model, 26)) for _, rows in shown for row in rows)
    left = 0.2 + 0.078 * longest
    width, height = 5.4, 0.24 * n_lines + 0.85
    marks: dict[str, Marks] = {}
    with figure_style():
        figure = Figure(figsize=(width, height))
        axes = figure.subplots()
        figure.subplots_adjust(left=left / width, right=1 - 0.15 / width, top=1 - 0.35 / height, bottom=0.42 / height)
        axes.grid(visible=False, axis="y")
        place, labels = 0, {}
        for board, rows in shown:
            heading = upright(f"{board.title} at {board.epsilon_label}", 60)
            axes.annotate(
                heading, (0.04 / width, place), xycoords=("figure fraction", "data"), va="center", fontweight="bold"
            )
            for row in rows:
                place += 1
                labels[place] = upright(row.model, 26)
                _dumbbell(axes, place, board, row, marks)
            place += 1
        axes.set_ylim(n_lines - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_yticks(list(labels), list(labels.values()))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("mAP (points)")
        handles = [
            Line2D([], [], marker="o", linestyle="", color=COLOURS[0], label="clean"),
            Line2D([], [], marker="D", linestyle="", color=COLOURS[1], label="under the worst attack"),
            Line2D([], [], marker="|", linestyle="", color=INK, label="chance", markersize=9),
        ]
        figure.legend(handles=handles, loc="upper right", ncols=3, frameon=False, handletextpad=0.2, borderaxespad=0.1)
        summary = "mAP of each model before and under its worst attack."
        return Drawing(svg=saved(figure, summary, prefix, marks), n_columns=0)


def _dumbbell(axes: Axes, place: int, board: Board, row: BoardRow, marks: dict[str, Marks]) -> None:
    if row.worst is None:
        return
    clean, attacked = row.worst.mean("mAP_clean"), row.worst.mean("mAP_attacked")
    if clean is None or attacked is None:
        return
    axes.plot([100 * attacked, 100 * clean], [place, place], color=FAINT, linewidth=2.5, zorder=2)
    if board.chance is not None:
        axes.plot([100 * board.chance], [place], marker="|", color=INK, markersize=9, zorder=3, clip_on=False)
    ends = (
        (clean, "o", COLOURS[0], "clean", "rank1_clean"),
        (attacked, "D", COLOURS[1], f"{row.worst_attack} at {board.epsilon_label}", "rank1_attacked"),
    )
    for value, marker, colour, where, column in ends:
        gid = f"marks-{len(marks)}"
        style: dict[str, Any] = {
            "marker": marker,
            "color": colour,
            "linestyle": "",
            "markersize": 6,
            "markeredgewidth": 0,
        }
        axes.plot([100 * value], [place], **style, zorder=4, clip_on=False, gid=gid)
        said = f"mAP {points(value)}, Rank-1 {points(row.worst.mean(column))}"
        mark = Mark(where=printable(where), said=said)
        marks[gid] = Marks(name=printable(row.model), context=printable(board.title), marks=(mark,))
