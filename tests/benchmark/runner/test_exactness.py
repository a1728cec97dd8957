"""The same numbers bit for bit: at epsilon 0, alone or in a sweep, in any order; and as many passes as planned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from robustreid import UserError
from robustreid.attacks.catalogue import PRESETS, resolve_attack
from robustreid.attacks.threat import Side, Threat
from robustreid.benchmark.config.grid import load_grid
from robustreid.benchmark.costs import Cost
from robustreid.benchmark.datasets.opening import open_sets
from robustreid.benchmark.evaluation import METRICS
from robustreid.benchmark.planner import Plan, make_plan
from robustreid.benchmark.progress import Silent

SIDES: tuple[Side, ...] = ("gallery", "query", "both")
ATTACKS: list[Any] = [
    "ama-fgsm",
    "ama-ifgsm",
    "ama-mifgsm",
    {"name": "pgd", "steps": 3, "restarts": 2},
    "noise",
    {"name": "ifgsm-half", "objective": "push", "optimiser": "ifgsm", "steps": 3, "step_size": 0.003},
    {"name": "single", "objective": "push", "optimiser": "ifgsm", "references": "single"},
]


def _accepts(name: str, side: Side) -> bool:
    try:
        resolve_attack(name).refuse(Threat(norm="linf", epsilon=Fraction(0)), side, "untargeted")
    except UserError:
        return False
    return True


def _short(name: str) -> dict[str, Any]:
    """The preset with few steps, so that all of them are tried."""
    optimiser = resolve_attack(name).optimiser
    if (getattr(optimiser, "steps", None) or 0) > 3:
        return {"name": name, "steps": 3}
    return {"name": name, "queries": 20} if hasattr(optimiser, "queries") else {"name": name}


def _plan(grid: Path) -> Plan:
    loaded = load_grid(grid)
    sets, absent = open_sets(loaded.datasets, workers=2, reporter=Silent())
    return make_plan(loaded, sets, absent)


@pytest.mark.parametrize("perturb_at", ["native", "input"])
@pytest.mark.parametrize("model", ["tiny", pytest.param("fast", marks=pytest.mark.slow)])
def test_epsilon_0_is_the_clean_score_for_every_preset(
    model: str,
    perturb_at: str,
    request: pytest.FixtureRequest,
    crowd: Path,
    people: Callable[..., Path],
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Bit for bit, every metric and every query, on each side and on both; and every step was run."""
    data = crowd if model == "tiny" else people(5)
    for side in SIDES:
        attacks = [_short(name) for name in PRESETS if _accepts(name, side)]
        grid = grid_file(
            request.getfixturevalue(model), data, attacks=attacks, epsilons=[0], side=side, perturb_at=perturb_at
        )
        ran = run(grid, tmp_path / side, batch_size=7)
        assert ran.rows["status"].tolist() == ["done"] * len(attacks)
        for row in ran.rows.to_dict("records"):
            for metric in METRICS:
                for bound in ("", "_optimistic", "_pessimistic"):
                    assert row[f"{metric}_attacked{bound}"] == row[f"{metric}_clean{bound}"], (row["attack"], side)
            assert (row["mAP_attacked_float"], row["mAP_drop"], row["linf_max"]) == (row["mAP_clean"], 0, 0)
            queries = ran.queries(row["cell_id"])
            for metric in ("ap", "ap_trapezoid", "inp", "first_rank"):
                assert queries[f"{metric}_attacked"].tolist() == queries[f"{metric}_clean"].tolist()
            if resolve_attack(row["attack"]).optimiser.uses_gradients:
                assert row["backwards"] >= row["n_attacked"]


@pytest.fixture(scope="module")
def sweep_keys() -> dict[str, Any]:
    """A grid in which nearly everything can be shared, and some of it cannot."""
    return {"attacks": ATTACKS, "epsilons": ["0", "1/255", "3/255", "0.01"], "side": list(SIDES), "seeds": [3, 4]}


@pytest.fixture(scope="module")
def sweep_exclude() -> list[dict[str, Any]]:
    """What keeps it short."""
    return [
        {"attack": "ifgsm-half", "side": "both"},
        {"attack": "single", "side": "both"},
        {"attack": "pgd", "side": "both"},
        {"attack": "ama-ifgsm", "side": "both"},
        {"epsilon": "1/255", "side": "both"},
        {"attack": "pgd", "epsilon": "1/255"},
        {"seed": 4, "side": "both"},
        {"attack": "single", "epsilon": "1/255"},
        {"seed": 4, "attack": "pgd"},
    ]


@pytest.fixture(scope="module")
def sweep_grid(
    people: Callable[..., Path],
    tiny: Path,
    grid_file: Callable[..., Path],
    sweep_keys: dict[str, Any],
    sweep_exclude: list[dict[str, Any]],
) -> Path:
    """Eight people, some fifty cells."""
    return grid_file(tiny, people(8), **sweep_keys, exclude=sweep_exclude)


@pytest.fixture(scope="module")
def sweep(sweep_grid: Path, run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The sweep as it stands after one run."""
    return run(sweep_grid, tmp_path_factory.mktemp("sweep") / "run", batch_size=8)


def _differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [cell_id for cell_id in one.keys() | other.keys() if one.get(cell_id) != other.get(cell_id)]


def test_a_cell_alone_is_the_cell_of_the_sweep(
    sweep: Any, sweep_grid: Path, run: Callable[..., Any], tmp_path: Path
) -> None:
    """Every result column and the queries table, bit for bit, for cells that shared most of their work."""
    whole = sweep.table()
    picks = (
        "ama-ifgsm and 3/255 and gallery",
        "ama-mifgsm and 3/255 and both",
        "pgd and 2.55/255 and query",
        "noise and 1/255 and gallery and seed=4",
        "single and 3/255 and query and seed=3",
    )
    for index, select in enumerate(picks):
        alone = run(sweep_grid, tmp_path / str(index), batch_size=8, select=select)
        assert alone.summary.n_done == 1, select
        ((cell_id, found),) = alone.table().items()
        assert whole[cell_id] == found, select
        row = alone.rows.iloc[0]
        assert row["backwards_spent"] == row["backwards"]


def test_the_order_of_the_grid_decides_nothing(
    sweep: Any,
    sweep_keys: dict[str, Any],
    sweep_exclude: list[dict[str, Any]],
    people: Callable[..., Path],
    tiny: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Attacks, epsilons, sides and seeds backwards: the same table."""
    backwards: dict[str, Sequence[Any]] = {key: values[::-1] for key, values in sweep_keys.items()}
    ran = run(grid_file(tiny, people(8), **backwards, exclude=sweep_exclude), tmp_path / "run", batch_size=8)
    assert ran.rows["cell_id"].tolist() != sweep.rows["cell_id"].tolist()
    assert not _differences(sweep.table(), ran.table())


def test_passes_by_itself_depend_on_the_cell_alone(
    sweep: Any, sweep_grid: Path, run: Callable[..., Any], tmp_path: Path
) -> None:
    """`forwards` and `backwards` are the same in a sweep, and with fewer images a batch."""
    columns = ["cell_id", "forwards", "backwards"]
    ran = run(sweep_grid, tmp_path / "run", batch_size=5, select="3/255 and not pgd and not both")
    theirs = sweep.rows[sweep.rows["cell_id"].isin(ran.rows["cell_id"])]
    assert len(ran.rows) > 5
    assert ran.rows[columns].to_numpy().tolist() == theirs[columns].to_numpy().tolist()


def test_the_plan_knows_what_is_spent(sweep: Any, sweep_grid: Path) -> None:
    """Gradients and forwards of every group as predicted, shared; and what each cell would cost by itself."""
    plan = _plan(sweep_grid)
    rows = sweep.rows.set_index("cell_id")
    n_clean = 32
    for index, group in enumerate(plan.groups()):
        spent = rows.loc[[cell.cell_id for cell in group.cells]]
        clean = n_clean if index == 0 else 0
        gradients = int(spent["backwards_spent"].sum())
        forwards = int(spent["forwards_spent"].sum()) - gradients - clean
        assert plan.cost(group, shared=True) == Cost(gradients=gradients, forwards=forwards), group.title
    walked = rows[(rows["epsilon"] > 0) & (rows["attack"] != "pgd")]
    for cell_id, row in walked.iterrows():
        (cell,) = [cell for cell in plan.cells if cell.cell_id == cell_id]
        (group,) = plan.groups({cell.cell_id})
        alone = Cost(gradients=int(row["backwards"]), forwards=int(row["forwards"] - row["backwards"]))
        assert plan.cost(group, shared=False) == alone, cell.label


def test_every_budget_is_kept(sweep: Any) -> None:
    """No row's largest change passes its epsilon by more than 1e-6, whatever the step."""
    rows = sweep.rows
    assert (rows["linf_max"] <= rows["epsilon"] + 1e-6).all()
    assert (rows["linf_max"][rows["attack"] == "noise"] >= rows["epsilon"][rows["attack"] == "noise"] - 1e-6).all()
    assert (rows["flags"].map(lambda flags: "projected" not in flags)).all()
