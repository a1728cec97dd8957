"""Sites of ordinary and of strange runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from robustreid import UserError
from robustreid.reports.site import build_site

HOSTILE = [
    "<script>alert(1)</script>",
    "\" onmouseover='alert(1)' x=\"",
    "x" * 10_000,
    "\u202egnp.exe\u202c",
    "../../x",
    "=cmd|' /C calc'!A0",
    "</script><!--<script>",
    "{{ 7*7 }}{% raw %}",
    "a\x00b\x1f\u2028c",
    "javascript:alert(1)",
]


class Links(HTMLParser):
    """What a page refers to, and what could run."""

    def __init__(self, file: Path) -> None:
        """Read a page."""
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.dangers: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # The one way out: a link that somebody has to follow, which says nothing of where it was.
        leads_out = tag == "a" and dict(attrs).get("rel") == "nofollow noopener noreferrer"
        for key, value in attrs:
            if key in {"href", "src"} and not (leads_out and (value or "").startswith("https://")):
                self.addresses.append(value or "")
            if key == "id":
                self.ids.append(value or "")
            if key.startswith("on") or key == "style":
                self.dangers.append(f"{tag} {key}")
        if tag in {"iframe", "object", "form", "base"} or (
            tag == "script" and not dict(attrs).keys() & {"src", "type"}
        ):
            self.dangers.append(tag)


def broken(site: Path) -> list[str]:
    """Addresses that lead nowhere or out of the site, ids that stand twice, and whatever could run."""
    found = []
    for file in site.rglob("*.html"):
        page = Links(file)
        name = file.relative_to(site).as_posix()
        found += [f"{name}: {danger}" for danger in page.dangers]
        found += [f"{name}: id {one} twice" for one in {one for one in page.ids if page.ids.count(one) > 1}]
        for address in page.addresses:
            path, _, fragment = address.partition("#")
            target = (file.parent / path).resolve() if path else file
            if ":" in address or not target.is_relative_to(site.resolve()) or not target.is_file():
                found.append(f"{name}: {address[:80]}")
            elif fragment and fragment not in (page if target == file else Links(target)).ids:
                found.append(f"{name}: {address}")
    return found


def content(site: Path) -> dict[str, bytes]:
    """Every file of a site."""
    return {p.relative_to(site).as_posix(): p.read_bytes() for p in sorted(site.rglob("*")) if p.is_file()}


def test_the_same_rows_give_the_same_bytes(sample_run: Path, sample_site: Path, tmp_path: Path) -> None:
    """From another place, into another place: every file is the same, and none says where it was."""
    moved = Path(shutil.copytree(sample_run, tmp_path / "elsewhere" / sample_run.name))
    again = content(build_site([moved], tmp_path / "site").parent)
    assert again == content(sample_site)
    assert not any(str(place).encode() in data for data in again.values() for place in (sample_run, tmp_path))


def test_every_link_leads_somewhere(sample_site: Path) -> None:
    """Within the site, and nothing in a page could run but the site's own scripts."""
    assert broken(sample_site) == []


def test_a_dead_link_and_a_handler_are_found(sample_site: Path, tmp_path: Path) -> None:
    """Planted: an address that leads nowhere, one that leads out, an inline handler and an inline style."""
    site = Path(shutil.copytree(sample_site, tmp_path / "site"))
    with (site / "index.html").open("a") as file:
        file.write('<a href="none.html" onclick="x()">x</a><a href="../up" style="color:red">x</a>')
    assert len(broken(site)) == 4


def test_the_policy_is_strict(sample_site: Path) -> None:
    """On every page: nothing from elsewhere, nothing inline."""
    for file in sample_site.rglob("*.html"):
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', file.read_text())
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy


def test_hostile_names_are_inert(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """As model, attack, data set, reason and flag: text everywhere, and plain file names."""
    cells = [
        {"model": name, "attack": name, "dataset": name, "k": k, "flags": [name]} for name in HOSTILE for k in (2, 4)
    ]
    cells += [{"model": name, "k": 8, "status": "failed", "reason": name} for name in HOSTILE]
    cells += [{"model": name, "k": 1, "status": "missing", "side": "query"} for name in HOSTILE]
    site = build_site([make_run(tmp_path / "run", cells, name=HOSTILE[0])], tmp_path / "site").parent
    assert broken(site) == []
    for file in site.rglob("*"):
        assert re.fullmatch(r"[.A-Za-z0-9_-]{1,120}", file.name)
    page = (site / "index.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "49{%" not in page


def test_hostile_submissions_are_inert(
    make_run: Callable[..., Path],
    make_cell: Callable[..., dict[str, Any]],
    make_board: Callable[..., Path],
    make_track: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """As label, surrogate and flag on a track; as card, finder and attack of an entry: text everywhere."""
    names = [HOSTILE[0], HOSTILE[3], HOSTILE[7]]
    cells = [make_cell(name, attack, 4, 0.5, flags=[name]) for name in names for attack in ("ama-ifgsm", "apgd")]
    cells.append(make_cell(names[0], "apgd", 4, 0.5, surrogate=names[1], knowledge="transfer", cell_id="t" * 32))
    card = {name: HOSTILE[place] for place, name in enumerate(("title", "authors", "licence", "paper", "code"))}
    card |= {"javascript:alert(1)": "https://example.org/\" onclick='alert(1)'", "paper": "javascript:alert(1)"}
    found = [(HOSTILE[0], [make_cell("x", HOSTILE[6], 4, 0.3)])]
    entry = {"cells": [make_cell("x", "apgd", 4, 0.5)], "card": card, "found": found}
    directories = [make_board({"entry": entry}), make_run(tmp_path / "run", cells)]
    track = make_track(title=HOSTILE[0])
    site = build_site(directories, tmp_path / "site", tracks=[track]).parent
    assert broken(site) == []
    page = (site / "tracks" / "mini-gallery-4.html").read_text()
    for text in (page, (site / "index.html").read_text(), *(p.read_text() for p in (site / "models").iterdir())):
        assert "<script>alert" not in text
        assert "49{%" not in text
        assert not re.search(r"href=.(javascript|https://example.org/.?.? )", text)
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 5
    for name in site.rglob("*"):
        assert re.fullmatch(r"[.A-Za-z0-9_-]{1,120}", name.name)


SHAPES: dict[str, list[dict[str, Any]]] = {
    "empty": [],
    "planned": [{"status": "missing", "k": k} for k in (2, 4)],
    "failed": [{"status": "failed", "reason": "no", "k": k} for k in (2, 4)],
    "one": [{}],
    "one epsilon, two models": [{}, {"model": "b"}],
    "clean only": [{"k": 0}],
    "targeted": [{"goal": "targeted", "side": "query"}],
    "l2": [{"norm": "l2", "epsilon": e, "epsilon_label": f"{e:g}"} for e in (0.5, 1.0, 2.0)],
    "both": [{"side": "both"}],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_strange_runs_have_pages(make_run: Callable[..., Path], tmp_path: Path, shape: str) -> None:
    """Whatever a run holds or lacks, its site stands and says what there is."""
    site = build_site([make_run(tmp_path / "run", SHAPES[shape])], tmp_path / "site").parent
    assert broken(site) == []
    text = (site / "index.html").read_text()
    said = {
        "empty": "the grid has no cells",
        "planned": "No model has a score under every attack yet",
        "failed": "<b>2</b> failed",
        "targeted": ", targeted",
        "l2": ", L2",
    }
    assert said.get(shape, "points mAP") in text


def test_an_old_plan_has_a_site(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Its missing cells are listed by their labels."""
    run = make_run(tmp_path / "run", [{}, {"k": 8, "status": "missing"}], old_plan=True)
    text = build_site([run], tmp_path / "site").read_text()
    assert "osnet mini ama-ifgsm linf 8/255 gallery" in text


@pytest.mark.slow
def test_a_hundred_models(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """A page for each; the board names them all, and its figure says how many stand back."""
    cells = [{"model": f"m{place:03}", "k": k} for place in range(100) for k in (2, 4)]
    site = build_site([make_run(tmp_path / "run", cells)], tmp_path / "site").parent
    assert len(list((site / "models").iterdir())) == 100
    (board,) = (site / "boards").iterdir()
    assert board.read_text().count('<th scope="row"') == 100
    assert "84 more" in board.read_text()


def test_ranking_pages(ranked_run: Path, tmp_path: Path) -> None:
    """Linked from the model's page; right and wrong are said in words as well."""
    site = build_site([ranked_run], tmp_path / "site").parent
    assert broken(site) == []
    (page,) = (site / "rankings").iterdir()
    (model,) = (site / "models").iterdir()
    assert f"../rankings/{page.name}" in model.read_text()
    text = page.read_text()
    assert text.count('<li class="right">') == 4
    assert text.count('alt="Right: identity 9') == 4
    assert text.count('alt="Wrong: identity') == 36
    assert "a change of one grey level as 16" in text


def test_several_runs_make_one_site(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Their grids lie side by side, and the same run given twice counts once."""
    runs = [make_run(tmp_path / "a", [{}], name="first"), make_run(tmp_path / "b", [{"model": "b"}], name="second")]
    site = build_site([*runs, runs[0]], tmp_path / "site").parent
    assert sorted(path.name for path in (site / "grids").iterdir()) == ["1.yml", "2.yml"]
    assert (site / "grids" / "2.yml").read_text() == (runs[1] / "grid.yml").read_text()
    assert len(list((site / "models").iterdir())) == 2


def test_a_wrong_folder_leaves_nothing(tmp_path: Path) -> None:
    """A request that is wrong writes nothing."""
    with pytest.raises(UserError, match="is no run directory"):
        build_site([tmp_path / "none"], tmp_path / "site")
    assert list(tmp_path.iterdir()) == []
