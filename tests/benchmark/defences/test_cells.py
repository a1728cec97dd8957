"""Cells of defended models: reproducible, exact at epsilon 0, scored through the true defence."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import robustreid
import torch
from PIL import Image
from robustreid.benchmark.config.grid import load_grid
from robustreid.benchmark.datasets.opening import open_sets
from robustreid.benchmark.planner import make_plan
from robustreid.benchmark.progress import Silent
from robustreid.models.defences import defend
from robustreid.models.load import build, resolve
from robustreid.models.zoo import find
from torch import Tensor, nn

CHEAP: tuple[Any, ...] = (
    "jpeg",
    "bit-depth",
    "blur",
    "median",
    "resize-pad",
    {"name": "smoothing", "copies": 2},
    ["blur", "resize-pad", {"name": "smoothing", "copies": 2}, "jpeg"],
)
EOT = {"eot": 2}


@pytest.fixture(scope="session")
def tiny() -> Any:
    """The small network that ships, from pixels to features."""
    known, weights = find("tiny")
    return build(resolve(label="tiny", architecture=known.architecture, weights=weights, normalise=known.normalise))


class BehindPillow(nn.Module):
    """A JPEG in plain words, then a model; it is encoded `times`, and has no gradient."""

    def __init__(self, embedder: nn.Module, times: int = 1) -> None:
        super().__init__()
        self.embedder = embedder
        self.times = times

    def forward(self, images: Tensor) -> Tensor:
        decoded = []
        for image in images.detach():
            levels = (image * 255).round().byte().permute(1, 2, 0).numpy()
            for _ in range(self.times):
                buffer = io.BytesIO()
                Image.fromarray(levels).save(buffer, "JPEG", quality=30, subsampling=2)
                levels = np.array(Image.open(buffer))
            decoded.append(torch.from_numpy(levels).permute(2, 0, 1).float() / 255)
        found: Tensor = self.embedder(torch.stack(decoded))
        return found

    def extra_repr(self) -> str:
        return str(self.times)


@pytest.mark.parametrize("defence", CHEAP, ids=str)
def test_epsilon_0_is_the_clean_score(attacked: Callable[..., Any], defence: Any) -> None:
    """Bit for bit, whatever is drawn, and whatever gradients pass straight; every step is taken."""
    found = attacked(defence, epsilon=0, adaptive=EOT)
    for metric in ("mAP", "mAP_trapezoid", "mINP", "rank1", "rank5"):
        assert found.row[f"{metric}_attacked"] == found.row[f"{metric}_clean"]
    assert (found.mAP_attacked_float, found.linf_max) == (found.mAP_clean, 0)
    assert found.backwards > 0


def test_scores_are_those_of_the_true_defence(attacked: Callable[..., Any], tiny: Any) -> None:
    """Of a real JPEG, once, of pixels: a score without it or with two of them is another one."""
    crowd = {"name": "synthetic", "identities": 9, "distractors": 9}
    defence = {"name": "jpeg", "quality": 30}
    cell = attacked(defence, adaptive="off", epsilon="2/255")
    options: dict[str, Any] = {
        "epsilon": "2/255",
        "side": "query",
        "device": "cpu",
        "batch_size": 16,
        "checks": "quick",
        "adaptive": "off",
    }
    once, twice = (robustreid.evaluate(BehindPillow(tiny, times), crowd, **options) for times in (1, 2))
    assert cell.mAP_clean == pytest.approx(once.mAP_clean, abs=1e-9)
    assert cell.mAP_attacked == pytest.approx(once.mAP_attacked, abs=1e-9)
    assert abs(attacked(None, epsilon="2/255").mAP_clean - once.mAP_clean) > 1e-3
    assert abs(twice.mAP_clean - once.mAP_clean) > 1e-6


def test_a_module_of_one_s_own_is_defended_and_attacked_alike(attacked: Callable[..., Any], tiny: Any) -> None:
    """`defend` and a grid's key are one thing, followed by the same gradients."""
    crowd = {"name": "synthetic", "identities": 9, "distractors": 9}
    options: dict[str, Any] = {
        "epsilon": "8/255",
        "side": "query",
        "device": "cpu",
        "batch_size": 16,
        "checks": "quick",
    }
    for wrapped in (defend(tiny, "jpeg"), defend(nn.Sequential(tiny), "jpeg")):
        found = robustreid.evaluate(wrapped, crowd, **options)
        assert found.mAP_clean == pytest.approx(attacked("jpeg").mAP_clean, abs=1e-3)
        assert found.mAP_attacked == pytest.approx(attacked("jpeg").mAP_attacked, abs=0.05)
        assert found.flags == ("hides-gradients",)


GRID = """
name: g
models: [tiny, {name: tiny-front, zoo: tiny, defence: [bit-depth, {name: resize-pad, share: 0.8}]}]
datasets: [{name: synthetic, identities: 4, distractors: 2}]
attacks: [ama-fgsm, ama-ifgsm]
epsilons: [1/255, 2/255]
side: query
adaptive: {eot: 2}
checks: quick
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "grid.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_cell_is_the_same_alone_in_a_sweep_and_in_another_order(tmp_path: Path) -> None:
    """Also where a model draws: what it draws is a matter of the image. Twice the same run is the same table."""
    orders = {
        "sweep": GRID,
        "again": GRID,
        "reversed": GRID.replace("ama-fgsm, ama-ifgsm", "ama-ifgsm, ama-fgsm").replace("1/255, 2/255", "2/255, 1/255"),
        "alone": GRID.replace("ama-fgsm, ", "").replace("1/255, ", ""),
    }
    tables: dict[str, Any] = {}
    for name, text in orders.items():
        torch.manual_seed(len(tables))
        robustreid.run(written(tmp_path, text), tmp_path / name, device="cpu", batch_size=5)
        tables[name] = robustreid.load(tmp_path / name).set_index("cell_id").sort_index()
    columns = ["mAP_clean", "mAP_attacked", "rank1_attacked", "forwards", "backwards", "l2_mean", "defence", "model"]
    sweep = tables["sweep"][columns]
    assert len(sweep) == 8
    assert sweep.equals(tables["again"][columns])
    assert sweep.equals(tables["reversed"][columns])
    alone = tables["alone"][columns]
    assert len(alone) == 2
    assert sweep.loc[alone.index].equals(alone)
    names = dict(zip(sweep["model"], sweep["defence"].fillna("none"), strict=True))
    assert names == {"tiny": "none", "tiny-front": "bit-depth(bits=4) + resize-pad(share=0.8, seed=0)"}
    assert sweep.groupby("model")["mAP_clean"].first().nunique() == 2


def test_a_plan_knows_the_samples_of_a_defence(tmp_path: Path) -> None:
    """Twenty gradients where one would do without; and that scores are not shared with gradients passed straight."""

    def planned(defence: str) -> tuple[int, int]:
        text = GRID.replace("models: [tiny, ", "models: [").replace(
            "[bit-depth, {name: resize-pad, share: 0.8}]", defence
        )
        grid = load_grid(written(tmp_path, text.replace("adaptive: {eot: 2}\n", "")))
        sets, _ = open_sets(grid.datasets, workers=1, reporter=Silent())
        plan = make_plan(grid, sets)
        cost = plan.cost(plan.groups()[0], shared=True)
        assert cost is not None
        return cost.gradients, cost.forwards

    (plain, forwards), (many, _), (straight, more) = (planned(name) for name in ("blur", "resize-pad", "jpeg"))
    assert many == 20 * plain
    assert straight == plain
    assert more > forwards


@pytest.mark.slow
@pytest.mark.parametrize("defence", ["jpeg", {"name": "resize-pad"}, {"name": "smoothing", "copies": 2}], ids=str)
def test_fast_gradients_go_through_the_same_defence(attacked: Callable[..., Any], defence: Any) -> None:
    """In bf16 the adversary follows a rougher network behind the very defence; scores are those of `exact`."""
    options: dict[str, Any] = {"adaptive": EOT, "epsilon": "4/255"}
    exact, fast = attacked(defence, **options), attacked(defence, precision="fast", fast_with="bf16", **options)
    assert fast.mAP_clean == exact.mAP_clean
    assert set(fast.flags) == {*exact.flags, "gradients-bf16"}
    assert fast.mAP_attacked == pytest.approx(exact.mAP_attacked, abs=0.15)
    assert fast.mAP_attacked < fast.mAP_clean - 0.02
