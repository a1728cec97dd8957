"""A folder with training images, and recipes about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

#: What `write_recipe` writes where nothing else is asked for.
PARTS = {
    "name": "name: small",
    "architecture": "architecture: tinynet",
    "data": "data: {name: mini, format: folder, root: ./people}",
    "epochs": "epochs: 3",
    "batch": "batch: {identities: 3, images: 2}",
}

#: The recipe's parts that are other than those of a network.
PERTURBATION = {
    "architecture": "kind: perturbation",
    "model": "model: tiny",
    "attack": "attack: {name: uap-retrieval, clusters: 8}",
    "epsilon": "epsilon: 8/255",
}


@pytest.fixture
def write_training_people() -> Callable[..., Path]:
    """A function that writes `bounding_box_train`: random images, two a person and camera."""

    def write(root: Path, *, n_people: int = 5, size: tuple[int, int] = (32, 16), seed: int = 1) -> Path:
        random = np.random.default_rng(seed)
        folder = root / "bounding_box_train"
        folder.mkdir(parents=True)
        for person in range(1, n_people + 1):
            look = random.integers(40, 216, (*size, 3))
            for camera in (1, 2):
                for shot in (1, 2):
                    pixels = (look + random.integers(-30, 31, look.shape)).astype(np.uint8)
                    Image.fromarray(pixels).save(folder / f"{person:04d}_c{camera}s1_{shot:06d}_00.png")
        return root

    return write


@pytest.fixture
def workshop(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, write_training_people: Callable[..., Path]
) -> Path:
    """The current folder, with the training images of five people in `people`."""
    folder = tmp_path / "workshop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_training_people(folder / "people")
    return folder


@pytest.fixture
def write_recipe(workshop: Path) -> Callable[..., Path]:
    """A function that writes `recipe.yml`: one part a keyword (None leaves it out), then further lines."""

    def write(extra: str = "", **parts: str | None) -> Path:
        lines = [part for part in {**PARTS, **parts}.values() if part is not None]
        path = workshop / "recipe.yml"
        path.write_text("\n".join([*lines, extra]) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def write_fit(write_recipe: Callable[..., Path]) -> Callable[..., Path]:
    """A function that writes the recipe of a perturbation: one part a keyword, then further lines."""

    def write(extra: str = "", **parts: str | None) -> Path:
        return write_recipe(extra, **{**PERTURBATION, **parts})

    return write
