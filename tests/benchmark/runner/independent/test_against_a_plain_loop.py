"""The harness against a plain loop on real people: the paper's I-FGSM, on each side, within half a point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: Points by which two right implementations may differ: a sign turns a last bit into a whole step.
HALF_A_POINT = 0.5

#: From the notes beside the real data: I-FGSM at 5/255; Rank-1, step mAP, trapezoid mAP, clean and attacked.
SANITY = {
    ("market1501-mini", "osnet_x0_25_msmt17", "gallery"): ((72.34, 53.96, 52.44), (1.49, 1.38, 1.19)),
    ("cuhk01-mini", "osnet_x0_25_msmt17", "gallery"): ((83.00, 83.04, 80.61), (0.00, 0.88, 0.58)),
    ("cuhk01-mini", "osnet_x0_25_msmt17", "query"): ((83.00, 83.04, 80.61), (2.00, 3.13, 2.39)),
    ("cuhk01-mini", "person-reidentification-retail-0288", "gallery"): ((90.50, 89.58, 88.14), (1.00, 2.59, 1.92)),
}


@pytest.mark.parametrize(
    ("source", "count", "side", "levels"),
    [
        ("cuhk01-mini", 30, "gallery", 5),
        ("cuhk01-mini", 30, "query", 2),
        ("market1501-mini", 6, "gallery", 2),
    ],
)
def test_a_plain_loop_agrees(
    source: str,
    count: int,
    side: str,
    levels: int,
    people: Callable[..., Path],
    fast: Path,
    plain: Callable[..., Any],
    disagreement: Callable[..., float],
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Clean and attacked Rank-1 and mAP by both definitions, with cameras to leave out and without."""
    data = people(count, source)
    row = run(grid_file(fast, data, epsilons=[f"{levels}/255"], side=side), tmp_path / "run").row()
    reference = plain(fast, data)
    assert disagreement(row, "clean", reference.scores()) < 1e-6
    attacked = reference.scores(reference.attack(side, levels))
    assert disagreement(row, "attacked", attacked) <= HALF_A_POINT
    assert row["mAP_drop"] > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("data", "model", "side"), list(SANITY))
def test_market_and_cuhk_give_the_measured_figures(
    data: str,
    model: str,
    side: str,
    real_data: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """The real models on the whole real sets, against figures measured by others."""
    weights = real_data / "weights" / f"{model}.onnx"
    models = [{"name": "m", "weights": str(weights), "normalise": "imagenet" if "osnet" in model else "none"}]
    grid = grid_file(models, real_data / data, epsilons=["5/255"], side=side)
    row = run(grid, tmp_path / "run", batch_size=32).row()
    for state, figures in zip(("clean", "attacked"), SANITY[data, model, side], strict=True):
        found = [100 * row[f"{metric}_{state}"] for metric in ("rank1", "mAP", "mAP_trapezoid")]
        assert list(figures) == pytest.approx(found, abs=HALF_A_POINT)
