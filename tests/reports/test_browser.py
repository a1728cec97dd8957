"""The site in a real Chromium, from files, under its own policy: what a reader does works, and nothing is asked for.

`visit` fails a test whose page said anything on its console or asked for anything outside its site.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from robustreid.benchmark.store.directory import RunDirectory
from robustreid.reports.site import build_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

HOSTILE = ["<img src=x onerror=alert(1)>", "=1+1", "../../x", "\u202eabc", "y" * 10_000, "<script>alert(1)</script>"]


def board_of(site: Path, side: str = "gallery") -> Path:
    """The board of one side."""
    return next((site / "boards").glob(f"*-{side}-*.html"))


def column(page: Page, table: str, place: int) -> list[str]:
    """The texts of a column of the rows that are shown."""
    texts: list[str] = page.eval_on_selector_all(
        f"#{table} tbody tr", f"rows => rows.map(row => row.cells[{place}].textContent.trim())"
    )
    return texts


def head(page: Page, table: str, title: str) -> Locator:
    """The head of a column."""
    return page.locator(f"#{table} thead th", has_text=title).first


def exported(page: Page, table: str) -> list[dict[str, str]]:
    """What the table's CSV button gives."""
    with page.expect_download() as download:
        page.locator(f"section:has(#{table}) button", has_text="CSV").click()
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_sort(visit: Callable[..., Page], sample_site: Path) -> None:
    """By a click and by the keyboard, said to a screen reader; what has no number stays last both ways."""
    page = visit(board_of(sample_site))
    assert column(page, "board-table", 1) == ["osnet", "r50-adv", "tiny", "vit.small"]
    sorted_by = "#board-table th[aria-sort={}]:has-text('fna')"
    head(page, "board-table", "fna").click()
    page.wait_for_selector(sorted_by.format("ascending"))
    assert column(page, "board-table", 1) == ["vit.small", "r50-adv", "osnet", "tiny"]
    head(page, "board-table", "fna").locator("[role=button]").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(sorted_by.format("descending"))
    assert column(page, "board-table", 1) == ["osnet", "r50-adv", "vit.small", "tiny"]
    epsilon = head(page, "cells-table", "Epsilon")
    for direction in ("ascending", "descending"):
        epsilon.click()
        page.wait_for_selector(f"#cells-table th[aria-sort={direction}]")
    assert set(column(page, "cells-table", 2)) == {"8/255", "4/255"}


def test_filter_and_search(visit: Callable[..., Page], sample_site: Path, sample_run: Path) -> None:
    """By model, attack, epsilon and status, together; and by any word."""
    frame = RunDirectory(sample_run).load().query("side == 'gallery'")
    page = visit(board_of(sample_site))
    page.select_option("#cells-table-model", label="tiny")
    assert set(column(page, "cells-table", 0)) == {"tiny"}
    page.select_option("#cells-table-epsilon_label", label="4/255")
    assert len(column(page, "cells-table", 0)) == len(frame.query("model == 'tiny' and epsilon_label == '4/255'"))
    page.select_option("#cells-table-status", label="failed")
    assert column(page, "cells-table", 1) == ["fna"]
    for name in ("model", "epsilon_label", "status"):
        page.select_option(f"#cells-table-{name}", label="all")
    page.locator("section:has(#cells-table) input[type=search]").fill("skipped")
    assert column(page, "cells-table", 0) == ["vit.small"]


def test_numbers_shown_and_exported(visit: Callable[..., Page], sample_site: Path, sample_run: Path) -> None:
    """Every number that the script prints is the stored one in points; the CSV has the stored values themselves."""
    frame = RunDirectory(sample_run).load().query("side == 'gallery'")
    page = visit(board_of(sample_site))
    page.locator("section:has(#cells-table) select.dt-input").select_option("100")
    titles = page.eval_on_selector_all("#cells-table thead th", "heads => heads.map(head => head.textContent.trim())")
    rows = exported(page, "cells-table")
    assert len(rows) == len(frame) == len(column(page, "cells-table", 0))
    for title, name in (
        ("Rank-1", "rank1_attacked"),
        ("mAP", "mAP_attacked"),
        ("mAP drop", "mAP_drop"),
        ("mINP", "mINP_attacked"),
    ):
        stored = frame[name].tolist()
        shown = column(page, "cells-table", titles.index(title))
        assert shown == ["\N{EN DASH}" if pd.isna(value) else f"{100 * value:.2f}" for value in stored]
        assert [float(row[name]) if row[name] else None for row in rows] == [
            None if pd.isna(value) else value for value in stored
        ]


def test_halves_round_as_in_python(visit: Callable[..., Page], make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Exact halves of the last digit go to the even one, as they do in every other table of ours."""
    values = [place / 800 for place in range(1, 801, 25)]
    cells = [{"model": f"m{p:03}", "k": 4, "rank1_attacked": v, "mAP_attacked": v / 3} for p, v in enumerate(values)]
    run = make_run(tmp_path / "run", [{**cell, "mAP_clean": 1.0, "rank1_clean": 1.0} for cell in cells])
    # A board's own page alone: the models' pages say nothing new.
    page = visit(board_of(build_site([run], tmp_path / "site").parent))
    page.locator("section:has(#cells-table) select.dt-input").select_option("500")
    titles = page.eval_on_selector_all("#cells-table thead th", "heads => heads.map(head => head.textContent.trim())")
    assert column(page, "cells-table", titles.index("Rank-1")) == [f"{100 * value:.2f}" for value in values]


def test_board_export(visit: Callable[..., Page], sample_site: Path) -> None:
    """Order, names and stored values; an incomplete model has no worst, and its failed cell says so."""
    rows = exported(visit(board_of(sample_site)), "board-table")
    assert [row["model"] for row in rows] == ["osnet", "r50-adv", "tiny", "vit.small"]
    assert [row["mAP_worst"] == "" for row in rows] == [False, False, True, True]
    assert [row["fna"] for row in rows].count("failed") == 1
    assert float(rows[0]["mAP_worst"]) == pytest.approx(
        min(float(rows[0][a]) for a in ("ama-fgsm", "ama-ifgsm", "fna", "noise"))
    )


def test_theme(visit: Callable[..., Page], sample_site: Path) -> None:
    """As the system says; the button changes it for every page, by the keyboard too."""
    page = visit(sample_site / "index.html", color_scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    button = page.get_by_role("button", name="Switch to light colours")
    button.focus()
    page.keyboard.press("Enter")
    light = page.evaluate(colour)
    assert dark != light
    page.goto(board_of(sample_site).as_uri())
    assert page.evaluate(colour) == light
    page.get_by_role("button", name="Switch to dark colours").click()
    assert page.evaluate(colour) == dark


def test_curves_answer_pointer_and_keyboard(visit: Callable[..., Page], sample_site: Path) -> None:
    """Hover and focus show the same numbers; arrows move along a line and between lines, Escape hides."""
    page = visit(board_of(sample_site))
    page.locator("svg [data-name=tiny][data-context=fna] .mark[data-where='epsilon 4/255'] .spot").first.hover()
    assert page.locator(".tip").inner_text().split("\n") == ["tiny", "fna, epsilon 4/255", "failed"]
    first = page.locator("svg .mark").first
    first.focus()
    assert page.locator(".tip-said").inner_text() == first.get_attribute("data-said")
    page.keyboard.press("ArrowRight")
    focused = "document.activeElement.getAttribute('aria-label')"
    moved = page.evaluate(focused)
    assert moved == page.locator("svg .mark").nth(1).get_attribute("aria-label")
    page.keyboard.press("ArrowDown")
    below = page.evaluate(focused)
    assert below != moved
    assert page.evaluate("document.activeElement.dataset.where") == "epsilon 1/255"
    page.keyboard.press("Escape")
    assert page.locator(".tip").is_hidden()


def test_skip_link_comes_first(visit: Callable[..., Page], sample_site: Path) -> None:
    """The first stop of the tab key leads past the head of the page."""
    page = visit(sample_site / "index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("width", [360, 1280])
def test_pages_fit(visit: Callable[..., Page], sample_site: Path, ranked_run: Path, tmp_path: Path, width: int) -> None:
    """No page is wider than its window: wide tables and figures scroll in their own frame."""
    ranked = build_site([ranked_run], tmp_path / "site").parent
    files = [sample_site / "index.html", board_of(sample_site), next((sample_site / "models").iterdir())]
    files.append(next((ranked / "rankings").iterdir()))
    for file in files:
        page = visit(file, viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_hostile_names_stay_text(visit: Callable[..., Page], make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Nothing runs, nothing is asked for, long names do not burst the page, and a spreadsheet gets no formula."""
    cells = [{"model": name, "attack": name, "k": 4, "flags": [name]} for name in HOSTILE]
    site = build_site([make_run(tmp_path / "run", cells)], tmp_path / "site").parent
    for file in (site / "index.html", board_of(site), *sorted((site / "models").iterdir())):
        page = visit(file, viewport={"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator("img").count() == 0
    rows = exported(visit(board_of(site)), "cells-table")
    assert {row["model"] for row in rows} == {"'=1+1" if name == "=1+1" else name for name in HOSTILE}


@pytest.mark.slow
def test_ten_thousand_rows(visit: Callable[..., Page], make_run: Callable[..., Path], tmp_path: Path) -> None:
    """All are there to search, and only a page of them is in the document."""
    cells = [
        {"model": f"m{m}", "attack": f"a{a}", "k": k, "status": "missing"}
        for m in range(20)
        for a in range(25)
        for k in range(1, 21)
    ]
    site = build_site([make_run(tmp_path / "run", cells)], tmp_path / "site").parent
    page = visit(board_of(site))
    page.wait_for_selector("#cells-table[data-ready]")
    assert page.locator("#cells-table tbody tr").count() == 25
    assert "of 10,000" in page.locator("section:has(#cells-table) .dt-info").inner_text()


def test_no_serious_finding_of_axe(browser: Browser, sample_site: Path, ranked_run: Path, tmp_path: Path) -> None:
    """Front page, board, model and ranking lists, dark and light (the policy is lifted for axe alone)."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    ranked = build_site([ranked_run], tmp_path / "site").parent
    files = [sample_site / "index.html", board_of(sample_site), next((sample_site / "models").iterdir())]
    files.append(next((ranked / "rankings").iterdir()))
    found = []
    for theme in ("light", "dark"):
        context = browser.new_context(bypass_csp=True, color_scheme=theme)
        page = context.new_page()
        for file in files:
            page.goto(file.as_uri())
            for violation in axe.Axe().run(page).response["violations"]:
                if violation["impact"] in {"serious", "critical"}:
                    nodes = [node["html"][:150] for node in violation["nodes"][:3]]
                    found.append((file.parent.name, theme, violation["id"], nodes))
        context.close()
    assert found == []
