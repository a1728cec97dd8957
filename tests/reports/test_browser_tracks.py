"""Pages of tracks, attacks and transfers in a real Chromium: what a reader does works, and an address keeps it.

`visit` fails a test whose page said anything on its console or asked for anything outside its site.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlparse

import pytest
from robustreid.reports.merging import load_results
from robustreid.reports.pages import Pages, row_id
from robustreid.reports.transfer import make_transfers
from robustreid.reports.writing import put_in_place, static_files

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OTHER_KINDS = ("models", "attacks", "transfer")
BY_SCORE = ["goat", "metric-at", "second-try", "reid-shield", "plain", "broken"]


def track_page(site: Path) -> Path:
    """The page of the one track."""
    return site / "tracks" / "mini-gallery-4.html"


def models(page: Page) -> list[str]:
    """The models of the board as it stands, from above."""
    texts: list[str] = page.eval_on_selector_all(
        "#board-table tbody tr",
        "rows => rows.map(row => (row.cells[1].querySelector('.name') || {}).textContent || '')",
    )
    return texts


def state(page: Page) -> dict[str, list[str]]:
    """What the address keeps."""
    return parse_qs(urlparse(page.url).fragment)


@pytest.fixture(scope="module")
def transfer_site(
    make_run: Callable[..., Path], make_cell: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The matrix of two models, each attacked through the other as well, with a long and a hostile name."""
    cells: list[dict[str, Any]] = []
    names = ("osnet-with-a-long-name-for-a-narrow-column", "<img src=x onerror=alert(1)>")
    for name in names:
        cells.append(make_cell(name, "apgd", 4, 0.5))
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        other = names[name == names[0]]
        cells.append(make_cell(name, "apgd", 4, 0.8, surrogate=other, knowledge="transfer", cell_id=digest))
    folder = tmp_path_factory.mktemp("transfer")
    (found,) = make_transfers(load_results([make_run(folder / "run", cells)]).results)
    page = Pages().render("transfer.html", root="../", page="transfer", transfers=found)
    put_in_place(folder / "site", {**{f"assets/{k}": v for k, v in static_files()}, "transfer/page.html": page})
    return folder / "site"


def test_sorting_is_in_the_address(visit: Callable[..., Page], track_site: Path) -> None:
    """A click changes it; whoever opens it sees the same order, and the way back leads to the first one."""
    page = visit(track_page(track_site))
    assert models(page) == BY_SCORE
    assert state(page) == {}
    head = page.locator("#board-table thead th", has_text="Clean mAP")
    head.click()
    page.wait_for_selector("#board-table th[aria-sort=ascending]")
    head.click()
    page.wait_for_selector("#board-table th[aria-sort=descending]")
    shown = models(page)
    assert shown != BY_SCORE
    assert state(page) == {"board.sort": ["mAP_clean,desc"]}
    again = visit(track_page(track_site))
    again.goto(page.url)
    again.wait_for_selector("#board-table th[aria-sort=descending]")
    assert models(again) == shown
    again.evaluate("location.hash = ''")
    again.wait_for_function("!document.querySelector('#board-table th[aria-sort=descending]')")
    assert models(again) == BY_SCORE


def test_filter_and_search_are_in_the_address(visit: Callable[..., Page], track_site: Path) -> None:
    """By who computed the rows, and by any word; both come back."""
    page = visit(track_page(track_site))
    page.select_option("#board-table-provenance", label="self-reported")
    assert models(page) == ["second-try"]
    page.select_option("#board-table-provenance", label="own run")
    page.locator("section:has(#board-table) input[type=search]").fill("at")
    page.wait_for_function("location.hash.includes('search')")
    assert state(page) == {"board.provenance": ["own run"], "board.search": ["at"]}
    again = visit(track_page(track_site))
    again.goto(page.url)
    again.wait_for_function("document.querySelector('#board-table-provenance').selectedIndex > 0")
    assert models(again) == models(page)
    assert set(models(again)) < set(BY_SCORE)
    assert again.locator("section:has(#board-table) input[type=search]").input_value() == "at"


def test_a_row_has_an_address(visit: Callable[..., Page], track_site: Path) -> None:
    """The sign beside a model's name leads to its row, which is marked; the model's page leads there too."""
    page = visit(track_page(track_site))
    page.locator("#board-table a.here", has_text="#").nth(3).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("tr.wanted")
    assert page.locator("tr.wanted").get_attribute("id") == row_id("reid-shield")
    assert page.url.endswith(f"#{row_id('reid-shield')}")
    model = visit(next((track_site / "models").glob("reid-shield-*.html")))
    model.locator("section:has(#standings) th a").click()
    model.wait_for_selector("tr.wanted")
    assert model.locator("tr.wanted .name").first.inner_text() == "reid-shield"


def test_export_has_the_stored_values(visit: Callable[..., Page], track_site: Path) -> None:
    """The button gives what is shown, in its order; the file beside it has every column of the same numbers."""
    page = visit(track_page(track_site))
    page.select_option("#board-table-provenance", label="own run")
    with page.expect_download() as download:
        page.locator("section:has(#board-table) button", has_text="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8-sig"))))
    assert [row["model"] for row in rows] == ["goat", "metric-at", "plain", "broken"]
    text = (track_site / "tracks" / "mini-gallery-4.csv").read_text()
    whole = {row["model"]: row for row in csv.DictReader(io.StringIO(text))}
    for row in rows:
        for name in ("place_first", "mAP_worst", "mAP_clean", "mAP_under_apgd", "area", "critical_epsilon"):
            assert row[name] == whole[row["model"]][name]
    assert (rows[-1]["mAP_worst"], rows[-1]["mAP_under_ama-ifgsm"]) == ("", "failed")


def test_figures_say_intervals(visit: Callable[..., Page], track_site: Path) -> None:
    """Every mark has its number and its interval, by the keyboard; a band lies behind each line."""
    page = visit(track_page(track_site))
    first = page.locator("figure.chart svg .mark").first
    first.focus()
    assert page.locator(".tip-said").inner_text().startswith("mAP ")
    said = page.eval_on_selector_all("svg .mark", "marks => marks.map(mark => mark.dataset.said)")
    assert all("[" in text for text in said if text.startswith("mAP"))
    assert page.locator("svg [fill-opacity='0.13']").count() >= 5


def pages_of(track_site: Path, transfer_site: Path) -> tuple[list[Path], list[Path]]:
    """One of each kind, by site."""
    found = [track_page(track_site), next((track_site / "models").glob("reid-shield-*.html"))]
    found.append(next((track_site / "attacks").glob("apgd-*.html")))
    return found, [next((transfer_site / "transfer").iterdir())]


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit(visit: Callable[..., Page], track_site: Path, transfer_site: Path, width: int) -> None:
    """No page is wider than its window, and nothing of a name became an element."""
    for files in pages_of(track_site, transfer_site):
        page = visit(files[0], viewport={"width": width, "height": 800})
        for file in files:
            page.goto(file.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator("img, main dd b").count() == 0


def test_cards_lead_only_where_they_may(visit: Callable[..., Page], track_site: Path) -> None:
    """A paper's https address is a link without a referrer; what would run stays text."""
    page = visit(next((track_site / "models").glob("reid-shield-*.html")))
    links = page.locator("dl.card a")
    assert links.count() == 1
    assert links.first.get_attribute("href") == "https://example.org/papers/shield.pdf"
    assert "noreferrer" in (links.first.get_attribute("rel") or "")
    assert "javascript:alert(1)" in page.locator("dl.card").inner_text()


@pytest.mark.parametrize("kind", ["tracks", *(pytest.param(k, marks=pytest.mark.slow) for k in OTHER_KINDS)])
def test_no_serious_finding_of_axe(browser: Browser, track_site: Path, transfer_site: Path, kind: str) -> None:
    """Each kind of page, dark and light (the policy is lifted for axe alone)."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    found = []
    for theme in ("light", "dark"):
        context = browser.new_context(bypass_csp=True, color_scheme=theme)
        page = context.new_page()
        files = [file for files in pages_of(track_site, transfer_site) for file in files if file.parent.name == kind]
        assert files
        for file in files:
            page.goto(file.as_uri())
            for violation in axe.Axe().run(page).response["violations"]:
                if violation["impact"] in {"serious", "critical"}:
                    nodes = [node["html"][:150] for node in violation["nodes"][:3]]
                    found.append((file.parent.name, theme, violation["id"], nodes))
        context.close()
    assert found == []
