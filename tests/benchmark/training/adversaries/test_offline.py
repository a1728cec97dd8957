"""Images made beforehand: against a fixed model, on the 8-bit grid, in the ball, aligned with the clean image."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from robustreid.benchmark.progress import Silent
from robustreid.benchmark.training.adversaries.ball import Ball
from robustreid.benchmark.training.adversaries.offline import OfflinePerturb, make_offline
from robustreid.models.load import build, resolve
from robustreid.models.pixels import PixelEmbedder
from robustreid.models.training.augment import Augment, augment
from robustreid.models.training.plan import Batch
from robustreid.models.zoo import find

BALL = Ball(epsilon=Fraction(4, 255), steps=5, step_size=Fraction(1, 255), random_start=False)


@dataclass
class People:
    """Ten images of four people, one of whom has one image."""

    pixels: NDArray[np.uint8]
    identities: NDArray[np.int64]
    cameras: NDArray[np.int64]
    modalities: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels[indices]


@pytest.fixture
def people() -> People:
    random = np.random.default_rng(0)
    return People(
        pixels=random.integers(0, 256, (10, 3, 128, 64), dtype=np.uint8),
        identities=np.array([3, 3, 3, 5, 5, 5, 8, 8, 8, 9]),
        cameras=np.ones(10, dtype=np.int64),
        modalities=np.zeros(10, dtype=np.int64),
    )


@pytest.fixture
def tiny() -> PixelEmbedder:
    entry, weights = find("tiny")
    return build(resolve(label="tiny", architecture=entry.architecture, weights=weights, normalise=entry.normalise))


def make(people: People, tiny: PixelEmbedder, path: Path, ball: Ball = BALL) -> NDArray[np.uint8]:
    """The changed copies."""
    return make_offline(tiny, people, ball, "push", path, device=torch.device("cpu"), reporter=Silent())


def test_they_are_the_papers_attack(people: People, tiny: PixelEmbedder, tmp_path: Path) -> None:
    """Bit for bit I-FGSM of Bai et al. in a plain loop: references are all other images of the person."""
    found = make(people, tiny, tmp_path / "a.npy")
    clean = torch.from_numpy(people.pixels).float() / 255
    with torch.no_grad():
        features = tiny(clean)
    for place in (0, 4, 8):
        others = [i for i in range(10) if people.identities[i] == people.identities[place] and i != place]
        counts = clean[place] * 255
        start = counts.clone()
        for _ in range(5):
            image = (counts / 255)[None].requires_grad_()
            loss = sum((tiny(image)[0] - features[i]).square().sum() for i in others)
            (gradient,) = torch.autograd.grad(loss, image)
            counts = torch.clamp(counts + gradient[0].sign(), start - 4, start + 4).clamp(0, 255)
        agree = (torch.from_numpy(found[place].astype(np.float32)) == counts).float().mean()
        # One image by itself and a batch may differ in last bits, which a sign turns into a step here and there.
        assert float(agree) > 0.98


def test_the_budget_is_kept_after_rounding(people: People, tiny: PixelEmbedder, tmp_path: Path) -> None:
    """Whole counts, also from a random start and with steps that are none."""
    ball = Ball(epsilon=Fraction(7, 510), steps=2, step_size=Fraction(1, 300), seed=1)
    found = make(people, tiny, tmp_path / "a.npy", ball)
    moved = np.abs(found.astype(int) - people.pixels.astype(int))
    assert moved.max() == 3
    assert (moved.reshape(10, -1).max(1) > 0).all()


def test_what_lies_there_is_taken(people: People, tiny: PixelEmbedder, tmp_path: Path) -> None:
    """Made once; a half-written file is not taken for a whole one."""
    (tmp_path / ".a.npy.part").write_bytes(b"half")
    first = np.array(make(people, tiny, tmp_path / "a.npy"))
    time = (tmp_path / "a.npy").stat().st_mtime_ns
    assert (make(people, tiny, tmp_path / "a.npy") == first).all()
    assert (tmp_path / "a.npy").stat().st_mtime_ns == time
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_copies_are_changed_as_the_clean_image_is(people: People) -> None:
    """Mirrored, shifted and erased alike: copies that are the clean images come out as the clean batch."""
    how, places = Augment(erase=0.5), np.array([4, 1, 9])
    pixels = augment(people.pixels[places], how, seed=2, step=6)
    batch = Batch(images=torch.from_numpy(pixels).float() / 255, classes=torch.arange(3), places=places)
    perturb = OfflinePerturb(stored=people.pixels, augment=how, seed=2)
    assert torch.equal(perturb(lambda images: images, batch, 6).images, batch.images)
    assert not torch.equal(perturb(lambda images: images, batch, 7).images, batch.images)
