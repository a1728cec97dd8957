"""Attacks of the package as cells of a grid, on drawn people and the model that ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import robustreid
from robustreid.benchmark.api import Evaluation


def test_two_of_them_run_from_a_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows with what was asked for, flags where something was drawn, passes as planned, stronger than noise."""
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path / "cache"))
    grid = tmp_path / "grid.yml"
    grid.write_text(
        "name: foreign\nmodels: [tiny]\ndatasets: [{name: synthetic, identities: 4, distractors: 2}]\n"
        "attacks: [noise, torchattacks.BIM, {name: torchattacks.PGD, steps: 4, alpha: 1/255}]\n"
        "epsilons: [0, 4/255]\nside: [query]\n",
        encoding="utf-8",
    )
    robustreid.run(grid, tmp_path / "run")
    frame: Any = robustreid.load(tmp_path / "run").set_index(["attack", "epsilon_label"])
    assert (frame["status"] == "done").all(), frame["reason"].tolist()
    noise, bim, pgd = (frame.loc[(name, "4/255")] for name in ("noise", "torchattacks.BIM", "torchattacks.PGD"))
    for row, steps in ((bim, 10), (pgd, 4)):
        assert row["mAP_attacked"] < noise["mAP_attacked"] - 0.05
        assert row["backwards"] == row["backwards_spent"] == steps * row["n_attacked"]
        assert row["attacker_data"] == "labelled gallery"
        assert row["linf_max"] <= 4 / 255 + 1e-6
        assert json.loads(row["attack_params"])["logit_scale"] == 10
    assert json.loads(pgd["attack_params"])["alpha"] == "1/255"
    assert "foreign-randomness" in list(pgd["flags"])
    assert "foreign-randomness" not in list(bim["flags"])
    for name in ("torchattacks.BIM", "torchattacks.PGD"):
        still = frame.loc[(name, "0/255")]
        assert still["mAP_attacked"] == still["mAP_clean"]


def test_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a notebook, targeted and against the gallery."""
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path))
    few = {"name": "synthetic", "identities": 3, "distractors": 1}
    found = robustreid.evaluate("tiny", few, attack="torchattacks.MIFGSM", epsilon="8/255", goal="targeted")
    assert isinstance(found, Evaluation)
    assert found.target_mAP > found.target_mAP_clean
