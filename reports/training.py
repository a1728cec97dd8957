"""The figure of a training: losses, accuracy, and the scores of people who are kept out, epoch by epoch."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import InvalidFileError, UserError
from ..benchmark.store.files import write_bytes
from .drawing import COLOURS, figure_style, saved
from .naming import printable, upright
from .svg import Mark, Marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A column of the log as a line."""

    column: str
    #: What the legend calls it.
    name: str
    #: What is shown is so many times what is stored.
    scale: float = 1.0
    #: Place among the colours.
    colour: int


#: Title, unit, and lines of each pair of axes; what a training did not compute is left out.
_PANELS: tuple[tuple[str, str, tuple[Curve, ...]], ...] = (
    (
        "Losses",
        "mean over the epoch",
        (
            Curve(column="softmax_clean", name="softmax, clean", colour=0),
            Curve(column="softmax_perturbed", name="softmax, perturbed", colour=1),
            Curve(column="triplet_clean", name="triplet, clean", colour=5),
            Curve(column="triplet_perturbed", name="triplet, perturbed", colour=4),
            Curve(column="metric_clean", name="metric loss, clean", colour=6),
            Curve(column="metric_perturbed", name="metric loss, perturbed", colour=3),
            Curve(column="preserve", name="moved distance", colour=2),
        ),
    ),
    (
        "Training images recognised",
        "percent",
        (
            Curve(column="accuracy_clean", name="clean", scale=100, colour=0),
            Curve(column="accuracy_perturbed", name="perturbed", scale=100, colour=1),
        ),
    ),
    (
        "mAP of people who are kept out",
        "points",
        (
            Curve(column="mAP_clean", name="clean", scale=100, colour=0),
            Curve(column="mAP_attacked", name="attacked", scale=100, colour=1),
        ),
    ),
)

Log = list[dict[str, float | None]]


def plot_training(folder: Path) -> Path:
    """Draw the log of a training into its folder as `training.svg`, and say where that is.

    Raises:
        UserError: the folder holds no training.
        InvalidFileError: its log does not read back.
    """
    path = folder / "log.csv"
    if not path.is_file():
        raise UserError(f"{str(folder)!r} holds no training: there is no log.csv; give a folder that `train` wrote.")
    out = folder / "training.svg"
    write_bytes(out, draw_log(read_log(path), _name(folder), _chosen(folder)).encode())
    return out


def read_log(path: Path) -> Log:
    """The lines of a log, numbers by column; None where nothing was computed."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                {key: float(value) if value else None for key, value in row.items()} for row in csv.DictReader(file)
            ]
    except (ValueError, TypeError):
        rows = []
    if not rows or any(row.get("epoch") is None for row in rows):
        raise InvalidFileError(
            f"{str(path)!r} is not the log of a training; issue the `train` command again, and it is written anew."
        )
    return rows


def draw_log(log: Log, name: str, chosen: int | None = None) -> str:
    """The figure as SVG: the same bytes for the same log.

    Args:
        log: from `read_log`.
        name: the training's.
        chosen: the epoch whose weights are handed out; marked where it is not the last.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = [
        (title, unit, found)
        for title, unit, curves in _PANELS
        if (found := [curve for curve in curves if any(row.get(curve.column) is not None for row in log)])
    ]
    width, height = 3.9 * len(panels), 3.1
    marks: dict[str, Marks] = {}
    with figure_style():
        figure = Figure(figsize=(width, height))
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        figure.subplots_adjust(left=0.62 / width, right=1 - 0.12 / width, top=1 - 0.3 / height, bottom=0.5 / height)
        figure.subplots_adjust(wspace=0.26)
        for pair, (title, unit, curves) in zip(axes, panels, strict=True):
            pair.set_title(title)
            pair.set_ylabel(unit)
            pair.set_xlabel("epoch")
            pair.xaxis.set_major_locator(MaxNLocator(integer=True))
            for curve in curves:
                _draw(pair, curve, log, title, marks)
            if chosen is not None and chosen != log[-1]["epoch"]:
                pair.axvline(chosen, color=COLOURS[7], linestyle=(0, (1.2, 1.4)), linewidth=1.2, label="handed out")
            pair.set_ylim(bottom=0)
            pair.legend(frameon=False, handlelength=1.6)
        return saved(figure, f"{upright(name, 60)}: losses and scores, epoch by epoch.", "training", marks)


def _draw(axes: Axes, curve: Curve, log: Log, title: str, marks: dict[str, Marks]) -> None:
    points = [(row["epoch"] or 0.0, value) for row in log if (value := row.get(curve.column)) is not None]
    epochs = [epoch for epoch, _ in points]
    values = [curve.scale * value for _, value in points]
    gid = f"marks-{len(marks)}"
    style: dict[str, Any] = {"color": COLOURS[curve.colour], "label": curve.name}
    axes.plot(epochs, values, **style)
    axes.plot(
        epochs, values, color=style["color"], linestyle="", marker="o", markersize=3.4, markeredgewidth=0, gid=gid
    )
    said = tuple(
        Mark(where=f"epoch {epoch:.0f}", said=f"{value:.2f}") for epoch, value in zip(epochs, values, strict=True)
    )
    marks[gid] = Marks(name=printable(curve.name), context=title, marks=said)


def _name(folder: Path) -> str:
    return str(_card(folder).get("name") or folder.resolve().name)


def _chosen(folder: Path) -> int | None:
    epoch = _card(folder).get("epoch")
    return epoch if isinstance(epoch, int) else None


def _card(folder: Path) -> dict[str, Any]:
    """The card of a finished training; nothing before."""
    try:
        found = json.loads((folder / "card.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
