"""A real model, and copies of it to whose weights noise was added: what truly changed is found, the rest is not."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
import robustreid
import torch
from robustreid.leaderboards.gate.comparing import compare
from robustreid.leaderboards.measurements import read_measurements
from safetensors.torch import load_file, save_file

WEIGHTS = Path(robustreid.__file__).parent / "models" / "weights" / "tiny-metric-at.safetensors"
#: Noise that changes nothing that matters, and noise that costs about 3 points; in standard deviations of a tensor.
SLIGHT, STRONG = 0.005, 0.15

GRID = """\
name: noisy
models:
  - {{name: before, zoo: tiny-metric-at}}
  - {{name: slight, architecture: tinynet, weights: {folder}/slight.safetensors, normalise: imagenet, input_size: [128, 64]}}
  - {{name: strong, architecture: tinynet, weights: {folder}/strong.safetensors, normalise: imagenet, input_size: [128, 64]}}
datasets: [{{name: synthetic, identities: 100, cameras: 3}}]
attacks: [ama-fgsm, ama-ifgsm, ama-mifgsm, noise]
epsilons: [1/255, 2/255, 4/255, 6/255, 8/255]
side: query
checks: quick
"""  # noqa: E501


def noisy(source: Path, target: Path, amount: float, seed: int) -> None:
    """A copy with noise in every matrix and kernel, of `amount` of its standard deviation."""
    random = torch.Generator().manual_seed(seed)
    state = {name: tensor.float() for name, tensor in load_file(source).items()}
    for name, tensor in state.items():
        if tensor.ndim > 1:
            state[name] = tensor + amount * tensor.std() * torch.randn(tensor.shape, generator=random)
    save_file(state, target)


@pytest.mark.slow
def test_what_noise_costs_is_found(tmp_path: Path) -> None:
    """Of 20 cells none is worse after slight noise; after strong noise all are that lost 3 points of mAP or more."""
    noisy(WEIGHTS, tmp_path / "slight.safetensors", SLIGHT, 0)
    noisy(WEIGHTS, tmp_path / "strong.safetensors", STRONG, 0)
    (tmp_path / "grid.yml").write_text(GRID.format(folder=tmp_path))
    robustreid.run(tmp_path / "grid.yml", out=tmp_path / "run")
    cells = read_measurements(tmp_path / "run")
    base, slight, strong = ([c for c in cells if c.model == name] for name in ("before", "slight", "strong"))
    passed = compare(base, slight)
    assert (passed.exit_code(), "worse" in passed.counts) == (0, False)
    failed = compare(base, strong)
    drops = {verdict.cell: verdict.drop or 0.0 for verdict in failed.verdicts if verdict.metric == "mAP_attacked"}
    assert len(drops) == 20
    assert 0.02 < statistics.mean(drops.values()) < 0.06
    assert failed.exit_code() == 1
    large = {cell for cell, drop in drops.items() if drop >= 0.03}
    assert len(large) >= 10
    assert large <= {verdict.cell for verdict in failed.verdicts if verdict.word == "worse"}
