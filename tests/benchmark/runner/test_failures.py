"""A model or an attack that fails leaves a row with its reason, and everybody else goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from robustreid.attacks import optimisers
from robustreid.benchmark.cli import main
from robustreid.benchmark.evaluation import METRICS
from robustreid.benchmark.store.schema import QUERY_SCHEMA, ROW_SCHEMA

PLUGINS = '''
import torch
from torch import nn
from torch.nn import functional as F


class Fine(nn.Module):
    def forward(self, images):
        return F.adaptive_avg_pool2d(images, (8, 4)).flatten(1) - 0.4


class RaisesInForward(Fine):
    def forward(self, images):
        raise RuntimeError("the kernel\\n is not implemented")


class GivesNan(Fine):
    def forward(self, images):
        return super().forward(images) * float("nan")


class NanOnAttacked(Fine):
    """Features that are not finite for every image that is not among the first 32 it saw."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def forward(self, images):
        features = super().forward(images)
        if torch.is_grad_enabled():
            return features
        keys = [image.double().sum().item() for image in images]
        if len(self.seen) < 32:
            self.seen |= set(keys)
        known = torch.tensor([key in self.seen for key in keys])
        return torch.where(known[:, None], features, torch.nan)


class BlackIsNan(Fine):
    """Standardises each image: 0 / 0 on a black one, such as a batch is padded with."""

    def forward(self, images):
        return super().forward((images - images.mean((1, 2, 3), True)) / images.std((1, 2, 3), keepdim=True))


def raises_at_build():
    raise RuntimeError("no such layer")
'''


@pytest.fixture
def plugins(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of models that fail in every way, where a plugin is looked for."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "failing_models.py").write_text(PLUGINS)
    monkeypatch.syspath_prepend(folder)


def _models(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "plugin": f"failing_models:{name}"} for name in names]


@pytest.fixture
def command(
    grid_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], ran_at: Callable[[Path], Any]
) -> Callable[..., tuple[int, Any, str]]:
    """A function that runs the command line: exit code, what stands, and what was said."""

    def go(grid: Path, out: Path, *flags: str) -> tuple[int, Any, str]:
        words = ["run", str(grid), "--out", str(out), "--device", "cpu", "--batch-size", "16", "--trust-code", *flags]
        code = main(words)
        return code, ran_at(out), capsys.readouterr().err

    return go


@pytest.mark.usefixtures("plugins")
def test_failing_models_leave_rows(
    command: Callable[..., Any], people: Callable[..., Path], grid_file: Callable[..., Path], tmp_path: Path
) -> None:
    """At build, in forward, NaN always, NaN on attacked images: rows that say so, of one schema; a fine one is done."""
    names = ("raises_at_build", "RaisesInForward", "GivesNan", "NanOnAttacked", "Fine")
    grid = grid_file(_models(*names), people(8), attacks=["ama-fgsm"], epsilons=["2/255", "4/255"])
    code, ran, _ = command(grid, tmp_path / "run")
    assert code == 3
    rows = ran.rows
    assert rows["status"].tolist() == ["failed"] * 8 + ["done"] * 2
    reasons = rows.groupby("model", sort=False)["reason"].first()
    assert "RuntimeError: no such layer" in reasons["raises_at_build"]
    assert reasons["RaisesInForward"] == "RuntimeError: the kernel is not implemented"
    assert "not finite on clean images" in reasons["GivesNan"]
    assert "not finite on attacked images" in reasons["NanOnAttacked"]
    failed = rows[rows["status"] == "failed"]
    scores = [f"{metric}_{state}" for metric in METRICS for state in ("clean", "attacked", "drop")]
    assert failed[[*scores, "mAP_attacked_float", "target_mAP", "n_attacked", "backwards"]].isna().all(axis=None)
    assert not rows[rows["status"] == "done"][scores].isna().any(axis=None)
    for file in (ran.path / "cells").iterdir():
        assert pq.ParquetFile(file).schema_arrow.remove_metadata().equals(ROW_SCHEMA)
    assert len(pd.read_parquet(ran.path / "cells")) == 10
    for file in (ran.path / "queries").iterdir():
        assert pq.ParquetFile(file).schema_arrow.remove_metadata().equals(QUERY_SCHEMA)
    assert {file.stem for file in (ran.path / "queries").iterdir()} == set(rows["cell_id"][rows["status"] == "done"])


@pytest.mark.usefixtures("plugins")
def test_padding_is_nobodys_failure(
    command: Callable[..., Any], people: Callable[..., Path], grid_file: Callable[..., Path], tmp_path: Path
) -> None:
    """A model that has no answer for a black image runs with a batch that is filled up with black ones."""
    grid = grid_file(_models("BlackIsNan"), people(5))
    code, ran, _ = command(grid, tmp_path / "run")
    assert (code, ran.rows["status"].tolist()) == (0, ["done"])
    assert ran.row()["mAP_attacked"] < ran.row()["mAP_clean"]


@pytest.mark.parametrize("plugin", ["no_such_module:thing", "failing_models:no_such_name"])
@pytest.mark.usefixtures("plugins")
def test_a_plugin_that_is_not_there_is_a_wrong_request(
    plugin: str,
    command: Callable[..., Any],
    people: Callable[..., Path],
    grid_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Exit 2 and nothing written: a name can be mended, and its cells would all be failures."""
    words = command(grid_file([{"name": "m", "plugin": plugin}], people(8)), tmp_path / "run")
    assert words[0] == 2
    assert plugin in words[2]
    assert not (tmp_path / "run").exists()


@pytest.fixture
def broken_noise(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that makes the preset `noise` fail from its n-th batch on."""

    def breaks(first: int) -> None:
        calls = iter(range(10**6))
        right = optimisers.Noise.run

        def run(self: Any, *arguments: Any) -> Any:
            if next(calls) >= first:
                raise RuntimeError("out of dice")
            return right(self, *arguments)

        monkeypatch.setattr(optimisers.Noise, "run", run)

    return breaks


def test_again_retries_what_it_says(
    command: Callable[..., Any],
    broken_noise: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    people: Callable[..., Path],
    tiny: Path,
    grid_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """A failing attack fails alone; `never` leaves it, `failed` retries only it, `always` writes every row anew."""
    grid = grid_file(tiny, people(8), attacks=["ama-fgsm", "noise", "ama-ifgsm"], side=["gallery", "both"])
    _, whole, _ = command(grid, tmp_path / "whole")
    with monkeypatch.context():
        broken_noise(0)
        code, ran, said = command(grid, tmp_path / "run")
        assert (code, sorted(ran.rows["status"])) == (3, ["done"] * 4 + ["failed"] * 2)
        assert set(ran.rows["reason"][ran.rows["attack"] == "noise"]) == {"RuntimeError: out of dice"}
        assert "out of dice" in said
        assert {k: v for k, v in whole.table().items() if k in ran.table() and v == ran.table()[k]}.keys() == set(
            ran.rows["cell_id"][ran.rows["status"] == "done"]
        )
        before = ran.written()
        command(grid, tmp_path / "run")
        assert ran.written() == before
        assert command(grid, tmp_path / "run", "--again", "failed")[0] == 3
        changed = {key for key, value in ran.written().items() if before[key] != value}
        assert changed == set(ran.rows["cell_id"][ran.rows["status"] == "failed"])
        monkeypatch.undo()
    before = ran.written()
    assert command(grid, tmp_path / "run", "--again", "failed")[0] == 0
    assert sum(before[key] != value for key, value in ran.written().items()) == 2
    assert ran.table() == whole.table()
    before = ran.written()
    assert command(grid, tmp_path / "run", "--again", "always")[0] == 0
    assert all(before[key] != value for key, value in ran.written().items())
    assert ran.table() == whole.table()
    assert not (ran.path / "work").exists()


def test_a_failure_leaves_nothing_of_an_earlier_success(
    command: Callable[..., Any],
    broken_noise: Callable[[int], None],
    people: Callable[..., Path],
    tiny: Path,
    grid_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Run again and failed: the queries and images of the row that stood there are gone with it."""
    grid = grid_file(tiny, people(8), attacks=["noise", "ama-fgsm"])
    command(grid, tmp_path / "run", "--keep-images", "2")
    broken_noise(0)
    code, ran, _ = command(grid, tmp_path / "run", "--again", "always", "--keep-images", "2")
    assert (code, ran.rows["status"].tolist()) == (3, ["failed", "done"])
    done = {ran.row(attack="ama-fgsm")["cell_id"]}
    assert {file.stem for file in (ran.path / "queries").iterdir()} == done
    assert {file.name for file in (ran.path / "images").iterdir()} == done


def test_a_cell_with_nothing_to_attack_is_skipped(
    command: Callable[..., Any],
    people: Callable[..., Path],
    tiny: Path,
    grid_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Under other cameras nobody of a one-camera set has references: skipped with the reason, which is no failure."""
    root, source = tmp_path / "set", people(8)
    for folder in ("query", "bounding_box_test"):
        (root / folder).mkdir(parents=True)
        for file in (source / folder).iterdir():
            name = file.name if folder == "query" else file.name.replace("_c2", "_c1")
            (root / folder / name).symlink_to(file.resolve())
    attacks = [{"name": "strict", "objective": "push", "optimiser": "fgsm", "references": "other-side-cross-camera"}]
    code, ran, _ = command(grid_file(tiny, root, attacks=attacks, side=["gallery", "both"]), tmp_path / "run")
    assert (code, ran.rows["status"].tolist()) == (0, ["skipped"] * 2)
    assert ran.rows["reason"].str.startswith("nothing to attack: no gallery image has a reference").all()
    assert not list((ran.path / "queries").iterdir())
    assert len(pd.read_parquet(ran.path / "cells")) == 2
