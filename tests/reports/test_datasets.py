"""What pages say of data sets: terms and status from the track that is about them, else from their grid's format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from robustreid.benchmark.datasets.about import ABOUT
from robustreid.leaderboards.track import load_track
from robustreid.reports import datasets
from robustreid.reports.datasets import DataFacts, make_data_facts
from robustreid.reports.merging import load_results
from robustreid.reports.site import build_site

Make = Callable[..., Path]


def facts_of(run: Path, *tracks: Any) -> Mapping[str, DataFacts]:
    """By name."""
    return {facts.name: facts for facts in make_data_facts(load_results([run]), tracks)}


def asking(run: Path, *entries: str) -> Path:
    """A run whose grid asks for these data sets."""
    (run / "grid.yml").write_text(f"name: asked\ndatasets: [{', '.join(entries)}]\n", encoding="utf-8")
    return run


def test_terms_come_from_the_track_before_the_format(make_run: Make, make_track: Make, tmp_path: Path) -> None:
    """By digest; a name that is known says what its format says, and of others nothing is known here."""
    run = make_run(tmp_path / "run", [{}, {"dataset": "market1501"}, {"dataset": "others"}])
    found = facts_of(run, load_track(make_track(status="withdrawn")), load_track("market1501-query-4"))
    assert (found["mini"].terms, found["mini"].status) == ("research use", "withdrawn")
    assert found["mini"].source == "https://example.org/mini"
    assert found["mini"].notice.startswith("mini was withdrawn by its authors")
    assert (found["market1501"].terms, found["market1501"].status) == ("research use", "available")
    assert (found["others"].terms, found["others"].status, found["others"].n_query) == ("", "", 470)


def test_a_known_name_needs_no_track(make_run: Make, tmp_path: Path) -> None:
    """Also where nothing has run yet."""
    run = make_run(tmp_path / "run", [{"dataset": "synthetic", "status": "missing"}])
    facts = facts_of(run)["synthetic"]
    assert facts.terms == "MIT, as this package"
    assert facts.n_query is None
    assert facts.protocols == ("market",)


def test_a_label_is_not_a_format(make_run: Make, tmp_path: Path) -> None:
    """The grid says what a set is; one that it does not know is unknown, whatever its label."""
    labels = ("sysu", "mine", "dukemtmc", "market1501")
    run = make_run(tmp_path / "run", [{"dataset": label, "protocol": "sysu-all-v1"} for label in labels])
    entries = ("{name: sysu, format: synthetic}", "{name: mine, format: sysu}", "{name: dukemtmc, format: folder}")
    found = facts_of(asking(run, *entries, "{name: market1501, format: my-plugin}"), load_track("market1501-query-4"))
    assert [found[label].format for label in labels] == ["synthetic", "sysu", "folder", ""]
    assert (found["sysu"].is_drawn, found["sysu"].terms) == (True, "MIT, as this package")
    assert (found["mine"].status, found["mine"].source) == ("on request", ABOUT["sysu"]["source"])
    assert found["mine"].protocols == ("sysu-all-v1",)
    assert not found["dukemtmc"].is_withdrawn


@pytest.mark.parametrize("layout", ["dukemtmc", "occluded-duke"])
def test_a_withdrawn_set_says_so_wherever_its_scores_head_a_table(
    make_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """Front page, board, model and attack, under any label; planted bug: a label that hides it is seen."""
    cells = [{"dataset": "mine", "attack": attack} for attack in ("ama-fgsm", "ama-ifgsm")]
    cells += [{"dataset": "other", "attack": "ama-fgsm"}]
    run = asking(
        make_run(tmp_path / "run", cells), f"{{name: mine, format: {layout}}}", "{name: other, format: folder}"
    )

    def silent(out: Path) -> list[str]:
        site = build_site([run], out).parent
        pages = [page for page in site.rglob("*.html") if ">mine<" in page.read_text() or "mine, " in page.read_text()]
        assert len(pages) == 5  # the front page, a board, a model, two attacks
        sentence = "was withdrawn by its authors in 2019; its people never agreed to be on it"
        others = next(page for page in (site / "boards").iterdir() if page.name.startswith("other"))
        assert sentence not in others.read_text()
        return sorted(page.parent.name for page in pages if sentence not in page.read_text())

    assert silent(tmp_path / "site") == []
    monkeypatch.setattr(datasets, "asked_data", lambda text: {})
    assert silent(tmp_path / "label") == ["attacks", "attacks", "boards", "label", "models"]
