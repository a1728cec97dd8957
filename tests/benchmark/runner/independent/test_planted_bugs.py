"""Wrong twins: each check of these suites accepts the right one and rejects what was planted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from robustreid import InvalidFileError
from robustreid.attacks import base, optimisers
from robustreid.attacks.threat import Threat
from robustreid.benchmark.cli import main
from robustreid.benchmark.runner import features, group, groups
from robustreid.benchmark.store.directory import RunDirectory
from safetensors.numpy import load_file, save

EVERY = 10**6


@pytest.fixture
def two_models(people: Callable[..., Path], tiny: Path, other_tiny: Path, grid_file: Callable[..., Path]) -> Path:
    """One attack on two models."""
    models = [{"name": "one", "weights": str(tiny)}, {"name": "two", "weights": str(other_tiny)}]
    return grid_file(models, people(10), attacks=["ama-fgsm"])


def _forget_rows(path: Path) -> None:
    shutil.rmtree(path / "cells")
    shutil.rmtree(path / "queries")


@pytest.mark.parametrize("is_planted", [False, True])
def test_features_of_another_model(
    is_planted: bool,
    two_models: Path,
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two files swapped in the cache give the same table, because each says whose it is."""
    ran = run(two_models, tmp_path / "run")
    right = ran.table()
    one, two = sorted((ran.path / "features").iterdir())
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    _forget_rows(ran.path)
    if is_planted:

        def believes_the_name(where: RunDirectory, identity: dict[str, object]) -> Any:
            from robustreid.benchmark.records import digest

            found = load_file(where.features / f"{digest(identity)}.safetensors")
            return features.CleanFeatures(query=found["query"], gallery=found["gallery"])

        monkeypatch.setattr(groups, "load_features", believes_the_name)
    run(two_models, ran.path)
    assert (ran.table() == right) is not is_planted
    if not is_planted:
        assert {one.read_bytes(), two.read_bytes()} == {first, second}


@pytest.mark.parametrize("what", ["cut in half", "no tensors", "not there"])
def test_a_torn_cache_is_computed_again(what: str, two_models: Path, run: Callable[..., Any], tmp_path: Path) -> None:
    """Whatever became of the cache, the table is the same."""
    ran = run(two_models, tmp_path / "run")
    right = ran.table()
    for file in list((ran.path / "features").iterdir()):
        content = file.read_bytes()
        file.unlink()
        if what != "not there":
            file.write_bytes(content[: len(content) // 2] if what == "cut in half" else save({}, metadata={}))
    _forget_rows(ran.path)
    run(two_models, ran.path)
    assert ran.table() == right


@pytest.mark.parametrize("is_planted", [False, True])
def test_references_from_the_wrong_side(
    is_planted: bool,
    people: Callable[..., Path],
    fast: Path,
    plain: Callable[..., Any],
    disagreement: Callable[..., float],
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The plain loop is half a point away from the right run, and further from one that pushes from the own side."""
    if is_planted:
        right = group.GroupRun._bank

        def own_side(self: Any, cell: Any, side: Any, attacked: Any = None) -> Any:
            del attacked
            return right(self, cell, side, self.clean.side(side))

        monkeypatch.setattr(group.GroupRun, "_bank", own_side)
    data = people(15)
    row = run(grid_file(fast, data, epsilons=["2/255"]), tmp_path / "run").row()
    reference = plain(fast, data)
    expected = reference.scores(reference.attack("gallery", 2))
    assert (disagreement(row, "attacked", expected) <= 0.5) is not is_planted


@pytest.mark.parametrize("is_confined", [True, False])
def test_a_budget_that_is_a_tenth_too_large(
    is_confined: bool,
    people: Callable[..., Path],
    tiny: Path,
    plain: Callable[..., Any],
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An optimiser that takes 1.1 times its budget is put back and flagged; were it not, the kept images would show."""
    real = optimisers.FGSM.run

    def greedy(self: Any, loss: Any, images: Any, threats: Any, draw: Any) -> Any:
        more = [Threat(norm=threat.norm, epsilon=threat.epsilon * Fraction(11, 10)) for threat in threats]
        return real(self, loss, images, more, draw)

    monkeypatch.setattr(optimisers.FGSM, "run", greedy)
    if not is_confined:
        monkeypatch.setattr(
            base, "confine", lambda found, clean, threat: (found, False, (found - clean).amax((1, 2, 3)))
        )
    data = people(8)
    grid = grid_file(tiny, data, attacks=["ama-fgsm"], epsilons=["10/255"])
    ran = run(grid, tmp_path / "run", keep_images=EVERY)
    row, reference = ran.row(), plain(tiny, data)
    kept = reference.kept(ran.path, row["cell_id"])
    clean = {one.path: one.pixels for one in reference.sides["gallery"]}
    change = max(float((kept[path] - clean[path]).abs().max()) for path in kept) * 255
    keeps_budget = row["linf_max"] <= row["epsilon"] + 1e-6 and round(change, 3) <= 10
    assert keeps_budget is is_confined
    assert (list(row["flags"]) == ["projected"]) is is_confined


def test_a_row_of_a_newer_schema(
    two_models: Path,
    run: Callable[..., Any],
    edit: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Refused by every reader and by the run, with the file's name and the advice to update; never misread."""
    ran = run(two_models, tmp_path / "run")
    file = min((ran.path / "cells").iterdir())
    edit(file, version=1)
    assert len(RunDirectory(ran.path).load()) == 2
    edit(file, version=2)
    message = rf"{file.name}' has schema 2, newer than 1, .* update robustreid"
    for read in (RunDirectory(ran.path).load, RunDirectory(ran.path).stands):
        with pytest.raises(InvalidFileError, match=message):
            read()
    assert main(["run", str(two_models), "--out", str(ran.path), "--device", "cpu"]) == 4
    assert "update robustreid" in capsys.readouterr().err


@pytest.mark.parametrize("size", [0, 100, -100])
def test_a_torn_row(
    size: int, two_models: Path, run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused by name; removed as the message says, it is computed again and equal."""
    ran = run(two_models, tmp_path / "run")
    right = ran.table()
    file = sorted((ran.path / "cells").iterdir())[1]
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InvalidFileError, match=rf"{file.name}' is no row of this tool .* remove it and run the grid"):
        RunDirectory(ran.path).load()
    assert main(["status", str(ran.path)]) == 4
    assert main(["run", str(two_models), "--out", str(ran.path), "--device", "cpu"]) == 4
    assert file.name in capsys.readouterr().err
    file.unlink()
    run(two_models, ran.path)
    assert ran.table() == right


def test_a_row_under_the_name_of_another(two_models: Path, run: Callable[..., Any], tmp_path: Path) -> None:
    """A row copied over another cell's is refused: it would count one cell twice and hide the other."""
    ran = run(two_models, tmp_path / "run")
    one, two = sorted((ran.path / "cells").iterdir())
    two.write_bytes(one.read_bytes())
    for read in (RunDirectory(ran.path).load, RunDirectory(ran.path).stands):
        with pytest.raises(InvalidFileError, match=rf"{two.name}' holds the row of cell '{one.stem}'"):
            read()


@pytest.mark.parametrize("batch_size", [8, 16])
def test_a_journal_of_another_batch_size(
    batch_size: int,
    people: Callable[..., Path],
    tiny: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    interrupted: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Batches kept at size 8 are used at size 8 and swept at 16: a poisoned one shows which."""
    grid = grid_file(tiny, people(10))
    out = interrupted(grid, tmp_path / "run", 1, batch_size=8)
    (kept,) = (out / "work").glob("*/*.safetensors")
    tensors = load_file(kept)
    metadata = json.loads(kept.read_bytes()[8 : 8 + int.from_bytes(kept.read_bytes()[:8], "little")])["__metadata__"]
    name = next(key for key in tensors if key.endswith(".features"))
    tensors[name] = np.roll(tensors[name], 1, axis=0)
    kept.write_bytes(save(tensors, metadata=metadata))
    ran = run(grid, out, batch_size=batch_size)
    fresh = run(grid, tmp_path / "fresh", batch_size=batch_size)
    assert (ran.table() == fresh.table()) is (batch_size == 16)
    assert not (out / "work").exists()


def test_a_torn_journal_is_computed_again(
    people: Callable[..., Path],
    tiny: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    interrupted: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """A batch file that does not read back is as good as none."""
    grid = grid_file(tiny, people(10))
    out = interrupted(grid, tmp_path / "run", 2, batch_size=8)
    for file, share in zip(sorted((out / "work").glob("*/*.safetensors")), (0.5, 0.0), strict=True):
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert run(grid, out, batch_size=8).table() == run(grid, tmp_path / "fresh", batch_size=8).table()
