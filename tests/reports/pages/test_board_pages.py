"""Boards, their data and their curves say what the parquet says: every number, every order, every line.

The checks are functions of a page or a figure and of the stored cells, so that planted bugs meet the same functions.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from robustreid.reports import boards, curves, results
from robustreid.reports.site import build_site

Problems = Callable[..., list[str]]


def printed(value: float) -> str:
    """Points with two decimals."""
    return f"{100 * value:.2f}"


def board_problems(page: Any, frame: pd.DataFrame) -> list[str]:
    """Where a board's table and data differ from the store; the order and the worst are computed here anew."""
    here = frame[frame["epsilon_label"] == "4/255"]
    attacks = list(dict.fromkeys(frame["attack"]))
    expected, places = [], []
    for model in dict.fromkeys(frame["model"]):
        cells: list[str] = []
        values: list[float] = []
        of_worst = None
        for attack in attacks:
            found = here[(here["model"] == model) & (here["attack"] == attack)]
            states = set(found["status"])
            if states == {"done"}:
                value = math.fsum(found["mAP_attacked"]) / len(found)
                cells.append(f"{printed(value)} {printed(math.fsum(found['rank1_attacked']) / len(found))}")
                if not values or value < min(values):
                    of_worst = found.iloc[0]
                values.append(value)
            else:
                cells.append(next((s for s in ("failed", "skipped", "missing") if s in states), "not planned"))
        is_complete = len(values) == len(attacks)
        worst = f"{'' if is_complete else 'at most '}{printed(min(values))}" if values else "incomplete"
        rest = ["", "", ""]
        if of_worst is not None:
            rest = [of_worst["attack"], printed(of_worst["mAP_clean"]), printed(of_worst["rank1_clean"])]
        expected.append([model, worst, *rest, *cells])
        places.append((not is_complete, not values, -min(values, default=0)))
    expected = [row for _, row in sorted(zip(places, expected, strict=True))]
    shown = [row[1:] for row in page.table("board-table")]
    found = [f"board: {a} instead of {b}" for a, b in zip(shown, expected, strict=True) if a != b]
    return found + data_problems(page.data["cells-data"], frame)


def data_problems(table: dict[str, Any], frame: pd.DataFrame) -> list[str]:
    """Where the table of all cells differs from the store, number by number."""
    stored = {(r["model"], r["attack"], r["epsilon_label"], str(r["seed"])): r for r in frame.to_dict("records")}
    found = [] if len(table["rows"]) == len(stored) else ["data: not all cells"]
    for row in table["rows"]:
        cells = {
            c["name"]: v if c["kind"] == "points" else c["values"][v]["full"]
            for c, v in zip(table["columns"], row, strict=True)
        }
        known = stored[cells["model"], cells["attack"], cells["epsilon_label"], cells.get("seed", "0")]
        if cells["status"] != known["status"]:
            found.append(f"data: status {cells['status']} instead of {known['status']}")
        for column in table["columns"]:
            if column["kind"] == "points":
                value = known.get(column["name"])
                wanted = value if known["status"] == "done" else None
                if cells[column["name"]] != wanted:
                    found.append(f"data: {column['name']} is {cells[column['name']]} instead of {wanted}")
    return found


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A mark of a figure: whose it is, where it stands and what it says."""

    line: tuple[str, str]
    spot: tuple[float, float]
    where: str
    said: str

    @property
    def score(self) -> float | None:
        """The mAP that it says, in points."""
        found = re.match(r"mAP ([\d.]+)", self.said)
        return float(found[1]) if found else None


def drawn_marks(svg: ET.Element) -> list[Drawn]:
    """The marks of a board's figure; their lines as (attack, model)."""
    found = []
    for group in svg.iter():
        if "data-name" in group.attrib:
            for mark in (one for one in group.iter() if one.get("class") == "mark"):
                spot = next(child for child in mark.iter() if child.get("class") == "spot").attrib
                line = (group.attrib["data-context"], group.attrib["data-name"])
                place = (round(float(spot["cx"]), 3), round(float(spot["cy"]), 3))
                said = {"where": mark.attrib["data-where"], "said": mark.attrib["data-said"]}
                found.append(Drawn(line=line, spot=place, **said))
    return found


def curve_problems(svg: ET.Element, frame: pd.DataFrame) -> list[str]:
    """Where the drawn lines differ from the store: what marks say, how high they stand, which of them are joined."""
    marks = drawn_marks(svg)
    return said_problems(marks, frame) + height_problems(marks) + line_problems(svg, marks)


def said_problems(marks: list[Drawn], frame: pd.DataFrame) -> list[str]:
    """Marks that say something else than the store."""
    found = []
    for mark in marks:
        attack, model = mark.line
        label = mark.where.removeprefix("epsilon ")
        is_it = (frame["attack"] == attack) & (frame["model"] == model) & (frame["epsilon_label"] == label)
        cells = frame[is_it]
        if mark.where == "clean":
            continue
        if set(cells["status"]) == {"done"}:
            scores = printed(cells["mAP_attacked"].mean()), printed(cells["rank1_attacked"].mean())
            is_right = mark.said.startswith("mAP {}, Rank-1 {}".format(*scores))
        else:
            is_right = mark.said in set(cells["status"])
        if not is_right:
            found.append(f"curve: {mark}")
    return found


def height_problems(marks: list[Drawn]) -> list[str]:
    """Marks that stand elsewhere than their score: within a panel score and height are one straight line."""
    found = []
    for attack in {mark.line[0] for mark in marks}:
        own = [(mark.score, mark.spot[1]) for mark in marks if mark.line[0] == attack and mark.score is not None]
        (low, y_low), (high, y_high) = min(own), max(own)
        slope = (y_high - y_low) / (high - low)
        found += [f"curve: {v} stands at {y}" for v, y in own if abs(y - (y_low + (v - low) * slope)) > 0.05]
    return found


def line_problems(svg: ET.Element, marks: list[Drawn]) -> list[str]:
    """Lines through a place without a score, and lines to a place where nothing was measured."""
    found = []
    lines: dict[tuple[str, str], list[Drawn]] = defaultdict(list)
    for mark in marks:
        lines[mark.line].append(mark)
    scored = {mark.spot for mark in marks if mark.score is not None}
    lowest = max(mark.spot[1] for mark in marks)
    for path in svg.iter("{http://www.w3.org/2000/svg}path"):
        if path.get("stroke-width") != "1.7" or path.get("stroke") == "currentColor":
            continue
        pairs = re.findall(r"([\d.]+) ([\d.]+)", path.attrib["d"])
        vertices = [(round(float(x), 3), round(float(y), 3)) for x, y in pairs]
        if any(y > lowest + 20 for _, y in vertices):
            continue  # the legend's
        found += [
            f"curve: a line goes to {spot}, where nothing was measured" for spot in vertices if spot not in scored
        ]
        for start, end in pairwise(vertices):
            for line, own in lines.items():
                between = [mark for mark in own if mark.score is None and start[0] < mark.spot[0] < end[0]]
                if between and {start, end} <= {mark.spot for mark in own}:
                    found.append(f"curve: {line} goes through a cell without a score")
    return found


@pytest.fixture(scope="module")
def problems(read_page: Callable[[Path], Any], stored_cells: Callable[[Path, str], pd.DataFrame]) -> Problems:
    """A function that gives all differences between a site and its run."""

    def find(site: Path, run: Path, sides: tuple[str, ...] = ("gallery",)) -> list[str]:
        found = []
        for side in sides:
            frame = stored_cells(run, side)
            page = read_page(next((site / "boards").glob(f"mini-{side}-*.html")))
            svg = ET.fromstring(next((site / "figures").glob(f"mini-{side}-*-mAP.svg")).read_bytes())  # noqa: S314 (our own)
            found += board_problems(page, frame) + curve_problems(svg, frame)
        return found

    return find


@pytest.fixture
def rebuilt_problems(problems: Problems, small_run: Path, tmp_path: Path) -> Callable[[], list[str]]:
    """A function that makes the site of the small run anew, with whatever is planted by then, and gives all of them."""
    return lambda: problems(build_site([small_run], tmp_path / "site").parent, small_run)


def test_every_number_is_the_stored_one(
    problems: Problems, sample_site: Path, sample_run: Path, golden_site: Path, small_run: Path
) -> None:
    """Boards, data and curves agree with the parquet to the last printed digit."""
    assert problems(golden_site, small_run) == []
    assert problems(sample_site, sample_run, ("gallery", "query")) == []


def test_a_metric_sorted_the_wrong_way_is_found(
    rebuilt_problems: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: mAP is said to be better when it is lower."""
    monkeypatch.setitem(results.METRICS, "mAP", results.METRICS["target_mAP"])
    found = rebuilt_problems()
    assert any(problem.startswith("board: ") for problem in found)


def test_a_missing_cell_drawn_as_zero_is_found(
    rebuilt_problems: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: what has no score counts as zero."""
    true = boards.Score.mean
    monkeypatch.setattr(
        boards.Score, "mean", lambda score, column: true(score, column) or (0.0 if score.results else None)
    )
    found = rebuilt_problems()
    assert any(problem.startswith("board: ") for problem in found)
    assert any(problem.startswith("curve: a line goes to") for problem in found)


def test_a_missing_cell_in_the_data_as_zero_is_found(
    rebuilt_problems: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: the table of all cells gets zero for null."""
    true = results.Result.score
    monkeypatch.setattr(results.Result, "score", lambda result, column: true(result, column) or 0.0)
    found = rebuilt_problems()
    assert any(problem.startswith("data: ") for problem in found)


def test_a_curve_through_a_failed_point_is_found(
    rebuilt_problems: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: a line joins whatever has a value."""
    monkeypatch.setattr(
        curves.Line, "pieces", lambda line, metric: [[p for p in line.points if p.value(metric) is not None]]
    )
    found = rebuilt_problems()
    assert any(problem.endswith("goes through a cell without a score") for problem in found)
