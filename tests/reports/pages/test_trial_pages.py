"""Pages of protocols with trials: what a score is the mean of, how far trials lie apart, what the protocol is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid.benchmark.evaluation import PROTOCOLS
from robustreid.benchmark.store.runs import read_queries
from robustreid.reports import cameras
from robustreid.reports.cameras import camera_rows
from robustreid.reports.protocols import ABOUT, base_name
from robustreid.reports.site import build_site

Make = Callable[..., Path]
N_TRIALS = 10
#: By stored column; every number differs from all others on the pages.
SPREAD = {
    "mAP_clean_std": 0.01234,
    "mAP_attacked_std": 0.02361,
    "rank1_clean_std": 0.03456,
    "rank1_attacked_std": 0.04569,
}


def queries() -> list[dict[str, Any]]:
    """Six queries of two cameras, each in every trial."""
    return [
        {"trial": trial, "query_id": f"{place}.png", "identity": place, "camera": 3 + 3 * (place % 2)}
        | {"ap_clean": 0.5 + 0.01 * trial, "ap_attacked": 0.25}
        for trial in range(N_TRIALS)
        for place in range(6)
    ]


@pytest.fixture(scope="module")
def trial_run(make_run: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One set of ten trials, and one of a single one."""
    drawn = {"dataset": "sysu", "protocol": "sysu-all-v1", "trials": N_TRIALS, **SPREAD, "queries": queries()}
    return make_run(tmp_path_factory.mktemp("trials") / "run", [drawn, {"dataset": "plain"}])


@pytest.fixture(scope="module")
def trial_site(trial_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its site."""
    return build_site([trial_run], tmp_path_factory.mktemp("trials") / "site").parent


def board(site: Path, name: str) -> Path:
    """The page of a data set."""
    return next(page for page in (site / "boards").iterdir() if page.name.startswith(name))


def test_the_table_of_all_cells_has_trials_and_their_spread(trial_site: Path, read_page: Callable[[Path], Any]) -> None:
    """Where a row has any: their number, and a column of standard deviations for each score, bit for bit."""
    data = read_page(board(trial_site, "sysu")).data["cells-data"]
    names = [column["name"] for column in data["columns"]]
    cells = dict(zip(names, data["rows"][0], strict=True))
    trials = data["columns"][names.index("trials")]["values"][cells["trials"]]
    assert (trials["full"], trials["order"]) == ("10", 10)
    assert {name: cells[name] for name in SPREAD} == SPREAD
    assert cells["mINP_attacked_std"] is None
    plain = read_page(board(trial_site, "plain")).data["cells-data"]
    assert not [column["name"] for column in plain["columns"] if column["name"] == "trials" or "std" in column["name"]]


def test_scores_say_what_they_are_means_of(trial_site: Path) -> None:
    """In words above the table, and where one points at a score."""
    text = board(trial_site, "sysu").read_text()
    assert "Each is a mean over 10 trials" in text
    assert text.count("standard deviation of mAP over trials 2.36, standard deviation of Rank-1 over trials 4.57") == 2
    assert "trials" not in board(trial_site, "plain").read_text()
    (model,) = (trial_site / "models").iterdir()
    assert "means over 10 trials" in model.read_text()


def test_protocols_are_explained(trial_site: Path, read_page: Callable[[Path], Any]) -> None:
    """Each on the front page, a board's own on its page."""
    front, own = (read_page(page).text for page in (trial_site / "index.html", board(trial_site, "sysu")))
    assert "sysu-all-v1, 10 trials" in front
    assert ABOUT["sysu-all"] in front
    assert ABOUT["market"] in front
    assert ABOUT["sysu-all"] in own
    assert ABOUT["market"] not in own


def test_every_protocol_has_its_sentences() -> None:
    """And what they say agrees with the rules."""
    assert ABOUT.keys() == PROTOCOLS.keys()
    for name, rules in PROTOCOLS.items():
        text = ABOUT[name]
        assert ("ten trials" in text) is rules.has_splits
        assert ("Rank-k counts people" in text) is (rules.ranks_identities and not name.endswith("published"))
        assert ("camera 2" in text and "never meets" in text) is bool(rules.hidden_cameras)
        assert base_name(f"{name}-v1") == base_name(name) == name


def test_a_query_counts_once_however_many_trials(trial_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six queries, not sixty; planted bug: names that differ by trial are counted ten times."""
    cell_id = next((trial_run / "queries").iterdir()).stem
    rows = camera_rows(trial_run, cell_id)
    assert [(row.camera, row.n_query) for row in rows] == [(3, 3), (6, 3)]
    assert rows[0].clean == pytest.approx(0.545)
    read = read_queries

    def renamed(*given: Any) -> Any:
        found = dict(read(*given) or {})
        return {**found, "query_id": list(map(str, range(len(found["query_id"]))))}

    monkeypatch.setattr(cameras, "read_queries", renamed)
    assert [row.n_query for row in camera_rows(trial_run, cell_id)] == [30, 30]
