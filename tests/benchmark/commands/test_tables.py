"""What commands print, as a person reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from robustreid.benchmark.config.grid import load_grid
from robustreid.benchmark.datasets.opening import open_sets
from robustreid.benchmark.planner import make_plan
from robustreid.benchmark.progress import Silent
from robustreid.benchmark.tables import listing, plan_table, results_table, status_text, text_table

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = """\
model   data  side               attack     epsilon  Rank-1  attacked    mAP  attacked  chance mAP
------  ----  -----------------  ---------  -------  ------  --------  -----  --------  ----------
osnet   mini  gallery            ama-ifgsm  5/255     72.34      1.49  53.96      1.38        1.28
osnet   mini  query              ama-ifgsm  5/255         -    failed      -    failed           -
osnet   mini  gallery            pgd        3             -   skipped      -   skipped           -
resnet  mini  gallery, targeted  noise      0/255      0.00    100.00  12.50         -        1.28"""


def test_results() -> None:
    """Points with two decimals, flush right; a failed and a skipped row say so, targeted ones show their own scores."""
    nothing = dict.fromkeys(["rank1_clean", "rank1_attacked", "mAP_clean", "mAP_attacked", "chance_mAP"], np.nan)
    targeted = dict.fromkeys(["target_rank1_clean", "target_rank1", "target_mAP_clean", "target_mAP"], np.nan)
    common = {"model": "osnet", "dataset": "mini", "side": "gallery", "goal": "untargeted", "attack": "ama-ifgsm"}
    common |= {"epsilon_label": "5/255", "status": "done"}
    scores = {"rank1_clean": 0.7234, "rank1_attacked": 0.0149, "mAP_clean": 0.5396, "mAP_attacked": 0.0138}
    aimed = {"target_rank1_clean": 0.0, "target_rank1": 1.0, "target_mAP_clean": 0.125, "chance_mAP": 0.0128}
    rows = [
        {**common, **targeted, **scores, "chance_mAP": 0.0128},
        {**common, **targeted, **nothing, "side": "query", "status": "failed"},
        {**common, **targeted, **nothing, "attack": "pgd", "epsilon_label": "3", "status": "skipped"},
        {**common, **nothing, **targeted, **aimed, "goal": "targeted", "model": "resnet", "attack": "noise"},
    ]
    rows[3]["epsilon_label"] = "0/255"
    assert results_table(pd.DataFrame(rows)) == RESULTS
    assert results_table(pd.DataFrame(rows)[:0]) == "No rows yet."


PLAN = """\
group                   cells  stand  gradients  shared  forwards  shared
----------------------  -----  -----  ---------  ------  --------  ------
lin on mini, gallery        4      1         30      18        60      18
lin on mini, query          4      0         15       9        48       9
lin on absent, gallery      4      0          -       -         -       -
lin on absent, query        4      0          -       -         -       -
absent: not found: ROOT/nowhere
15 cells to run: 45 gradients and 93 forwards one by one, 27 and 30 shared (image passes)."""


def test_plans(write_grid: Callable[..., Path], bench: Path) -> None:
    """A line a group, what stands, what is not there, and the sums of what is still to run."""
    datasets = (
        "datasets:\n  - {name: mini, format: folder, root: mini}\n  - {name: absent, format: folder, root: nowhere}"
    )
    parts = {"attacks": "attacks: [ama-ifgsm, noise]", "epsilons": "epsilons: [2/255, 3/255]"}
    grid = load_grid(write_grid(datasets=datasets, side="side: [gallery, query]", **parts))
    plan = make_plan(grid, *open_sets(grid.datasets, workers=1, reporter=Silent(), allow_absent=True))
    stands = {next(cell.cell_id for cell in plan.cells if cell.attack.name == "noise"): "done"}
    everything = {cell.cell_id for cell in plan.cells}
    assert plan_table(plan, stands, everything).replace(str(bench), "ROOT") == PLAN
    last = plan_table(plan, dict.fromkeys(everything, "done"), everything).splitlines()[-1]
    assert last == "0 cells to run: 0 gradients and 0 forwards one by one, 0 and 0 shared (image passes)."


STATUS = """\
5 cells: 2 done, 1 failed, 1 skipped, 1 to run; a process is writing this run.
failed: osnet mini pgd: ValueError: no
skipped: osnet mini noise: nothing to attack"""


def test_status() -> None:
    """Counts in one line, then what failed or was skipped and why."""
    states = [("a", "done", ""), ("b", "done", ""), ("osnet mini pgd", "failed", "ValueError: no"), ("c", "to run", "")]
    states.insert(3, ("osnet mini noise", "skipped", "nothing to attack"))
    records = [{"name": name, "status": status, "reason": reason} for name, status, reason in states]
    assert status_text(records, is_running=True) == STATUS
    assert status_text(records[:1], is_running=False) == "1 cell: 1 done."
    assert status_text([], is_running=False) == "0 cells: none."


def test_listings() -> None:
    """Names in a column, summaries beside them."""
    assert listing([{"name": "a", "summary": "one"}, {"name": "long", "summary": "two"}, {"name": "b"}]) == (
        "a     one\nlong  two\nb"
    )
    assert listing([]) == ""


@pytest.mark.parametrize(
    ("column", "expected"),
    [(["1", "10"], [" v", "--", " 1", "10"]), (["x", "10"], ["v", "--", "x", "10"]), ([], ["v", "-"])],
)
def test_numbers_stand_flush_right(column: list[str], expected: list[str]) -> None:
    """A column of numbers is right-justified, any other left; no line ends in blanks."""
    lines = text_table(["v"], [[value] for value in column]).splitlines()
    assert lines == expected
