"""Kept files are the same after a kill and in any order of batches, and of those cells only that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid import UserError
from robustreid.benchmark.cli import main
from robustreid.benchmark.runner import attacking, keeping
from robustreid.benchmark.runner.journal import Journal
from robustreid.benchmark.store.directory import RunDirectory

COUNT = 4
Files = dict[str, bytes]


def kept(path: Path) -> Files:
    """Every kept file of a run, by name."""
    return {
        file.relative_to(path).as_posix(): file.read_bytes() for file in (path / "images").rglob("*") if file.is_file()
    }


@pytest.fixture(scope="module")
def two_sides(
    crowd: Path, tiny: Path, grid_file: Callable[..., Path], run: Callable[..., Any], tmp_path_factory: Any
) -> tuple[Path, Files]:
    """A grid of two attacks on each side, and what is kept of it in one go."""
    grid = grid_file(tiny, crowd, attacks=["ama-fgsm", "noise"], epsilons=["8/255"], side=["gallery", "query"])
    return grid, kept(run(grid, tmp_path_factory.mktemp("whole") / "run", batch_size=8, keep_images=COUNT).path)


@pytest.mark.parametrize("lost", ["nothing", "images", "lists"])
@pytest.mark.parametrize("batches", [1, 3, 5])
def test_an_interrupted_run_keeps_the_same(
    lost: str,
    batches: int,
    two_sides: tuple[Path, Files],
    run: Callable[..., Any],
    interrupted: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Interrupted after some batches and gone on with, even where images were not kept before: the same files."""
    grid, whole = two_sides
    out = interrupted(grid, tmp_path / "run", batches, batch_size=8, keep_images=0 if lost == "lists" else COUNT)
    if lost == "images":
        for file in list((out / "images").rglob("*.png"))[::2]:
            file.unlink()
    assert kept(run(grid, out, batch_size=8, keep_images=COUNT).path) == whole


def test_batches_that_were_kept_are_not_run_again(
    two_sides: tuple[Path, Files],
    run: Callable[..., Any],
    interrupted: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted after three batches and gone on with, as many are run in all as in one go."""
    grid, _ = two_sides
    real, count = attacking._run_batch, [0]

    def counts(*arguments: Any) -> Any:
        count[0] += 1
        return real(*arguments)

    monkeypatch.setattr(attacking, "_run_batch", counts)
    run(grid, tmp_path / "whole", batch_size=8, keep_images=COUNT)
    whole, count[0] = count[0], 0
    out = interrupted(grid, tmp_path / "run", 3, batch_size=8, keep_images=COUNT)
    run(grid, out, batch_size=8, keep_images=COUNT)
    assert count[0] == whole > 3


@pytest.mark.parametrize(("where", "name"), [(Journal, "write"), (RunDirectory, "commit"), (keeping, "remove_others")])
@pytest.mark.parametrize("calls", [1, 2])
def test_killed_between_two_files(
    where: Any,
    name: str,
    calls: int,
    two_sides: tuple[Path, Files],
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Images ahead of their journal, files ahead of their row, leftovers not removed yet: the same files in the end."""
    grid, whole = two_sides
    real, left = getattr(where, name), [calls]

    def dies(*arguments: Any, **others: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return real(*arguments, **others)

    monkeypatch.setattr(where, name, dies)
    with pytest.raises(KeyboardInterrupt):
        run(grid, tmp_path / "run", batch_size=8, keep_images=COUNT)
    assert kept(run(grid, tmp_path / "run", batch_size=8, keep_images=COUNT).path) == whole


@pytest.mark.parametrize("how", ["backwards", "in batches of 32"])
def test_the_order_of_batches_does_not_matter(
    how: str,
    two_sides: tuple[Path, Files],
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last batch first, or larger ones, where an image's noise is the same: the same files."""
    grid, whole = two_sides
    size = 8
    if how == "backwards":
        real = attacking.named_batches
        monkeypatch.setattr(attacking, "named_batches", lambda *arguments: reversed(list(real(*arguments))))
    else:
        size = 32
    ran = run(grid, tmp_path / "run", batch_size=size, keep_images=COUNT, select="noise")
    ids = set(ran.rows["cell_id"])
    assert len(ids) == 2
    assert kept(ran.path) == {name: content for name, content in whole.items() if name.split("/")[1] in ids}


def test_lists_of_some_cells_only(two_sides: tuple[Path, Files], run: Callable[..., Any], tmp_path: Path) -> None:
    """With an expression, what its cells keep is the same and the others keep nothing; no number changes."""
    grid, whole = two_sides
    settings = {"batch_size": 8, "keep_images": COUNT, "keep_images_of": "noise and gallery"}
    ran = run(grid, tmp_path / "run", **settings)
    cell_id = ran.row(attack="noise", side="gallery")["cell_id"]
    assert kept(ran.path) == {name: content for name, content in whole.items() if name.split("/")[1] == cell_id}
    assert ran.table() == run(grid, tmp_path / "without", batch_size=8).table()


def test_expressions_that_mean_nothing_are_refused(
    two_sides: tuple[Path, Files], run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a number, without a cell, or not an expression: one sentence that names the option, and nothing begun."""
    grid, _ = two_sides
    for settings, message in (
        ({"keep_images_of": "noise"}, r"^--keep-images-of says of which cells; add --keep-images N"),
        ({"keep_images_of": "nose", "keep_images": 1}, r"^--keep-images-of 'nose' matches no cell of the grid"),
        (
            {"keep_images_of": "noise and", "keep_images": 1},
            r"^--keep-images-of 'noise and' does not parse at 'its end'",
        ),
    ):
        with pytest.raises(UserError, match=message):
            run(grid, tmp_path / "run", **settings)
    assert main(["run", str(grid), "--out", str(tmp_path / "run"), "--keep-images-of", "noise"]) == 2
    assert "add --keep-images N" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
