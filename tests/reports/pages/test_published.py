"""Numbers that others published: apart from ours, marked with source, setting and defects, and in no table of ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from robustreid.reports.published.loading import MARK, everything, published_for
from robustreid.reports.site import build_site

Make = Callable[..., Path]
NUMBERS = {
    text for found in everything() for table in found.tables for _, pairs in table.rows for p in pairs for text in p
}


class Tables(HTMLParser):
    """The tables of a page with their texts, and the sections that they stand in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[tuple[dict[str, str | None], str, str]] = []
        self._sections: list[str] = []
        self._open: dict[str, str | None] | None = None
        self._text = ""
        self.section_text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self._sections.append(dict(attrs).get("class") or "")
        if tag == "table":
            self._open, self._text = dict(attrs), ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "section":
            self._sections.pop()
        if tag == "table" and self._open is not None:
            self.tables.append((self._open, " ".join(self._text.split()), self._sections[-1]))
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._text += f" {data} "
        if "published" in self._sections:
            self.section_text += f" {data} "


def faults(text: str) -> list[str]:
    """What a page does wrong with published numbers."""
    page, found = Tables(text), []
    said = " ".join(page.section_text.split())
    for attributes, words, section in page.tables:
        is_ours = "data-published" not in attributes
        numbers = NUMBERS & set(re.findall(r"\d+\.\d+", words))
        if is_ours and numbers:
            found.append(f"a table of ours holds {sorted(numbers)}")
        if not is_ours and section != "published":
            found.append("a published table stands among ours")
        if not is_ours and not words.startswith(MARK):
            found.append("a published table has no mark")
        if not is_ours and not ("NeurIPS 2024" in words and "8/255" in words and "query is attacked" in words):
            found.append("a published table does not say where it is from, or its setting")
        if not is_ours and {"data", "dataTable"} & set((attributes.get("class") or "").split()):
            found.append("a published table can be sorted")
    if any("data-published" in attributes for attributes, _, _ in page.tables):
        wanted = next(e for e in everything() if any(f"on {e.data_set}" in words for _, words, _ in page.tables))
        found += [f"without the defect: {text}" for text in (wanted.source, *wanted.defects) if text not in said]
    scripts = " ".join(re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL))
    return found + (["published numbers in our data"] if NUMBERS & set(re.findall(r"\d+\.\d\d\b", scripts)) else [])


@pytest.fixture(scope="module")
def pages(make_run: Make, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The pages of five data sets, by label."""
    protocols = {"a": "sysu-indoor-v1", "b": "regdb-t2v-v1", "c": "llcm-v2i-published-v1", "d": "market-v1"}
    cells = [{"dataset": name, "protocol": protocol, "side": "query"} for name, protocol in protocols.items()]
    run = make_run(tmp_path_factory.mktemp("published") / "run", cells)
    (run / "grid.yml").write_text("name: x\ndatasets: [{name: a, format: sysu}, {name: b, format: synthetic}]\n")
    site = build_site([run], tmp_path_factory.mktemp("published") / "site").parent
    found = {page.name[0]: page.read_text() for page in (site / "boards").iterdir()}
    return {**found, "front": (site / "index.html").read_text()}


def test_tables_stand_beside_ours_and_are_marked(pages: dict[str, str]) -> None:
    """Of the same data set, two models or one; nowhere else."""
    for name, title, count in (("a", "SYSU-MM01", 2), ("b", "RegDB", 2), ("c", "LLCM", 1)):
        assert faults(pages[name]) == []
        shown = [words for attributes, words, _ in Tables(pages[name]).tables if "data-published" in attributes]
        assert len(shown) == count
        assert all(f"on {title}" in words for words in shown)
    assert "28.36 23.11 24.85 18.40" in Tables(pages["a"]).tables[-1][1]
    for name in ("d", "front"):
        assert MARK not in pages[name]
    assert "people that this package drew" in pages["b"]
    assert "people that this package drew" not in pages["a"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text.replace(f"<caption><b>{MARK}.</b>", "<caption>"), "no mark"),
        (lambda text: text.replace(", from Gong et al., NeurIPS 2024", ""), "where it is from"),
        (lambda text: text.replace("drift with the environment", ""), "without the defect"),
        (lambda text: text.replace('<section class="published"', '<section class="ours"'), "among ours"),
        (lambda text: text.replace('class="plain" data-published', 'class="data" data-published'), "sorted"),
        (lambda text: text.replace("</tbody>", "<tr><th>AMA</th><td>28.36</td></tr></tbody>", 1), "table of ours"),
    ],
)
def test_a_page_without_the_marks_is_seen(pages: dict[str, str], spoil: Callable[[str], str], said: str) -> None:
    """Planted bugs: each mark left out, and a number that slipped into a table of ours."""
    spoilt = spoil(pages["a"])
    assert spoilt != pages["a"]
    assert any(said in fault for fault in faults(spoilt))


def test_every_number_of_the_paper_is_there() -> None:
    """Sixteen rows of two models on two sets, six of one on the third, four numbers each."""
    counts = {found.data_set: [len(table.rows) for table in found.tables] for found in everything()}
    assert counts == {"SYSU-MM01": [8, 8], "RegDB": [8, 8], "LLCM": [6]}
    for found in everything():
        for table in found.tables:
            clean = [float(text) for pair in table.rows[0][1] for text in pair]
            for name, pairs in table.rows[1:]:
                attacked = [float(text) for pair in pairs for text in pair]
                assert len(attacked) == 4
                assert all(low < high for low, high in zip(attacked, clean, strict=True)), name


def test_protocols_name_their_family() -> None:
    """Each set once, however many of its protocols a page holds."""
    assert [found.data_set for found in published_for(["sysu-all", "sysu-indoor-multi-shot"])] == ["SYSU-MM01"]
    assert published_for(["market", "single-shot", "", "cuhk01"]) == ()
