"""`run`, `plan` and `status` from a grid to rows: what is printed where, and what stands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Call = Callable[..., subprocess.CompletedProcess[str]]

WIDE = {"attacks": "attacks: [ama-fgsm, ama-ifgsm, noise, {name: pgd, steps: 2, restarts: 2}]"}


def records(call: Call, *arguments: str) -> list[dict[str, Any]]:
    """What a command prints as JSON, and nothing but that."""
    done = call(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert all(isinstance(record, dict) for record in found)
    return found


def test_a_run_from_plan_to_rows(call: Call, write_grid: Callable[..., Path], bench: Path) -> None:
    """What was planned is run, stands, is told by `status`, and is not run again."""
    write_grid(**WIDE)
    planned = records(call, "plan", "grid.yml")
    assert [record["status"] for record in planned] == ["to run"] * 4
    assert not (bench / "runs").exists()
    done = call("run", "grid.yml")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split()[:4] for line in lines[2:]] == [
        ["lin", "mini", "gallery", name] for name in ("ama-fgsm", "ama-ifgsm", "noise", "pgd")
    ]
    assert done.stderr.splitlines()[-1] == "runs/tiny: 4 done, 0 failed, 0 skipped now; 4 of 4 cells stand."
    assert "decoding mini: " in done.stderr
    rows = {path.name: path.read_bytes() for path in (bench / "runs/tiny/cells").iterdir()}
    assert sorted(rows) == sorted(f"{record['cell_id']}.parquet" for record in planned)
    assert {record["status"] for record in records(call, "plan", "grid.yml")} == {"done"}
    assert records(call, "status", "runs/tiny") == [
        {"name": record["name"], "cell_id": record["cell_id"], "status": "done", "reason": ""} for record in planned
    ]
    assert call("status", "runs/tiny").stdout == "4 cells: 4 done.\n"
    again = call("run", "grid.yml")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert "4 stand already, 0 to run" in again.stderr
    assert {path.name: path.read_bytes() for path in (bench / "runs/tiny/cells").iterdir()} == rows


@pytest.mark.parametrize("epsilons", ["[1/255, 2.5/255]", "[0, 1/255]"])
@pytest.mark.parametrize("side", ["[gallery, query]", "both"])
def test_the_plan_is_what_is_spent(call: Call, write_grid: Callable[..., Path], side: str, epsilons: str) -> None:
    """Image passes of the rows are those that the plan announced, after sharing and one by one.

    One by one a row counts every pass that its attack asks for, at epsilon 0 also the repeated ones.
    """
    attacks = "attacks: [ama-fgsm, ama-ifgsm, ama-mifgsm, noise, {name: pgd, steps: 2}]"
    write_grid("seeds: [0, 1]", side=f"side: {side}", epsilons=f"epsilons: {epsilons}", attacks=attacks)
    said = call("plan", "grid.yml").stdout.splitlines()[-1].replace(",", "").split()
    n_cells, *planned = [int(word) for word in said if word.isdigit()]
    rows = pd.DataFrame(records(call, "run", "grid.yml"))
    backwards, forwards, backwards_spent, forwards_spent = (
        int(rows[name].sum()) for name in ("backwards", "forwards", "backwards_spent", "forwards_spent")
    )
    assert len(rows) == n_cells
    assert [backwards_spent, forwards_spent - backwards_spent] == planned[2:]
    alone = [backwards, forwards - backwards]
    assert alone == planned[:2] if "0," not in epsilons else alone >= planned[:2]


@pytest.mark.parametrize(
    ("side", "attacks", "goal"),
    [
        ("query", "[fna, sma, odfa, {name: lta, steps: 3}, {name: apgd, steps: 3, restarts: 2}, ltm]", "untargeted"),
        ("query", "[gtt, {name: qa-minus, pool: 0.5}, {name: tma, steps: 3}, {name: di-ti-mi, eot: 2}]", "untargeted"),
        ("gallery", "[fna-public, {name: ca-minus, pool: 0.5}, {name: soft-ap, steps: 3}, ama-ifgsm]", "untargeted"),
        ("gallery", "[ca-plus, {name: tma, steps: 3}, ama-mifgsm]", "targeted"),
    ],
)
def test_the_plan_of_other_attacks_is_what_is_spent(
    call: Call, write_grid: Callable[..., Path], side: str, attacks: str, goal: str
) -> None:
    """One by one the same for objectives that look around or draw, and for gradients seen through a lens."""
    write_grid(
        f"seeds: [0, 1]\ngoal: {goal}",
        side=f"side: {side}",
        epsilons="epsilons: [1/255, 2.5/255]",
        attacks=f"attacks: {attacks}",
    )
    said = call("plan", "grid.yml").stdout.splitlines()[-1].replace(",", "").split()
    n_cells, *planned = [int(word) for word in said if word.isdigit()]
    rows = pd.DataFrame(records(call, "run", "grid.yml"))
    assert len(rows) == n_cells
    assert rows["status"].eq("done").all()
    sums = {name: int(rows[name].sum()) for name in ("backwards_spent", "forwards_spent", "backwards", "forwards")}
    found = [sums["backwards"], sums["forwards"] - sums["backwards"]]
    assert found == planned[:2]
    # A walk that comes to rest in a corner of its ball sees images again, so that less may be spent than was planned.
    assert 0 < sums["backwards_spent"] <= planned[2]
    assert 0 < sums["forwards_spent"] - sums["backwards_spent"] <= planned[3]


def test_chosen_cells(call: Call, write_grid: Callable[..., Path]) -> None:
    """`-k` and `--limit` leave the rest of the grid to run, in grid order."""
    write_grid(**WIDE)
    assert [record["attack"] for record in records(call, "plan", "grid.yml", "-k", "not ama")] == ["noise", "pgd"]
    for command in ("plan", "run"):
        refused = call(command, "grid.yml", "-k", "zzz")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "-k 'zzz' matches no cell of the grid" in refused.stderr
    assert [row["attack"] for row in records(call, "run", "grid.yml", "--limit", "1")] == ["ama-fgsm"]
    assert [row["attack"] for row in records(call, "run", "grid.yml", "-k", "PGD or noise", "--limit", "1")] == [
        "ama-fgsm",
        "noise",
    ]
    assert call("status", "runs/tiny").stdout == "4 cells: 2 done, 2 to run.\n"
    assert call("plan", "grid.yml").stdout.splitlines()[2].split()[-6:-4] == ["4", "2"]
    assert len(records(call, "run", "grid.yml", "--limit", "0")) == 2


def test_batch_size_and_workers_make_no_new_cells(call: Call, write_grid: Callable[..., Path]) -> None:
    """How a run is done is no part of a cell's id."""
    write_grid()
    (first,) = records(call, "run", "grid.yml", "--batch-size", "4", "--workers", "1", "--device", "cpu")
    assert first["batch_size"] == 4
    (second,) = records(call, "run", "grid.yml", "--batch-size", "5")
    assert second == first
    (third,) = records(call, "run", "grid.yml", "--batch-size", "5", "--again", "always")
    assert (third["cell_id"], third["batch_size"]) == (first["cell_id"], 5)


def test_absent_sets_are_listed(call: Call, write_grid: Callable[..., Path], bench: Path) -> None:
    """`plan` exits 0 and says where it looked; a cell of a set that is not there has no id yet."""
    entries = ["{name: mini, format: folder, root: mini}", '{name: away, format: folder, root: "no\\nwhere"}']
    write_grid(datasets="datasets:\n" + "\n".join(f"  - {entry}" for entry in entries))
    done = call("plan", "grid.yml")
    assert done.returncode == 0
    assert f"away: not found: {bench}/no\\nwhere" in done.stdout.splitlines()
    assert [record["cell_id"] is None for record in records(call, "plan", "grid.yml")] == [False, True]
    assert call("run", "grid.yml").returncode == 2


def test_a_shipped_grid_is_planned_by_name(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is not set is named."""
    monkeypatch.delenv("ROBUSTREID_TEST_DATA", raising=False)
    done = call("plan", "ama-real")
    assert done.returncode == 2
    assert "the variable ROBUSTREID_TEST_DATA is not set" in done.stderr


def test_failed_cells_are_told(call: Call, write_grid: Callable[..., Path], bench: Path) -> None:
    """A model that does not run on the size it is fed: exit code 3, rows with a reason, and the others' rows."""
    models = "models:\n  - {name: lin, weights: m.onnx}\n  - {name: wrong, weights: m.onnx, input_size: [9, 4]}"
    write_grid(models=models)
    done = call("run", "grid.yml")
    assert done.returncode == 3
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["lin", "wrong"]
    assert "failed" in done.stdout.splitlines()[3]
    assert done.stderr.splitlines()[-1] == "runs/tiny: 1 done, 1 failed, 0 skipped now; 2 of 2 cells stand."
    status = call("status", "runs/tiny").stdout.splitlines()
    assert status[0] == "2 cells: 1 done, 1 failed."
    assert status[1].startswith("failed: wrong mini ama-ifgsm linf 2/255 gallery: ")
    assert [record["status"] for record in records(call, "status", "runs/tiny")] == ["done", "failed"]
    again = call("run", "grid.yml")
    assert again.returncode == 3, "failed cells still stand in the grid"
    assert again.stderr.splitlines()[-1] == "runs/tiny: 0 done, 0 failed, 0 skipped now; 2 of 2 cells stand."
    assert call("run", "grid.yml", "--again", "failed").returncode == 3


def test_cells_without_anything_to_attack_are_skipped(call: Call, write_grid: Callable[..., Path], bench: Path) -> None:
    """Cross-camera references that nobody has leave a row that says so, and exit code 0."""
    for path in list((bench / "mini/bounding_box_test").iterdir()):
        path.rename(path.with_name(path.name.replace("_c2s1_000001", "_c1s1_000002").replace("_c3s1", "_c1s1")))
    write_grid(attacks="attacks: [{name: pgd, references: other-side-cross-camera}]")
    done = call("run", "grid.yml")
    assert done.returncode == 0
    assert "skipped" in done.stdout.splitlines()[2].split()
    (record,) = records(call, "status", "runs/tiny")
    reason = "nothing to attack: no gallery image has a reference under other-side-cross-camera"
    assert (record["status"], record["reason"]) == ("skipped", reason)


def test_a_model_of_the_real_zoo(
    call: Call, write_grid: Callable[..., Path], real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grid that names a zoo model runs on real weights, whatever the size of its images."""
    monkeypatch.setenv("ROBUSTREID_WEIGHTS", str(real_data / "weights"))
    write_grid(models="models: [person-reidentification-retail-0031]", attacks="attacks: [ama-fgsm]")
    (row,) = records(call, "run", "grid.yml", "--batch-size", "6")
    assert (row["status"], row["model"], row["n_attacked"]) == ("done", "person-reidentification-retail-0031", 6)
    assert 0 < row["linf_max"] <= 2 / 255 + 1e-6
