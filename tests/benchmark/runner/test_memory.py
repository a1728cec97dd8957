"""Out of memory halves the batch and the run goes on; how many images fit a GPU is worked out and remembered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from robustreid.benchmark.config.grid import load_grid
from robustreid.benchmark.progress import Silent
from robustreid.benchmark.runner import fitting
from robustreid.benchmark.runner.fitting import LARGEST, largest_batch
from robustreid.models.base import ModelSpec
from robustreid.models.pixels import PixelEmbedder

KEYS: dict[str, Any] = {"attacks": ["ama-fgsm", "ama-ifgsm"], "epsilons": ["2/255", "4/255"]}


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.moved = 0.0

    def note(self, text: str) -> None:
        self.said.append(text)

    def start(self, title: str, total: float) -> Any:
        if title == "grid":
            self.total = total
            return _Bar(self)
        return Silent()


class _Bar(Silent):
    def __init__(self, notes: Notes) -> None:
        self.notes = notes

    def advance(self, units: float) -> None:
        self.notes.moved += units


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """A function that lets models run out of memory with more images than a limit; gives the sizes that were tried."""

    def limit(most: int, *, with_gradient: bool = False, error: type[Exception] = torch.OutOfMemoryError) -> list[int]:
        real, tried = PixelEmbedder.forward, list[int]()

        def forward(self: PixelEmbedder, images: torch.Tensor) -> torch.Tensor:
            if self.spec.label == "m":
                if len(images) not in tried:
                    tried.append(len(images))
                if len(images) > most and (images.requires_grad or not with_gradient):
                    raise error("no more memory: tried to allocate memory")
            return real(self, images)

        monkeypatch.setattr(PixelEmbedder, "forward", forward)
        return tried

    return limit


@pytest.mark.parametrize("with_gradient", [False, True])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_the_run_goes_on_with_half(
    with_gradient: bool,
    error: type[Exception],
    small_memory: Callable[..., list[int]],
    crowd: Path,
    tiny: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """On clean images or in the middle of an attack: every cell is done, as by a run that began with that size."""
    grid, notes = grid_file(tiny, crowd, **KEYS), Notes()
    whole = run(grid, tmp_path / "whole", batch_size=4)
    tried = small_memory(4, with_gradient=with_gradient, error=error)
    halved = run(grid, tmp_path / "halved", reporter=notes, batch_size=16)
    assert [size for size in tried if size > 2] == [16, 8, 4]
    assert halved.table() == whole.table()
    assert set(halved.rows["batch_size"]) == {4}
    assert [text for text in notes.said if "memory" in text] == [
        "Out of memory on cpu: going on with batches of 8.",
        "Out of memory on cpu: going on with batches of 4.",
    ]
    assert notes.moved == pytest.approx(notes.total)
    assert not list((tmp_path / "halved" / "work").glob("*"))


def test_both_sides_go_on_as_well(
    small_memory: Callable[..., list[int]],
    crowd: Path,
    tiny: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Memory may end while queries are attacked against an attacked gallery; rows that stand by then stay."""
    grid = grid_file(tiny, crowd, **KEYS, side=["both"])
    whole = run(grid, tmp_path / "whole", batch_size=8)
    small_memory(8, with_gradient=True)
    assert run(grid, tmp_path / "halved", batch_size=16).table() == whole.table()


def test_one_image_too_many_is_a_failure(
    small_memory: Callable[..., list[int]],
    crowd: Path,
    tiny: Path,
    other_tiny: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Where not even one image fits, the model's cells fail with the reason, and other models go on."""
    models = [{"name": "m", "weights": str(tiny)}, {"name": "n", "weights": str(other_tiny)}]
    small_memory(0)
    ran = run(grid_file(models, crowd, **KEYS), tmp_path / "out", batch_size=4)
    assert ran.rows.groupby("model")["status"].unique().map(list).to_dict() == {"m": ["failed"], "n": ["done"]}
    assert ran.rows["reason"].str.contains("memory").sum() == 4


def test_other_errors_do_not_halve(
    small_memory: Callable[..., list[int]], crowd: Path, tiny: Path, grid_file: Callable[..., Path], tmp_path: Path
) -> None:
    """The planted bug would be to halve on whatever goes wrong: a plain error fails at once, at the first size."""
    from robustreid.benchmark.runner.run import run_grid
    from robustreid.benchmark.runtime import Settings

    tried = small_memory(4, error=ZeroDivisionError)
    settings = Settings(device="cpu", batch_size=16)
    summary = run_grid(load_grid(grid_file(tiny, crowd, **KEYS)), tmp_path / "out", settings, Silent())
    assert (summary.n_failed, summary.n_done) == (4, 0)
    assert 8 not in tried


@pytest.mark.parametrize(
    ("fixed", "each", "available", "expected"),
    [
        (0, 10, 1000, 64),
        (500, 10, 1000, 32),
        (0, 10, 1279, 64),
        (0, 10, 1280, 128),
        (0, 1, 10**9, LARGEST),
        (0, 9, 3, 1),
    ],
)
def test_the_largest_power_of_two_that_fits(fixed: int, each: int, available: int, expected: int) -> None:
    """From two measurements of a straight line."""
    asked: list[int] = []

    def peak(count: int) -> int:
        asked.append(count)
        return fixed + each * count

    assert fitting.fitting(peak, available) == expected
    assert asked == list(fitting.TRIALS)


def test_what_fits_is_measured_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The second time it is known, also to another process; another model or image size is measured."""
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path))
    measured: list[tuple[int, ...]] = []

    class Properties:
        total_memory = 2**30

    def peak(embedder: Any, count: int, size: tuple[int, int], device: Any) -> int:
        measured.append(size)
        return 2**20 * count

    monkeypatch.setattr(fitting, "_peak_bytes", peak)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    spec, device = ModelSpec(label="m", architecture="test"), torch.device("cuda")
    sizes = [largest_batch(lambda images: images, spec, size, device) for size in ((8, 4), (8, 4), (16, 8))]
    assert sizes == [512, 512, 512]
    assert measured == [(8, 4)] * 2 + [(16, 8)] * 2
