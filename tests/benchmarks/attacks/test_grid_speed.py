"""Eighteen cells through the front door, beside the same cells one after the other by torchattacks."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import robustreid
import torch
from numpy.typing import NDArray
from PIL import Image
from robustreid.attacks.counts import from_counts
from robustreid.attacks.threat import Threat
from robustreid.models.precision import fast_arithmetic
from torch import Tensor

pytestmark = pytest.mark.slow

ATTACKS = ("ama-fgsm", "ama-ifgsm", "ama-mifgsm")
THREATS = tuple(Threat(norm="linf", epsilon=Fraction(k, 255)) for k in (1, 2, 4, 5, 8, 16))
CELLS = tuple((attack, threat) for attack in ATTACKS for threat in THREATS)
#: By architecture and precision, attacked images, and images a batch (the peer's as well), where the grid is timed.
SIZES = {("resnet50", "exact"): (32, 32), ("resnet50", "fast"): (64, 64), ("osnet_x0_25", "exact"): (64, 32)}
#: Gradients of all cells, each by itself: 1 + 2 * int(min(k + 4, 1.25 k)) for each k.
GRADIENTS = 94
NAMES = {"resnet50": "ResNet-50", "osnet_x0_25": "OSNet x0.25"}

GRID = """\
name: speed
models: [{{name: model, architecture: {architecture}, weights: "{weights}"}}]
datasets: [{{name: synthetic, identities: {identities}, cameras: 2, shots: 1, distractors: 0}}]
attacks: [{attacks}]
epsilons: [{epsilons}]
side: query
perturb_at: native
precision: {precision}
checks: quick
"""

#: By attack and epsilon, mAP and where they were kept the attacked images.
Cells = dict[tuple[str, str], tuple[float, Tensor | None]]


def by_torchattacks(scene: Any, batch: int) -> Cells:
    """The grid as people write it: clean features once; then one cell after the other attacked, scored and ranked.

    The images are in memory, and the references are known. It asks nothing else of the model, so the run's own checks
    of it are `quick`.
    """
    parts = [scene.part(start, batch) for start in range(0, len(scene.images), batch)]
    sides = [[getattr(part, name) for part in parts] for name in ("images", "reference_images")]
    _, gallery = (torch.cat([scene.ordinary.features(images) for images in side]).numpy() for side in sides)
    found: Cells = {}
    for attack, threat in CELLS:
        attacked, features = zip(*(part.torchattacked(attack, threat) for part in parts), strict=True)
        found[attack, threat.label] = mean_ap(torch.cat(features).numpy(), gallery), torch.cat(attacked)
    return found


def mean_ap(query: NDArray[Any], gallery: NDArray[Any]) -> float:
    """Step mAP by sorting; both sides show each person by two cameras, and the image of the same camera is junk."""
    order = np.argsort(-(query @ gallery.T), axis=1)
    rows = np.arange(len(query))[:, None]
    ranks = np.argmax(order[order != rows].reshape(len(query), -1) == rows ^ 1, axis=1) + 1
    return float((1 / ranks).mean())


class FrontDoor:
    """The grid by `robustreid.run`: each call a whole run in a folder of its own, from the file to the rows."""

    def __init__(self, scene: Any, folder: Path, batch: int, precision: str, *, keep: bool) -> None:
        self.folder = folder
        self.n_runs = 0
        self.settings = {"device": "cpu", "batch_size": batch, "keep_images": len(scene.images) if keep else 0}
        self.grid = folder / "grid.yml"
        self.grid.write_text(
            GRID.format(
                architecture=scene.embedder.spec.architecture,
                weights=scene.weights,
                identities=len(scene.images) // 2,
                attacks=", ".join(ATTACKS),
                epsilons=", ".join(threat.label for threat in THREATS),
                precision=precision,
            )
        )
        # The people are drawn once on a machine; that is no part of a run.
        robustreid.run(self.grid, folder / "drawn", limit=0, **self.settings)

    def __call__(self) -> Path:
        """The run directory."""
        self.n_runs += 1
        out = self.folder / f"run-{self.n_runs}"
        robustreid.run(self.grid, out, **self.settings)
        return out

    def cells(self, run: Path) -> Cells:
        """What is in a run directory."""
        rows: pd.DataFrame = robustreid.load(run)
        assert rows["status"].eq("done").all()
        assert (rows["linf_max"] <= rows["epsilon"] + 1e-6).all()
        return {
            (row["attack"], row["epsilon_label"]): (row["mAP_attacked"], self._images(run / "images" / row["cell_id"]))
            for _, row in rows.iterrows()
        }

    def _images(self, folder: Path) -> Tensor | None:
        if not self.settings["keep_images"]:
            return None
        listed = json.loads((folder / "manifest.json").read_text())["images"]
        pixels = [np.asarray(Image.open(folder / image["file"])) for image in listed]
        return from_counts(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float())


@pytest.mark.benchmark(group="a grid of eighteen cells")
@pytest.mark.parametrize(
    ("architecture", "precision", "bar"),
    [
        pytest.param("resnet50", "exact", 2.7, id="resnet50-exact"),
        pytest.param("resnet50", "fast", 5.0, id="resnet50-fast"),
        pytest.param("osnet_x0_25", "exact", 3.4, id="osnet-exact"),
    ],
)
def test_grid(
    duel: Any,
    is_timed: bool,
    scene: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    architecture: str,
    precision: str,
    bar: float,
) -> None:
    """{FGSM, I-FGSM, MI-FGSM} at {1, 2, 4, 5, 8, 16}/255: everything that a run does, against attacks and scores."""
    if precision == "fast" and fast_arithmetic(torch.device("cpu")) == "float32":
        pytest.skip("this CPU, or this PyTorch, does not multiply bf16: `fast` is `exact` here")
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path / "cache"))
    count, batch = SIZES[architecture, precision] if is_timed else (4, 4)
    seen = scene(architecture, count)
    ours = FrontDoor(seen, tmp_path, batch, precision, keep=not is_timed)
    run, theirs = duel(
        ours,
        {"torchattacks": lambda: by_torchattacks(seen, batch)},
        title=f"grid of 18 cells, {precision}, {NAMES[architecture]}",
        bar=bar,
        rounds=1 if architecture == "resnet50" else 2,
        warmup_rounds=0,
        count=count * GRADIENTS,
        per="image and gradient asked for",
        note=f"{count} images, batch {batch}",
    )
    found, wanted = ours.cells(run), theirs["torchattacks"]
    assert list(found) == list(wanted) == [(attack, threat.label) for attack, threat in CELLS]
    differences = []
    for cell, (score, images) in found.items():
        differences.append(abs(score - wanted[cell][0]))
        if images is not None:
            assert seen.strength(images) == pytest.approx(seen.strength(wanted[cell][1]), rel=0.02)
    assert np.mean(differences) < 0.02
