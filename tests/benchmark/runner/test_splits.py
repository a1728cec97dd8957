"""Sets with splits: a model for each, one row of all; interrupted, failing, and refused where a model may have seen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from robustreid import UserError
from robustreid.benchmark.cli import main
from robustreid.benchmark.config.grid import load_grid
from robustreid.benchmark.datasets.catalogue import open_dataset
from robustreid.benchmark.datasets.opening import open_sets
from robustreid.benchmark.perturbations import perturbation_bytes
from robustreid.benchmark.planner import Plan, make_plan
from robustreid.benchmark.progress import Silent
from robustreid.benchmark.runner import groups, scenes
from safetensors.numpy import load_file, save_file

PEOPLE = 6
OPTIONS: dict[str, int | str | bool] = {"protocol": "regdb-v2t", "identities": PEOPLE, "shots": 2}
SET = {"name": "d", "format": "synthetic", **OPTIONS}


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten small random networks, one for each split, as `w_{trial}.safetensors`."""
    from robustreid.models.architectures.two_stream import agw_tiny

    folder = tmp_path_factory.mktemp("ten")
    with torch.random.fork_rng(devices=[]):
        for trial in range(1, 11):
            torch.manual_seed(trial)
            weights = {name: value.numpy() for name, value in agw_tiny().state_dict().items()}
            save_file(weights, folder / f"w_{trial}.safetensors")
    return folder / "w_{trial}.safetensors"


def model(weights: Path | str, **keys: Any) -> dict[str, Any]:
    """A model of a grid."""
    return {"name": "m", "architecture": "agw_tiny", "weights": str(weights), **keys}


@pytest.fixture(scope="module")
def grid(ten: Path, grid_file: Callable[..., Path]) -> Path:
    """Two attacks at two radii on the queries of all splits."""
    return grid_file([model(ten)], [SET], attacks=["ama-fgsm", "ama-ifgsm"], epsilons=["1/255", "4/255"], side="query")


@pytest.fixture(scope="module")
def ran(grid: Path, run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """That grid, run in one go."""
    return run(grid, tmp_path_factory.mktemp("splits") / "run")


@pytest.fixture(scope="module")
def alone(ten: Path, grid_file: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """For each split a grid of its model on a table of its images alone."""
    data = open_dataset("d", "synthetic", None, OPTIONS)
    folder = tmp_path_factory.mktemp("alone")
    found = []
    for number in range(10):
        part = data.of_trial(number)
        root = folder / str(number)
        lines = ["path,identity,camera,split,modality"]
        for side in ("query", "gallery"):
            images = part.side(side)
            for path, identity, camera, modality in zip(
                images.paths, images.identities, images.cameras, images.modalities, strict=True
            ):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(data.root / path, root / path)
                lines.append(f"{path},{identity},{camera},{side},{('visible', 'infrared')[modality]}")
        (root / "table.csv").write_text("\n".join(lines))
        found.append(
            grid_file(
                [model(str(ten).replace("{trial}", str(number + 1)))],
                [{"name": "d", "format": "table", "root": str(root)}],
                attacks=["ama-fgsm", "ama-ifgsm"],
                epsilons=["4/255"],
                side="query",
            )
        )
    return found


def _check(ran: Any, alone: list[Any]) -> None:
    """The rows of all splits are the means of the rows of each, and their queries are all queries of each."""
    rows = ran.rows[ran.rows.epsilon_label == "4/255"]
    for attack, row in rows.set_index("attack").iterrows():
        parts = [each.row(attack=attack) for each in alone]
        for column in ("mAP_clean", "mAP_attacked", "rank1_attacked", "mINP_attacked", "chance_mAP"):
            assert row[column] == pytest.approx(np.mean([part[column] for part in parts]), abs=1e-12)
        assert row.mAP_attacked_std == pytest.approx(np.std([part["mAP_attacked"] for part in parts]), abs=1e-12)
        assert row.n_attacked == sum(part["n_attacked"] for part in parts)
        assert row.forwards == sum(part["forwards"] for part in parts)
        assert row.linf_max == max(part["linf_max"] for part in parts)
        table = ran.queries(row.cell_id)
        for number, (each, part) in enumerate(zip(alone, parts, strict=True)):
            own = each.queries(part["cell_id"])
            mine = table[table.trial == number]
            assert mine.query_id.tolist() == own.query_id.tolist()
            assert mine.ap_attacked.tolist() == own.ap_attacked.tolist()


@pytest.fixture(scope="module")
def ran_alone(alone: list[Path], run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Each of those grids, run."""
    folder = tmp_path_factory.mktemp("ran-alone")
    return [run(grid, folder / str(number)) for number, grid in enumerate(alone)]


@pytest.mark.slow
def test_a_row_is_the_mean_of_its_splits(ran: Any, ran_alone: list[Any]) -> None:
    """Bit for bit what each model gives on its own images, as a data set by itself."""
    assert (ran.rows.trials == 10).all()
    assert (ran.rows.protocol == "regdb-v2t-v1").all()
    _check(ran, ran_alone)


@pytest.mark.slow
def test_one_split_ten_times_is_rejected(
    grid: Path, ran_alone: list[Any], run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wrong twin: the first split's model and images stand for all."""
    scene, cell = scenes.Scene.split, scenes.cell_of_split
    monkeypatch.setattr(scenes.Scene, "split", lambda self, number: scene(self, number * 0))
    monkeypatch.setattr(groups, "cell_of_split", lambda own, where, number: cell(own, where, number * 0))
    with pytest.raises(AssertionError):
        _check(run(grid, tmp_path / "run"), ran_alone)


@pytest.mark.slow
def test_interrupted_splits_go_on(
    grid: Path, ran: Any, interrupted: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    """No row stands before the last split, what was attacked is not attacked again, and the table is the same."""
    path = interrupted(grid, tmp_path / "run", 5)
    assert not list((path / "cells").glob("*.parquet"))
    kept = [len(list(folder.iterdir())) for folder in (path / "work").iterdir()]
    assert len(kept) >= 4
    again = run(grid, path)
    assert again.table() == ran.table()
    assert not (path / "work").exists()


def test_a_split_that_fails_fails_the_cell(
    ten: Path, grid_file: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    """With its number; other splits cannot stand for it."""
    for file in ten.parent.iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    weights = load_file(tmp_path / "w_3.safetensors")
    weights["bottleneck.running_var"] = -weights["bottleneck.running_var"]
    save_file(weights, tmp_path / "w_3.safetensors")
    grid = grid_file([model(tmp_path / "w_{trial}.safetensors")], [SET], attacks=["ama-fgsm"], side="query")
    found = run(grid, tmp_path / "run")
    assert found.summary.n_failed == 1
    row = found.rows.iloc[0]
    assert row.status == "failed"
    assert "not finite" in row.reason
    assert row.reason.startswith("split 3: ")


def _planned(grid: Path) -> Plan:
    loaded = load_grid(grid)
    sets, absent = open_sets(loaded.datasets, workers=1, reporter=Silent(), allow_absent=True)
    return make_plan(loaded, sets, absent)


def test_it_is_planned_split_by_split(grid: Path, ran: Any) -> None:
    """Six queries of each of ten splits, whose longest path has five gradients; and that is what is spent."""
    plan = _planned(grid)
    (group,) = plan.groups()
    cost, clean = plan.cost(group, shared=True), plan.clean_cost(group)
    assert cost is not None
    assert cost.gradients == 10 * 6 * 5
    assert clean.forwards == 10 * 12
    assert ran.rows.backwards_spent.sum() <= cost.gradients
    assert ran.rows.forwards_spent.sum() <= cost.gradients + cost.forwards + clean.forwards


def _refused(grid: Path) -> str:
    with pytest.raises(UserError) as error:
        _planned(grid)
    return str(error.value)


def test_refusals(ten: Path, grid_file: Callable[..., Path], tmp_path: Path) -> None:
    """Each in one sentence that says what to do."""
    market = {"name": "d", "format": "synthetic", "identities": 4}
    assert "no splits" in _refused(grid_file([model(ten)], [market], side="query"))

    shutil.copyfile(str(ten).replace("{trial}", "1"), tmp_path / "v_1.safetensors")
    missing = _refused(grid_file([model(tmp_path / "v_{trial}.safetensors")], [SET], side="query"))
    assert "9 of them are not there" in missing
    for trial in range(2, 11):
        shutil.copyfile(tmp_path / "v_1.safetensors", tmp_path / f"v_{trial}.safetensors")
    same = _refused(grid_file([model(tmp_path / "v_{trial}.safetensors")], [SET], side="query"))
    assert "hold the same weights" in same


def test_one_model_for_all_splits_needs_a_card(ten: Path, grid_file: Callable[..., Path], tmp_path: Path) -> None:
    """One that says what it was trained on, and not the set; drawn people whom nobody learnt from need none."""
    weights = tmp_path / "w.safetensors"
    shutil.copyfile(str(ten).replace("{trial}", "1"), weights)
    regdb = {"name": "regdb", "root": str(tmp_path / "nowhere")}
    grid = grid_file([model(weights)], [regdb], side="query")
    assert "no card says" in _refused(grid)
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"trained_on": ["regdb"]}))
    assert "trained on regdb" in _refused(grid)
    card.write_text(json.dumps({"trained_on": ["sysu"]}))
    assert main(["plan", str(grid)]) == 0
    card.unlink()
    assert main(["plan", str(grid_file([model(weights)], [SET], side="query"))]) == 0


def test_a_model_of_another_split_is_refused(ten: Path, grid_file: Callable[..., Path], tmp_path: Path) -> None:
    """Where a card says which split it was trained on."""
    for file in ten.parent.iterdir():
        shutil.copyfile(file, tmp_path / file.name)
        trial = int(file.stem.removeprefix("w_"))
        card = {"trained_on": ["regdb"], "trial": 10 if trial == 4 else trial}
        (tmp_path / f"{file.stem}.json").write_text(json.dumps(card))
    regdb = {"name": "regdb", "root": str(tmp_path / "nowhere")}
    said = _refused(grid_file([model(tmp_path / "w_{trial}.safetensors")], [regdb], side="query"))
    assert "trained on split 10" in said


def test_whose_perturbation_a_split_has(ten: Path, grid_file: Callable[..., Path], tmp_path: Path) -> None:
    """White-box where each split's was fitted on that split's model, transfer where one of them was on another."""
    shas = {
        trial: sha256(Path(str(ten).replace("{trial}", str(trial))).read_bytes()).hexdigest() for trial in range(1, 11)
    }
    delta = torch.full((3, 8, 4), 1 / 255)

    def knowledge(owner: Callable[[int], int]) -> tuple[str, str | None]:
        for trial in range(1, 11):
            facts = {"procedure": "cmps", "epsilon": "8/255", "model": "agw", "data_sha256": shas[trial]}
            content = perturbation_bytes(delta / trial, {**facts, "model_sha256": shas[owner(trial)]})
            (tmp_path / f"p_{trial}.safetensors").write_bytes(content)
        cmps = {"name": "cmps", "perturbation": str(tmp_path / "p_{trial}.safetensors")}
        (cell,) = _planned(grid_file([model(ten)], [SET], attacks=[cmps], side="query")).cells
        return cell.knowledge, cell.surrogate_label

    assert knowledge(lambda trial: trial) == ("white-box", None)
    assert knowledge(lambda trial: 5 if trial == 6 else trial) == ("transfer", "agw")
