"""Shared work: fewer passes, the number that the traces foretell, and not one bit of difference."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
import torch
from robustreid.attacks.base import Attack
from robustreid.attacks.counts import quantise
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import Loss
from robustreid.attacks.memo import Memo
from robustreid.attacks.optimisers import FGSM, IFGSM, MIFGSM, PGD, Noise, Optimiser
from robustreid.attacks.threat import NormName, Threat
from torch import Tensor, nn

Cell = tuple[Optimiser, Threat]


def cells(optimisers: Iterable[Optimiser], norm: NormName, *radii: str) -> list[Cell]:
    return [(one, Threat(norm=norm, epsilon=Fraction(radius))) for one in optimisers for radius in radii]


COUNTS = tuple(f"{counts}/255" for counts in (1, 2, 4, 5, 8, 16))
PAPER = cells([FGSM(), IFGSM(), MIFGSM()], "linf", *COUNTS)
WHOLE = Fraction(1, 4)
GRIDS: dict[str, list[Cell]] = {
    "paper": PAPER,
    "zero": cells([FGSM(), IFGSM(), MIFGSM(momentum=0.5)], "linf", "0", "1/255", "5/255"),
    "pgd": cells([PGD(steps=3), PGD(steps=2, restarts=2), Noise(), FGSM()], "linf", "0", "2/255", "5/255"),
    "l2": cells(
        [FGSM(), IFGSM(steps=3, step_size=WHOLE), MIFGSM(steps=4, step_size=WHOLE), PGD(steps=2), Noise()],
        "l2",
        *("0", "1/5", "3/5", "2"),
    ),
}


#: Where rounding to 8 bit, or a ball that binds at once, may make images of different names equal by chance.
FRACTIONS = cells(
    [FGSM(), IFGSM(), MIFGSM(), IFGSM(steps=3, step_size=Fraction(3, 510))], "linf", "1/255", "3/510", "5/510", "4/255"
)
MULTIPLES = cells([FGSM(), IFGSM(steps=3, step_size=WHOLE), MIFGSM(steps=3, step_size=WHOLE)], "l2", "1/4", "1/2", "2")


@dataclass(frozen=True)
class Cost:
    gradients: int
    forwards: int


def foretold(grid: Iterable[Cell]) -> Cost:
    """Distinct gradients, and distinct scored images beyond those at which a gradient is taken anyway."""
    gradients: set[Hashable] = set()
    forwards: set[Hashable] = set()
    for optimiser, threat in grid:
        trace = optimiser.trace(threat)
        gradients.update(trace.gradients)
        forwards.update((*trace.values, trace.final))
        if not optimiser.is_whole(threat):
            forwards.add(("8-bit", trace.final))
    return Cost(len(gradients), len(forwards - gradients))


class Plain(Loss):
    """No memory at all: every gradient and every value is computed where it is asked for."""

    def gradient(self, images: Tensor, moment: Any = (0, 0)) -> Tensor:
        leaf = images.detach().clone().requires_grad_()
        with torch.enable_grad():
            total = self._objective(self._features.embedder(leaf), self._references).sum()
        found: Tensor = torch.autograd.grad(total, leaf)[0]
        return found

    def __call__(self, images: Tensor) -> Tensor:
        return self._objective(self._features.embedder(images), self._references).detach()


def together(scene: Any, grid: Iterable[Cell]) -> tuple[list[Tensor], list[Tensor], Cost]:
    """Attacked images and what is scored of them, cell by cell, and what was really spent a batch.

    All cells are attacked before the first is scored: an image that is scored first and gets its gradient later would
    be passed through the model twice.
    """
    rows = scene.selection.attacked.tolist()
    loss, images, draw = scene.batch(rows, len(rows))
    found = [Attack(optimiser=optimiser)(loss, images, [threat], draw)[0].images for optimiser, threat in grid]
    scored = []
    for one in found:
        scored.append(loss._features.features(quantise(one, images)))
        loss._features.features(one)
    gradients = loss.passes.backwards_spent
    forwards = loss.passes.forwards_spent - gradients
    assert gradients % len(rows) == forwards % len(rows) == 0
    return found, scored, Cost(gradients // len(rows), forwards // len(rows))


def alone(scene: Any, grid: Iterable[Cell], *, plain: bool) -> tuple[list[Tensor], list[Tensor], int]:
    """The same, each cell with a loss of its own, and how many gradients that took."""
    rows = scene.selection.attacked.tolist()
    found, scored, gradients = [], [], 0
    for optimiser, threat in grid:
        loss, images, draw = scene.batch(rows, len(rows))
        if plain:
            loss = Plain(loss._features, loss._objective, loss._references)
        (attempt,) = Attack(optimiser=optimiser)(loss, images, [threat], draw)
        found.append(attempt.images)
        with torch.no_grad():
            scored.append(scene.embedder(quantise(attempt.images, images)))
        gradients += loss.passes.backwards_spent // len(rows)
    return found, scored, gradients


def assert_sharing_changes_nothing(scene: Any, grid: list[Cell], *, plain: bool) -> None:
    """The check: every cell of the sweep has the bits of the same cell run alone, before and after the model."""
    shared, scored, _ = together(scene, grid)
    single, scored_alone, _ = alone(scene, grid, plain=plain)
    for cell, one, other, f, g in zip(grid, shared, single, scored, scored_alone, strict=True):
        assert torch.equal(other, one), cell
        assert torch.equal(g, f), cell


def test_the_paper_grid_needs_40_gradients_in_place_of_94() -> None:
    """{FGSM, I, MI} x {1, 2, 4, 5, 8, 16}/255: 94 gradients asked for, 40 distinct, and 13 forwards beyond."""
    assert sum(len(optimiser.trace(threat).gradients) for optimiser, threat in PAPER) == 94
    assert Cost(40, 13) == foretold(PAPER)


@pytest.mark.parametrize("name", GRIDS)
def test_what_is_spent_is_what_was_foretold(real32: Any, name: str) -> None:
    """On a real model, by its own counters; and equal names are equal images, since otherwise more would be spent."""
    assert foretold(GRIDS[name]) == together(real32, GRIDS[name])[2]


@pytest.mark.parametrize("grid", [FRACTIONS, MULTIPLES], ids=["fractions", "multiples"])
def test_never_more_is_spent_than_was_foretold(real32: Any, grid: list[Cell]) -> None:
    """Names may be told apart where images turn out equal, never the other way round."""
    limit, spent = foretold(grid), together(real32, grid)[2]
    assert spent.gradients <= limit.gradients
    assert spent.gradients + spent.forwards <= limit.gradients + limit.forwards


class Recording(Plain):
    """Keeps the images at which gradients and values are asked for."""

    def gradient(self, images: Tensor, moment: Any = (0, 0)) -> Tensor:
        self.__dict__.setdefault("asked", []).append(images.clone())
        return super().gradient(images)

    def __call__(self, images: Tensor) -> Tensor:
        self.__dict__.setdefault("read", []).append(images.clone())
        return super().__call__(images)


def test_equal_names_are_equal_images(smooth: Any) -> None:
    """Every name of every trace stands for one image, bit for bit, whoever walks there."""
    rows, known = smooth.selection.attacked.tolist(), dict[Hashable, Tensor]()
    grid = [cell for one in GRIDS.values() for cell in one] + FRACTIONS + MULTIPLES
    for optimiser, threat in grid:
        loss, images, draw = smooth.batch(rows, len(rows))
        recording = Recording(loss._features, loss._objective, loss._references)
        (found,) = optimiser.run(recording, images, [threat], draw)
        trace = optimiser.trace(threat)
        walked = [*recording.__dict__.get("asked", []), *recording.__dict__.get("read", []), found]
        for name, image in zip((*trace.gradients, *trace.values, trace.final), walked, strict=True):
            assert torch.equal(known.setdefault(name, image), image), name
    assert len(known) > 100


@pytest.mark.parametrize("name", GRIDS)
def test_sharing_changes_no_bit(real32: Any, name: str) -> None:
    """Images and features of a sweep are those of each cell run alone."""
    assert_sharing_changes_nothing(real32, GRIDS[name], plain=False)


@pytest.mark.parametrize("name", GRIDS)
def test_memory_changes_no_bit(smooth: Any, name: str) -> None:
    """Nor does the memory of a cell alone: the twin computes everything where it is asked for."""
    assert_sharing_changes_nothing(smooth, GRIDS[name], plain=True)


@pytest.mark.parametrize("goal", ["untargeted", "targeted"])
def test_the_order_of_cells_changes_no_bit(smooth: Any, goal: str) -> None:
    """Forward, backward, and twice over."""
    grid = PAPER + GRIDS["pgd"]
    scene = smooth.having(goal=goal)
    forward, backward, twice = (together(scene, one)[0] for one in (grid, grid[::-1], grid * 2))
    assert all(torch.equal(a, b) for a, b in zip(forward, backward[::-1], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(forward * 2, twice, strict=True))


def test_alone_every_cell_pays_its_own(smooth: Any) -> None:
    """Precondition of the saving: without sharing, all 94 gradients are computed."""
    assert alone(smooth, PAPER, plain=False)[2] == 94


def test_another_images_gradient_is_rejected(smooth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong twin: a memory that believes its cheap key, made so coarse that other images have it too."""
    monkeypatch.setattr(Memo, "key", staticmethod(lambda images: round(10 * images.mean().item())))
    assert_sharing_changes_nothing(smooth, PAPER, plain=True)

    def first(self: Memo, key: int, images: Tensor, name: Any = None) -> tuple[Tensor, ...] | None:
        known = self.entries.get(key)
        return known.values.get(name) if known else None

    monkeypatch.setattr(Memo, "get", first)
    with pytest.raises(AssertionError):
        assert_sharing_changes_nothing(smooth, PAPER, plain=True)


class Wild(nn.Module):
    """Features whose gradients change in size from step to step, by an amount that each image sets for itself."""

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        speed = 3 + 300 * (flat[:, :1] > 0.5)
        return torch.cat([torch.sin(speed * flat), torch.cos(7 * flat).cumsum(1)], 1)


def assert_alone_is_as_in_company(scene: Any, optimiser: Optimiser) -> None:
    """The check: each image attacked alone ends where it ends among others, in either order."""
    threat = Threat(norm="linf", epsilon=Fraction(8, 255))
    expected = scene.run(optimiser, threat, size=1)
    rows = scene.selection.attacked.tolist()
    for order in (rows, rows[::-1]):
        torch.testing.assert_close(scene.run(optimiser, threat, order=order), expected, rtol=0, atol=1e-6)


@dataclass(frozen=True, kw_only=True)
class _SharedMomentum(MIFGSM):
    """The wrong twin: the direction is normalised over the batch, so a loud image silences a quiet one."""

    def _walk(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw) -> Tensor:
        moved, direction = images, torch.zeros_like(images)
        low, high = images - float(threat.epsilon), images + float(threat.epsilon)
        for _ in range(self.n_steps(threat)):
            gradient = loss.gradient(moved)
            direction = direction + gradient / gradient.abs().mean()
            moved = torch.minimum(torch.maximum(moved + direction.sign() / 255, low), high).clamp(0, 1)
        return moved


def test_momentum_does_not_leak_between_images(smooth: Any) -> None:
    """Each image's gradient is divided by its own mean size; a normalisation over the batch is rejected."""
    scene = smooth.having(embedder=Wild())
    for optimiser in (MIFGSM(), IFGSM(), PGD(steps=3, restarts=2)):
        assert_alone_is_as_in_company(scene, optimiser)
    with pytest.raises(AssertionError, match="not close"):
        assert_alone_is_as_in_company(scene, _SharedMomentum())
