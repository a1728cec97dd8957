"""Transfer: one model's gradients mislead another, a whole matrix is one grid, and nothing is attacked twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from robustreid import UserError
from robustreid.benchmark.config.grid import load_grid
from robustreid.benchmark.costs import Cost
from robustreid.benchmark.datasets.opening import open_sets
from robustreid.benchmark.planner import make_plan
from robustreid.benchmark.progress import Silent
from robustreid.benchmark.records import Cell
from robustreid.benchmark.tables import results_table

ATTACKS = ["ama-ifgsm", {"name": "di-ti-mi", "steps": 3}, {"name": "fna", "steps": 3}, "noise"]
BOTH_KINDS = {"knowledge": ["white-box", "transfer"]}


@pytest.fixture(scope="module")
def models(tiny: Path, other_tiny: Path, fast: Path) -> list[dict[str, Any]]:
    """Two random programs and a real one."""
    return [{"name": name, "weights": str(path)} for name, path in (("a", tiny), ("b", other_tiny), ("real", fast))]


@pytest.fixture(scope="module")
def six(people: Callable[..., Path], grid_file: Callable[..., Path]) -> Callable[..., Path]:
    """A function that writes a grid of some models on the queries of six people, any key changed."""
    return lambda models, **keys: grid_file(models, people(6), **{"side": "query", **keys})


@pytest.fixture(scope="module")
def run_six(
    six: Callable[..., Path], run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """A function that runs such a grid, every attacked image kept."""

    def go(models: list[dict[str, Any]], *, trust_code: bool = False, **keys: Any) -> Any:
        out = tmp_path_factory.mktemp("six") / "run"
        return run(six(models, **keys), out, keep_images=100, trust_code=trust_code)

    return go


@pytest.fixture(scope="module")
def matrix(models: list[dict[str, Any]], run_six: Callable[..., Any]) -> Any:
    """The whole matrix of three models."""
    return run_six(models, attacks=ATTACKS, epsilons=["3/255"], **BOTH_KINDS)


def images(ran: Any, cell_id: str) -> Any:
    """The attacked images of a cell by their file names."""
    folder = ran.path / "images" / cell_id
    listed = json.loads((folder / "manifest.json").read_text())["images"]
    return {image["file"]: np.asarray(Image.open(folder / image["file"])) for image in listed}


def assert_images_are_the_surrogates(ran: Any) -> None:
    """The check: each transfer cell scores the very images that the surrogate's own white-box cell made."""
    for row in ran.rows[ran.rows["knowledge"] == "transfer"].to_dict("records"):
        own = ran.row(model=row["surrogate"], attack=row["attack"], knowledge="white-box")
        found, wanted = images(ran, row["cell_id"]), images(ran, own["cell_id"])
        assert found.keys() == wanted.keys()
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_every_pair_is_a_row(matrix: Any) -> None:
    """Each model under each other's attacks, and under its own; noise follows nobody's gradients."""
    rows = matrix.rows
    assert rows["status"].eq("done").all()
    pairs = {(row["model"], row["surrogate"]) for row in rows.to_dict("records") if row["knowledge"] == "transfer"}
    assert pairs == {(a, b) for a in ("a", "b", "real") for b in ("a", "b", "real") if a != b}
    assert len(rows) == 3 * 4 + 6 * 3
    assert not ((rows["attack"] == "noise") & (rows["knowledge"] == "transfer")).any()
    assert rows.loc[rows["knowledge"] == "white-box", "surrogate"].isna().all()


def test_the_printed_table_names_the_surrogate(matrix: Any) -> None:
    """Beside the attack, and on transfer rows alone."""
    lines = results_table(matrix.rows).splitlines()
    assert sum(" from " in line for line in lines) == 6 * 3
    assert any("ama-ifgsm from real" in line for line in lines)
    assert "nan" not in "\n".join(lines)


def test_images_are_those_of_the_surrogate(matrix: Any) -> None:
    """Bit for bit, for every pair and attack."""
    assert_images_are_the_surrogates(matrix)


def test_own_gradients_do_not_pass_for_transfer(
    models: list[dict[str, Any]], run_six: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: the model that is scored is followed as well."""
    monkeypatch.setattr(Cell, "walker", property(lambda cell: cell.model))
    ran = run_six(models[:2], epsilons=["3/255"], **BOTH_KINDS)
    with pytest.raises(AssertionError):
        assert_images_are_the_surrogates(ran)


def test_the_clean_score_is_the_victims(matrix: Any) -> None:
    """And its own attack is no weaker than anybody else's, on the real model."""
    rows = matrix.rows
    for _, same in rows.groupby("model"):
        assert same["mAP_clean"].nunique() == 1
    real = rows[(rows["model"] == "real") & (rows["attack"] == "ama-ifgsm")]
    own = real[real["knowledge"] == "white-box"]["mAP_attacked"].item()
    assert (real[real["knowledge"] == "transfer"]["mAP_attacked"] >= own).all()


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_each_attack_is_walked_once(
    precision: str, models: list[dict[str, Any]], six: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    """A matrix spends the gradients of its white-box cells, and one forward a victim; as many as were planned."""
    keys = {"attacks": ATTACKS[:3], "epsilons": ["1/255", "2/255"], "precision": precision}
    grids = [six(models, **keys, knowledge=kinds) for kinds in (["white-box"], ["white-box", "transfer"])]
    own, whole = (run(grid, tmp_path / str(place)).rows for place, grid in enumerate(grids))
    assert own["backwards_spent"].sum() == whole["backwards_spent"].sum()
    transfer = whole[whole["knowledge"] == "transfer"]
    assert (transfer["backwards"] > 0).all()
    loaded = load_grid(grids[1])
    sets, absent = open_sets(loaded.datasets, workers=1, reporter=Silent())
    plan = make_plan(loaded, sets, absent)
    planned, known = Cost(), set[Any]()
    for group in plan.groups():
        planned += plan.cost(group, shared=True) or Cost()
        planned += plan.clean_cost(group, known)
        known |= {(model.label, "d", "native") for cell in group.cells for model in (cell.model, cell.walker)}
    spent = whole["backwards_spent"].sum(), (whole["forwards_spent"] - whole["backwards_spent"]).sum()
    assert spent == (planned.gradients, planned.forwards)


def test_alone_as_in_the_matrix(
    matrix: Any, models: list[dict[str, Any]], six: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    """One pair by itself gives the rows that the matrix has, bit for bit."""
    keys = {"attacks": ATTACKS[:3], "epsilons": ["3/255"], "knowledge": "transfer"}
    ran = run(six(models, **keys, surrogates=["b"]), tmp_path / "run")
    found, whole = ran.table(), matrix.table()
    assert len(found) == 2 * 3
    assert all(whole[cell_id] == row for cell_id, row in found.items())


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"surrogates": ["c"], **BOTH_KINDS}, "Unknown surrogate 'c'"),
        ({"surrogates": ["b"]}, "followed under `knowledge: transfer` only"),
        ({"side": "both", **BOTH_KINDS}, "defined for one side"),
        ({"perturb_at": "input", **BOTH_KINDS}, "use perturb_at: native"),
        ({"knowledge": ["transfer"], "surrogates": ["a"], "exclude": [{"surrogate": "a"}]}, "leave no cell"),
        ({"knowledge": ["hearsay"]}, "knowledge"),
    ],
)
def test_what_has_no_meaning_is_refused(
    keys: dict[str, Any], message: str, models: list[dict[str, Any]], six: Callable[..., Path]
) -> None:
    """With the mend; nothing runs."""

    def plan() -> None:
        grid = load_grid(six(models, **keys))
        sets, absent = open_sets(grid.datasets, workers=1, reporter=Silent())
        make_plan(grid, sets, absent)

    with pytest.raises(UserError, match=message):
        plan()


def test_a_surrogate_that_does_not_build_fails_its_cells(
    models: list[dict[str, Any]], run_six: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both as a model and as a surrogate; the others' own cells stand."""
    module = tmp_path / "broken_surrogate.py"
    module.write_text("def build(spec):\n    raise RuntimeError('no')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    broken = {"name": "broken", "plugin": "broken_surrogate:build"}
    rows = run_six([models[0], broken], trust_code=True, **BOTH_KINDS).rows
    named = rows.assign(surrogate=rows["surrogate"].astype(object).where(rows["surrogate"].notna(), ""))
    found = {(row["model"], row["surrogate"]): row["status"] for row in named.to_dict("records")}
    assert found == {("a", ""): "done", ("a", "broken"): "failed", ("broken", ""): "failed", ("broken", "a"): "failed"}
