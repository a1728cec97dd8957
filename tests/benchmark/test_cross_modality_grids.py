"""The ready grids for visible against infrared, run as they are but for whose images and weights they name."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import robustreid
import torch
from robustreid.benchmark.cli import main
from robustreid.benchmark.config.grid import shipped_grids
from robustreid.benchmark.perturbations import perturbation_bytes
from safetensors.torch import save_file

NAMES = ("sysu-all", "sysu-indoor", "regdb-v2t", "regdb-t2v", "llcm-v2i", "llcm-i2v")
ATTACKS = ("ama-fgsm", "ama-ifgsm", "ama-mifgsm", "cmps")


@pytest.fixture(scope="module")
def files_of_a_user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights and perturbations under the names that the grids and recipes agree on; `agw_tiny` in AGW's place."""
    from robustreid.models.architectures.two_stream import agw_tiny

    root = tmp_path_factory.mktemp("user")
    random = np.random.default_rng(0)
    stems = ("sysu", "llcm", *(f"regdb_{trial}" for trial in range(1, 11)))
    with torch.random.fork_rng(devices=[]):
        for number, stem in enumerate(stems):
            torch.manual_seed(number)
            save_file(agw_tiny().state_dict(), root / f"agw_{stem}.safetensors")
            folder = root / "runs" / "train" / f"cmps-{stem.replace('_', '-')}"
            folder.mkdir(parents=True)
            delta = torch.from_numpy(random.choice([-8, 8], size=(3, 128, 64)) / 255).float()
            digest = f"{number:064x}"
            facts = {
                "procedure": "cmps",
                "epsilon": "8/255",
                "model": "agw",
                "model_sha256": digest,
                "data_sha256": digest,
            }
            (folder / "perturbation.safetensors").write_bytes(perturbation_bytes(delta, facts))
    return root


@pytest.fixture
def run_ready(
    files_of_a_user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], Path]:
    """A function that runs a ready grid on drawn people of its protocol; gives the run directory."""
    monkeypatch.setenv("WEIGHTS", str(files_of_a_user))
    monkeypatch.setenv("DATA", str(tmp_path / "nowhere"))
    monkeypatch.chdir(files_of_a_user)

    def go(name: str) -> Path:
        kind = name.partition("-")[0]
        weights = f"agw_{kind}{'_{trial}' if kind == 'regdb' else ''}.safetensors"
        people = {"name": kind, "format": "synthetic", "protocol": name, "identities": 4, "shots": 2}
        model = {"name": "agw", "architecture": "agw_tiny", "weights": str(files_of_a_user / weights)}
        changes = {"datasets": [people], "models": [model], "epsilons": ["8/255"], "checks": "quick"}
        flags = [part for key, value in changes.items() for part in ("--set", f"{key}={json.dumps(value)}")]
        code = main(["run", f"cross-modality/{name}", "--out", str(tmp_path / name), "--device", "cpu", *flags])
        assert code == 0, capsys.readouterr().err
        return tmp_path / name

    return go


def _slow_but(quick: tuple[str, ...]) -> list[object]:
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


@pytest.mark.parametrize("name", _slow_but(("sysu-indoor",)))
def test_a_ready_grid_runs(name: str, run_ready: Callable[[str], Path]) -> None:
    """AMA's three attacks and CMPS on the queries of its protocol, ten trials each, a row a cell."""
    rows = robustreid.load(run_ready(name))
    assert rows.attack.tolist() == list(ATTACKS)
    assert set(rows.status) == {"done"}
    assert set(rows.protocol) == {f"{name}-v1"}
    assert (rows.trials == 10).all()
    assert set(rows.side) == {"query"}
    assert (rows.mAP_attacked <= rows.mAP_clean + 0.02).all()


def test_all_six_ship_and_say_what_they_need() -> None:
    """By name, with the variables and files in their first lines, under the protocol of their name."""
    assert {f"cross-modality/{name}" for name in (*NAMES, "drawn")} <= set(shipped_grids())
    folder = files("robustreid.benchmark.recipes") / "cross-modality"
    for name in NAMES:
        text = (folder / f"{name}.yml").read_text(encoding="utf-8")
        head = text[: text.index("\nname:")]
        assert f"robustreid run cross-modality/{name}" in head
        assert "DATA holds the folder" in head
        assert f"protocol: {name}" in text
        assert all(f"{attack}" in text for attack in ATTACKS)


def test_a_plan_without_data(
    files_of_a_user: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The set is listed as not found, its cells are counted, and the command succeeds."""
    monkeypatch.setenv("WEIGHTS", str(files_of_a_user))
    monkeypatch.setenv("DATA", str(files_of_a_user / "nowhere"))
    monkeypatch.chdir(files_of_a_user)
    model = {
        "name": "agw",
        "architecture": "agw_tiny",
        "weights": str(files_of_a_user / "agw_regdb_{trial}.safetensors"),
    }
    assert main(["plan", "cross-modality/regdb-t2v", "--set", f"models={json.dumps([model])}"]) == 0
    shown = capsys.readouterr().out
    assert "not found" in shown
    assert "12 cells" in shown


def test_the_shipped_model_finds_people_across_modalities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far above chance on drawn people whom it never saw, until they are attacked; much less with streams exchanged."""
    people = {"name": "synthetic", "protocol": "sysu-all", "identities": 20}
    asked = {"attack": "ama-ifgsm", "epsilon": "8/255", "side": "query", "checks": "quick"}
    row = robustreid.evaluate("tiny-agw", people, **asked).row
    assert row["mAP_clean"] > 3 * row["chance_mAP"]
    assert row["rank1_clean"] > 4 * row["chance_rank1"]
    assert row["mAP_attacked"] < row["chance_mAP"]
    monkeypatch.setattr("robustreid.benchmark.runner.batches.MODALITIES", ("infrared", "visible"))
    assert robustreid.evaluate("tiny-agw", people, **asked).row["mAP_clean"] < 0.8 * row["mAP_clean"]
