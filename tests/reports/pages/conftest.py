"""What the suites of pages share: a reader of pages, the stored cells, and a small run with all kinds of gaps."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from robustreid.benchmark.store.directory import RunDirectory
from robustreid.reports.site import build_site

VOID = {"meta", "link", "br", "img", "input"}
BLOCKS = {
    "p",
    "h1",
    "h2",
    "h3",
    "li",
    "tr",
    "dt",
    "dd",
    "section",
    "figcaption",
    "summary",
    "title",
    "footer",
    "caption",
    "ul",
    "nav",
}


class Reader(HTMLParser):
    """Visible text by lines, tables by id or place, and the data in script elements."""

    def __init__(self, page: Path) -> None:
        """Read a page."""
        super().__init__()
        self.lines: list[str] = [""]
        self.tables: list[tuple[str, list[list[str]]]] = []
        self.data: dict[str, dict[str, Any]] = {}
        self._open: list[tuple[str, str]] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in VOID:
            self._open.append((tag, found.get("id") or ""))
        if tag in BLOCKS:
            self.lines.append("")
        if tag == "table":
            self.tables.append((found.get("id") or "", []))
        if tag == "tr":
            self.tables[-1][1].append([])
        if tag in {"td", "th"}:
            self.tables[-1][1][-1].append("")
            self.lines[-1] += " | " if self.lines[-1].strip() else ""

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass
        if tag in BLOCKS:
            self.lines.append("")

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self._open]
        if "script" in tags:
            self.data[self._open[-1][1]] = json.loads(data)
        elif not {"svg", "noscript", "style"} & set(tags):
            self.lines[-1] += " ".join(data.split("\n"))
            if {"td", "th"} & set(tags):
                self.tables[-1][1][-1][-1] += data

    @property
    def text(self) -> str:
        """A line a block, without empty ones."""
        lines = (" ".join(line.split()) for line in self.lines)
        return "\n".join(line for line in lines if line) + "\n"

    def table(self, name: str) -> list[list[str]]:
        """Rows of cells' texts without the head, by id."""
        rows = next(rows for found, rows in self.tables if found == name)
        return [[" ".join(cell.split()) for cell in row] for row in rows[1:]]


@pytest.fixture(scope="session")
def read_page() -> Callable[[Path], Reader]:
    """A function that reads a page."""
    return Reader


def _stored_cells(run: Path, side: str) -> pd.DataFrame:
    """Untargeted cells of one side, from the store, with the missing ones."""
    store = RunDirectory(run)
    frame = store.load()
    planned = pd.DataFrame(store.planned())
    planned = planned[~planned["cell_id"].isin(frame["cell_id"])].assign(status="missing")
    both = pd.concat([frame.dropna(axis="columns", how="all"), planned], ignore_index=True)
    return both[(both["side"] == side) & (both["goal"] == "untargeted")]


@pytest.fixture(scope="session")
def stored_cells() -> Callable[[Path, str], pd.DataFrame]:
    """A function that gives the untargeted cells of a run and one of its sides, with the missing ones."""
    return _stored_cells


@pytest.fixture(scope="session")
def small_run(make_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four models and two attacks on one side: failed, skipped and missing cells, a flag, and one model all failed."""
    cells: list[dict[str, Any]] = [
        {"model": m, "attack": a, "k": k}
        for m in ("osnet", "tiny", "vit", "r50", "broken")
        for a in ("ama-ifgsm", "noise")
        for k in (2, 4, 8)
    ]
    marked: dict[tuple[Any, ...], dict[str, Any]] = {
        ("osnet", "noise", 2): {"flags": ["projected"]},
        ("tiny", "ama-ifgsm", 2): {"status": "missing"},
        ("tiny", "ama-ifgsm", 4): {"status": "skipped", "reason": "has no gradient"},
        ("vit", "noise", 4): {"status": "failed", "reason": "out of memory"},
    }
    for cell in cells:
        cell |= marked.get((cell["model"], cell["attack"], cell["k"]), {})  # noqa: PLW2901
        if cell["model"] == "broken":
            cell |= {"status": "failed", "reason": "a feature is not finite"}
    return make_run(tmp_path_factory.mktemp("small") / "run", cells, name="golden")


@pytest.fixture(scope="session")
def golden_site(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the small run."""
    return build_site([small_run], tmp_path_factory.mktemp("golden") / "site").parent
