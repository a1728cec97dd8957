"""End to end on real people: what a run leaves on disk, column by column."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import robustreid
from robustreid import UserError

#: Section 6 of the design, word for word.
COLUMNS = [
    "cell_id",
    "status",
    "reason",
    "model",
    "model_sha256",
    "architecture",
    "defence",
    "dataset",
    "dataset_sha256",
    "protocol",
    "trials",
    "attack",
    "attack_version",
    "attack_params",
    "norm",
    "epsilon",
    "epsilon_label",
    "side",
    "goal",
    "knowledge",
    "surrogate",
    "seed",
    "perturb_at",
    "references",
    "attacker_data",
    "precision",
    "metric",
    "metric_version",
    "engine_version",
    "mAP_clean",
    "mAP_attacked",
    "mAP_drop",
    "mAP_trapezoid_clean",
    "mAP_trapezoid_attacked",
    "mAP_trapezoid_drop",
    "mINP_clean",
    "mINP_attacked",
    "mINP_drop",
    "rank1_clean",
    "rank1_attacked",
    "rank1_drop",
    "rank5_clean",
    "rank5_attacked",
    "rank5_drop",
    "rank10_clean",
    "rank10_attacked",
    "rank10_drop",
    "rank20_clean",
    "rank20_attacked",
    "rank20_drop",
    "mAP_clean_std",
    "mAP_attacked_std",
    "rank1_clean_std",
    "rank1_attacked_std",
    "mAP_clean_optimistic",
    "mAP_clean_pessimistic",
    "mAP_attacked_optimistic",
    "mAP_attacked_pessimistic",
    "rank1_clean_optimistic",
    "rank1_clean_pessimistic",
    "rank1_attacked_optimistic",
    "rank1_attacked_pessimistic",
    "mAP_attacked_float",
    "rank1_attacked_float",
    "target_mAP",
    "target_rank1",
    "target_mAP_clean",
    "target_rank1_clean",
    "chance_mAP",
    "chance_rank1",
    "n_query",
    "n_query_valid",
    "n_gallery",
    "n_identity",
    "n_attacked",
    "forwards",
    "backwards",
    "forwards_spent",
    "backwards_spent",
    "seconds",
    "images_per_second",
    "peak_memory_bytes",
    "batch_size",
    "linf_max",
    "l2_mean",
    "flags",
    "tool_version",
    "git_commit",
    "git_dirty",
    "python",
    "torch",
    "device",
    "threads",
    "deterministic",
    "created_at",
    "schema_version",
]

#: A column that may be named by the rest of the metrics' tie bounds and deviations, and nothing else.
MORE = {
    f"{metric}_{state}_{kind}"
    for metric in ("mAP", "mAP_trapezoid", "mINP", "rank1", "rank5", "rank10", "rank20")
    for state in ("clean", "attacked")
    for kind in ("optimistic", "pessimistic", "std")
}

QUERY_COLUMNS = [
    "cell_id",
    "trial",
    "query_id",
    "identity",
    "camera",
    "target_identity",
    "ap_clean",
    "ap_attacked",
    "ap_trapezoid_clean",
    "ap_trapezoid_attacked",
    "inp_clean",
    "inp_attacked",
    "first_rank_clean",
    "first_rank_attacked",
]


@pytest.fixture(scope="module")
def ran(
    people: Callable[..., Path],
    fast: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """The paper's attack on a real model and forty real people."""
    grid = grid_file(fast, people(40), attacks=["ama-fgsm", "ama-ifgsm"], epsilons=["5/255", "2/255"])
    return run(grid, tmp_path_factory.mktemp("table") / "run")


def test_every_cell_has_a_row_and_the_attack_works(ran: Any) -> None:
    """Four cells, four rows; clean scores are far above chance, attacked ones strictly lower, more so with more."""
    assert ran.rows["status"].tolist() == ["done"] * 4
    assert (ran.summary.n_cells, ran.summary.n_stood, ran.summary.n_done) == (4, 0, 4)
    assert (ran.rows["mAP_clean"] > 5 * ran.rows["chance_mAP"]).all()
    weak, strong = (
        ran.row(attack="ama-ifgsm", epsilon_label="2/255"),
        ran.row(attack="ama-ifgsm", epsilon_label="5/255"),
    )
    assert weak["mAP_clean"] > 2 * weak["mAP_attacked"] > 2 * strong["mAP_attacked"]
    assert (strong["n_query"], strong["n_query_valid"], strong["n_gallery"]) == (80, 80, 80)
    assert (strong["n_identity"], strong["n_attacked"]) == (40, 80)


def test_the_columns_are_those_of_the_design(ran: Any) -> None:
    """Every column of the contract is there, and no other name."""
    for file in (ran.path / "cells").iterdir():
        names = pq.ParquetFile(file).schema_arrow.names
        assert not set(COLUMNS) - set(names)
        assert not set(names) - set(COLUMNS) - MORE
        assert pq.ParquetFile(ran.path / "queries" / file.name).schema_arrow.names == QUERY_COLUMNS


def test_drops_and_budgets_are_what_they_say(ran: Any) -> None:
    """A drop is the difference; the largest change keeps to epsilon; whole steps need no rounding."""
    rows = ran.rows
    for metric in ("mAP", "mAP_trapezoid", "mINP", "rank1", "rank5", "rank10", "rank20"):
        assert (rows[f"{metric}_drop"] == rows[f"{metric}_clean"] - rows[f"{metric}_attacked"]).all()
    assert (rows["linf_max"] <= rows["epsilon"] + 1e-6).all()
    assert rows["linf_max"].to_numpy() == pytest.approx(rows["epsilon"].to_numpy(), abs=1e-6)
    assert (rows["mAP_attacked_float"] == rows["mAP_attacked"]).all()
    assert rows[["target_mAP", "target_rank1", "defence", "surrogate", "mAP_clean_std"]].isna().all(axis=None)


def test_the_queries_mean_what_the_row_says(ran: Any) -> None:
    """One row a valid query, whose means are the row's scores."""
    for row in ran.rows.to_dict("records"):
        queries = ran.queries(row["cell_id"])
        assert len(queries) == row["n_query_valid"] == queries["query_id"].nunique()
        assert queries["identity"].nunique() == row["n_identity"]
        for state in ("clean", "attacked"):
            means = {
                "mAP": queries[f"ap_{state}"].mean(),
                "mAP_trapezoid": queries[f"ap_trapezoid_{state}"].mean(),
                "mINP": queries[f"inp_{state}"].mean(),
                "rank1": (queries[f"first_rank_{state}"] == 1).mean(),
                "rank5": (queries[f"first_rank_{state}"] <= 5).mean(),
            }
            assert {metric: row[f"{metric}_{state}"] for metric in means} == pytest.approx(means, abs=1e-12)
        assert queries["query_id"].str.fullmatch(r"query/\d{4}_c1s1_\d{6}_00\.png").all()
        assert queries["target_identity"].isna().all()


def test_pandas_opens_the_folder_as_one_table(ran: Any) -> None:
    """`pandas.read_parquet` on the folders of rows and queries needs no help of ours."""
    frame = pd.read_parquet(ran.path / "cells")
    assert set(frame["cell_id"]) == set(ran.rows["cell_id"])
    assert len(pd.read_parquet(ran.path / "queries")) == 4 * 80


def test_load_gives_grid_order(ran: Any) -> None:
    """Attacks, then epsilons, as the grid names them; the notebook's `load` is the same table."""
    expected = [(attack, label) for attack in ("ama-fgsm", "ama-ifgsm") for label in ("5/255", "2/255")]
    assert list(ran.rows[["attack", "epsilon_label"]].itertuples(index=False, name=None)) == expected
    pd.testing.assert_frame_equal(ran.rows, robustreid.load(ran.path))


def test_another_grid_on_the_same_folder(
    ran: Any,
    copy_of: Callable[[Path], Path],
    people: Callable[..., Path],
    fast: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
) -> None:
    """Labels are the current grid's; `all` adds the rest; what stands is not run again; one epsilon is one cell."""
    out = copy_of(ran.path)
    models = [{"name": "renamed", "weights": str(fast)}]
    sets = [{"name": "moved", "format": "folder", "root": str(people(40))}]
    again = run(grid_file(models, sets, attacks=["ama-fgsm"], epsilons=["1/255", "10/510", "5/255"]), out)
    assert (again.summary.n_cells, again.summary.n_stood, again.summary.n_done) == (2, 1, 1)
    assert again.rows["epsilon_label"].tolist() == ["1/255", "5/255"]
    assert set(again.rows["model"]) == {"renamed"}
    assert set(again.rows["dataset"]) == {"moved"}
    assert len(robustreid.load(out, all=True)) == 5
    assert set(robustreid.load(out, all=True)["cell_id"]) >= set(ran.rows["cell_id"])


def test_reissuing_a_command_does_nothing(
    ran: Any, people: Callable[..., Path], fast: Path, grid_file: Callable[..., Path], run: Callable[..., Any]
) -> None:
    """The same grid again writes no row; `{name, default parameter}` is the same cell."""
    before = ran.written()
    attacks = ["ama-fgsm", {"name": "ama-ifgsm", "steps": None, "step_size": "1/255"}]
    again = run(grid_file(fast, people(40), attacks=attacks, epsilons=["5/255", "2/255"]), ran.path)
    assert (again.summary.n_stood, again.summary.n_done) == (4, 0)
    assert ran.written() == before
    assert not math.isnan(again.rows["mAP_attacked"].sum())


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    """Loading an empty folder says what was expected."""
    with pytest.raises(UserError, match="is no run directory; give a folder that `robustreid run` wrote"):
        robustreid.load(tmp_path)
