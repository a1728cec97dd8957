"""`precision: fast`: gradients in bf16, everything that is scored in float32, and rows that say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from robustreid.attacks.loss import FeatureMemo
from robustreid.benchmark.runner import loading

KEYS: dict[str, Any] = {"attacks": ["ama-fgsm", "ama-ifgsm", {"name": "pgd", "steps": 3, "restarts": 2}]}


@pytest.fixture
def bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that has bf16: where it does not, PyTorch computes the same more slowly."""
    monkeypatch.setattr(loading, "fast_arithmetic", lambda device, wanted: "bf16")


@pytest.fixture
def pair(
    people: Callable[..., Path], grid_file: Callable[..., Path], fast: Path, run: Callable[..., Any], tmp_path: Path
) -> Callable[..., tuple[Any, Any]]:
    """A function that runs the same grid in exact and in fast."""

    def go(**keys: Any) -> tuple[Any, Any]:
        found = []
        for precision in ("exact", "fast"):
            grid = grid_file(fast, people(5), **{"epsilons": [0, "5/255"], "precision": precision, **keys})
            found.append(run(grid, tmp_path / precision))
        return found[0], found[1]

    return go


def _passes(ran: Any) -> tuple[int, int]:
    frame = ran.rows
    return int(frame["backwards_spent"].sum()), int((frame["forwards_spent"] - frame["backwards_spent"]).sum())


@pytest.mark.usefixtures("bf16")
def test_what_is_scored_is_float32(pair: Callable[..., Any]) -> None:
    """The clean scores, epsilon 0 and noise are those of exact bit for bit; attacks differ little and are not weak."""
    exact, fast = pair(attacks=["noise", *KEYS["attacks"]])
    for column in ("mAP_clean", "rank1_clean", "mINP_clean", "chance_mAP"):
        assert exact.rows[column].tolist() == fast.rows[column].tolist()
    for ran in (exact, fast):
        still = ran.rows[ran.rows["epsilon"] == 0]
        assert (still["mAP_attacked"] == still["mAP_clean"]).all()
    rows = [ran.rows[ran.rows["epsilon"] > 0].set_index("attack") for ran in (exact, fast)]
    assert rows[0].loc["noise", "mAP_attacked"] == rows[1].loc["noise", "mAP_attacked"]
    for attack in ("ama-fgsm", "ama-ifgsm", "pgd"):
        one, other = (frame.loc[attack] for frame in rows)
        assert other["mAP_drop"] > 0.2
        assert one["mAP_attacked"] == pytest.approx(other["mAP_attacked"], abs=0.05)
        assert other["linf_max"] <= 5 / 255 + 1e-6
    assert not np.array_equal(rows[0]["mAP_attacked_float"], rows[1]["mAP_attacked_float"])


@pytest.mark.usefixtures("bf16")
def test_rows_say_what_they_were_made_with(pair: Callable[..., Any]) -> None:
    """A column, a flag, and cells of their own."""
    exact, fast = pair(**KEYS)
    assert set(exact.rows["precision"]) == {"exact"}
    assert set(fast.rows["precision"]) == {"fast"}
    assert all("gradients-bf16" in flags for flags in fast.rows["flags"])
    assert not any(flag.startswith("gradients-") for flags in exact.rows["flags"] for flag in flags)
    assert not set(exact.rows["cell_id"]) & set(fast.rows["cell_id"])


@pytest.mark.slow
@pytest.mark.usefixtures("bf16")
def test_passes_are_those_of_the_plan(pair: Callable[..., Any], grid_file: Callable[..., Path], fast: Path) -> None:
    """As many gradients as in exact, and a forward for every image that is scored."""
    from robustreid.benchmark.config.grid import load_grid
    from robustreid.benchmark.datasets.opening import open_sets
    from robustreid.benchmark.planner import make_plan
    from robustreid.benchmark.progress import Silent

    exact, ran = pair(**KEYS)
    grid = load_grid(ran.path / "grid.yml")
    plan = make_plan(grid, open_sets(grid.datasets, workers=1, reporter=Silent())[0])
    (group,) = plan.groups()
    cost = plan.cost(group, shared=True)
    assert cost is not None
    assert _passes(ran) == (cost.gradients, cost.forwards + plan.clean_cost(group).forwards)
    assert _passes(ran)[0] == _passes(exact)[0]
    assert _passes(ran)[1] > _passes(exact)[1]


@pytest.mark.usefixtures("bf16")
def test_scoring_by_the_twin_is_caught(pair: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: features of bf16 are scored; epsilon 0 is then not the clean score."""
    real = FeatureMemo.features

    def rough(self: FeatureMemo, images: torch.Tensor) -> torch.Tensor:
        return real(self, images).bfloat16().float() + 1e-3

    monkeypatch.setattr(FeatureMemo, "features", rough)
    _, fast = pair(**KEYS, epsilons=[0], perturb_at="input")
    assert (fast.rows["status"] == "failed").all() or (fast.rows["mAP_attacked"] != fast.rows["mAP_clean"]).any()


def test_without_bf16_it_follows_float32(pair: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of exact, and no flag."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    exact, fast = pair(**KEYS)
    columns = ["mAP_attacked", "rank1_attacked", "mAP_attacked_float", "linf_max", "l2_mean"]
    assert exact.rows[columns].to_numpy().tolist() == fast.rows[columns].to_numpy().tolist()
    assert not any(flag.startswith("gradients-") for flags in fast.rows["flags"] for flag in flags)


def test_an_interrupted_fast_run_goes_on(
    people: Callable[..., Path],
    grid_file: Callable[..., Path],
    fast: Path,
    run: Callable[..., Any],
    interrupted: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """What a stopped run kept and what comes after is the table of a run in one piece."""
    grid = grid_file(fast, people(6), **KEYS, epsilons=["4/255"], precision="fast")
    whole = run(grid, tmp_path / "whole", batch_size=4)
    run(grid, interrupted(grid, tmp_path / "parts", 2, batch_size=4), batch_size=4)
    assert whole.table() == run(grid, tmp_path / "parts", batch_size=4).table()
