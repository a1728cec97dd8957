"""A plain evaluation that shares nothing with the harness but the model: loops, one person at a time, argsort."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

FOLDERS = {"query": "query", "gallery": "bounding_box_test"}


@dataclass(frozen=True)
class Shown:
    """One image: its path, who is on it, which camera saw it, its pixels (1, 3, H, W) in [0, 1]."""

    path: str
    identity: int
    camera: int
    pixels: Tensor


def read(file: Path) -> Tensor:
    """An image file as (1, 3, H, W) float32 in [0, 1]."""
    with Image.open(file) as image:
        array = np.array(image.convert("RGB"))
    return torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255


class Plain:
    """The paper's evaluation of one model on one folder, written down without a thought for speed."""

    def __init__(self, weights: Path, data: Path, **options: Any) -> None:
        from robustreid.models.load import build, resolve

        self.model = build(resolve(label="plain", weights=weights, **options))
        self.sides: dict[str, list[Shown]] = {}
        for side, folder in FOLDERS.items():
            self.sides[side] = []
            for file in sorted((data / folder).iterdir(), key=lambda file: file.name):
                identity, camera = file.name.split("_")[:2]
                shown = Shown(f"{folder}/{file.name}", int(identity), int(camera[1:].split("s")[0]), read(file))
                self.sides[side].append(shown)

    def features(self, side: str, replaced: dict[str, Tensor] | None = None) -> Tensor:
        """(N, D) of a side, with the pixels of some images replaced."""
        with torch.no_grad():
            images = [(replaced or {}).get(one.path, one.pixels) for one in self.sides[side]]
            return torch.cat([self.model(torch.cat(images[i : i + 20])) for i in range(0, len(images), 20)])

    def attack(self, side: str, levels: int, references: Tensor | None = None) -> dict[str, Tensor]:
        """The paper's I-FGSM at levels/255 on one side, away from everybody of the same name on the other."""
        other = "query" if side == "gallery" else "gallery"
        bank = self.features(other) if references is None else references
        attacked: dict[str, Tensor] = {}
        for identity in {one.identity for one in self.sides[side]} - {-1, 0}:
            ours = [one for one in self.sides[side] if one.identity == identity]
            theirs = [row for row, shown in enumerate(self.sides[other]) if shown.identity == identity]
            if not theirs:
                continue
            clean = torch.cat([one.pixels for one in ours])
            x = clean.clone()
            for _ in range(int(min(levels + 4, 1.25 * levels))):
                x.requires_grad_()
                features = self.model(x)
                loss = sum(((features - bank[row]) ** 2).sum() for row in theirs)
                (gradient,) = torch.autograd.grad(loss, x)
                x = x.detach() + gradient.sign() / 255
                x = torch.min(torch.max(x, clean - levels / 255), clean + levels / 255).clamp(0, 1)
            x = (x * 255).round() / 255
            attacked |= {one.path: x[row : row + 1] for row, one in enumerate(ours)}
        return attacked

    def labels(self, side: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Identities and cameras."""
        return (
            np.array([one.identity for one in self.sides[side]]),
            np.array([one.camera for one in self.sides[side]]),
        )

    @staticmethod
    def rank(
        queries: Tensor,
        gallery: Tensor,
        query_labels: tuple[NDArray[np.int64], NDArray[np.int64]],
        gallery_labels: tuple[NDArray[np.int64], NDArray[np.int64]],
        *,
        same_camera_is_junk: bool = True,
    ) -> dict[str, float]:
        """Rank-1, step and trapezoid mAP over the queries that have a positive."""
        found: dict[str, list[float]] = {"rank1": [], "mAP": [], "mAP_trapezoid": []}
        for feature, identity, camera in zip(queries, *query_labels, strict=True):
            order = torch.argsort(((gallery - feature) ** 2).sum(1), stable=True).numpy()
            identities, cameras = (labels[order] for labels in gallery_labels)
            junk = identities == -1
            if same_camera_is_junk:
                junk |= (identities == identity) & (cameras == camera)
            right = identities[~junk] == identity
            if not right.any():
                continue
            ranks = np.flatnonzero(right) + 1
            hits = np.arange(1, len(ranks) + 1)
            before = np.where(ranks == 1, 1.0, (hits - 1) / np.maximum(ranks - 1, 1))
            found["rank1"].append(float(ranks[0] == 1))
            found["mAP"].append(float((hits / ranks).mean()))
            found["mAP_trapezoid"].append(float(((hits / ranks + before) / 2).mean()))
        return {name: float(np.mean(values)) for name, values in found.items()}

    def scores(self, replaced: dict[str, Tensor] | None = None) -> dict[str, float]:
        """Scores with the pixels of some images replaced."""
        return self.rank(
            self.features("query", replaced),
            self.features("gallery", replaced),
            self.labels("query"),
            self.labels("gallery"),
        )

    def kept(self, run: Path, cell_id: str) -> dict[str, Tensor]:
        """The attacked images that a run kept."""
        folder = run / "images" / cell_id
        manifest = json.loads((folder / "manifest.json").read_text())
        return {entry["image_id"]: read(folder / entry["file"]) for entry in manifest["images"]}


@pytest.fixture(scope="session")
def plain() -> Callable[..., Plain]:
    """A function that gives the plain evaluation of a weights file on a folder."""
    return Plain


@pytest.fixture(scope="session")
def disagreement() -> Callable[..., float]:
    """A function that gives by how many points a row and a plain evaluation differ, at most."""

    def differ(row: dict[str, Any], state: str, expected: dict[str, float]) -> float:
        return max(abs(float(row[f"{metric}_{state}"]) - value) for metric, value in expected.items()) * 100

    return differ
