"""What pages say of data sets: terms and status from the track that is about them, else from their format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from robustreid.leaderboards.track import load_track
from robustreid.reports.datasets import make_data_facts
from robustreid.reports.merging import load_results


def test_terms_come_from_the_track_before_the_format(
    make_run: Callable[..., Path], make_track: Callable[..., Path], tmp_path: Path
) -> None:
    """By digest; a name that is known says what its format says, and of others nothing is known here."""
    run = make_run(tmp_path / "run", [{}, {"dataset": "market1501"}, {"dataset": "others"}])
    tracks = [load_track(make_track(status="withdrawn")), load_track("market1501-query-4")]
    found = {facts.name: facts for facts in make_data_facts(load_results([run]).results, tracks)}
    assert (found["mini"].terms, found["mini"].status) == ("research use", "withdrawn")
    assert found["mini"].source == "https://example.org/mini"
    assert (found["market1501"].terms, found["market1501"].status) == ("research use", "available")
    assert (found["others"].terms, found["others"].status, found["others"].n_query) == ("", "", 470)


def test_a_known_name_needs_no_track(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Also where nothing has run yet."""
    run = make_run(tmp_path / "run", [{"dataset": "synthetic", "status": "missing"}])
    (facts,) = make_data_facts(load_results([run]).results, [])
    assert facts.terms == "MIT, as this package"
    assert facts.n_query is None
