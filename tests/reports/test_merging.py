"""Rows of several runs: each cell once, and one label for two things told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from robustreid.reports.merging import load_results


def test_a_cell_of_two_runs_is_taken_once(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """The run that has a row wins over the one that only planned it; the rest is added."""
    first = make_run(tmp_path / "a", [{"k": 2, "status": "missing"}, {"k": 4}])
    second = make_run(tmp_path / "b", [{"k": 2}, {"k": 4}, {"k": 8}])
    results = load_results([first, second]).results
    assert [(r.epsilon_label, r.status, r.run) for r in results] == [
        ("2/255", "done", 1),
        ("4/255", "done", 0),
        ("8/255", "done", 1),
    ]


def test_one_label_for_two_models_is_told_apart(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """The digest of the weights stands beside the label, for missing cells of its run too."""
    runs = [
        make_run(tmp_path / "a", [{"sha": "aaaaaaaa01"}, {"sha": "aaaaaaaa01", "k": 8, "status": "missing"}]),
        make_run(tmp_path / "b", [{"sha": "bbbbbbbb02"}, {"model": "other"}]),
    ]
    names = [result.model for result in load_results(runs).results]
    assert names == ["osnet (aaaaaaaa)", "osnet (aaaaaaaa)", "osnet (bbbbbbbb)", "other"]
    unknown = make_run(tmp_path / "c", [{"sha": "c", "status": "missing"}])
    assert load_results([runs[0], unknown]).results[-1].model == "osnet (no row yet)"


def test_other_data_and_other_parameters_are_told_apart(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """A data set with another protocol, and an attack with other parameters."""
    runs = [
        make_run(tmp_path / "a", [{}]),
        make_run(tmp_path / "b", [{"protocol": "single-v1", "attack_params": '{"steps": 3}', "sha": "x"}]),
    ]
    found = load_results(runs).results
    assert {result.dataset for result in found} == {"mini (market-v1)", "mini (single-v1)"}
    assert {result.attack for result in found} == {"ama-ifgsm ({})", 'ama-ifgsm ({"steps": 3})'}


def test_whose_gradients_were_followed_is_told_apart(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """The name of the model that was followed, or that it was the own one."""
    transfer = {"knowledge": "transfer", "surrogate": "r18", "cell_id": "b" * 32}
    run = make_run(tmp_path / "a", [{"cell_id": "a" * 32}, transfer])
    assert {result.attack for result in load_results([run]).results} == {
        "ama-ifgsm (white-box)",
        "ama-ifgsm (from r18)",
    }


def test_an_old_plan_lists_missing_cells_by_label(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Where a plan does not say what a missing cell is, its label is all there is."""
    run = make_run(tmp_path / "a", [{}, {"k": 8, "status": "missing"}], old_plan=True)
    results = load_results([run])
    assert [result.status for result in results.results] == ["done"]
    assert results.unplaced == ("osnet mini ama-ifgsm linf 8/255 gallery",)


def test_done_without_a_score_is_a_failure(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """A row that says done and holds no score never becomes a number."""
    result = load_results([make_run(tmp_path / "a", [{"mAP_attacked": None}])]).results[0]
    assert (result.status, result.score("rank1_attacked")) == ("failed", None)
    assert "holds no mAP_attacked" in result.reason


def test_the_name_is_the_grids(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """A run is called as its grid is, and as its folder where the grid is gone."""
    run = make_run(tmp_path / "folder", [{}], name='"ama 2019"')
    assert load_results([run]).runs[0].name == "ama 2019"
    (run / "grid.yml").unlink()
    assert load_results([run]).runs[0].name == "folder"


def test_flags_that_rows_raise_side_by_side_are_shown(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """A score that rises with epsilon flags its result, beside the flags of its own row, which stays as it was."""
    cells = [
        {"k": 2, "mAP_attacked": 0.2},
        {"k": 4, "mAP_attacked": 0.4, "flags": ["projected"]},
    ]
    low, high = load_results([make_run(tmp_path / "run", cells)]).results
    assert low.flags == ()
    assert high.flags == ("projected", "score-rises-with-epsilon")
    assert list(high.row["flags"]) == ["projected"]
