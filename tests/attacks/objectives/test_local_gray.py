"""LTA's rectangles: their areas, shapes and places, the gray inside, and a new one in every step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from robustreid.attacks.draw import Draw
from robustreid.attacks.objectives.metric import LocalGray
from robustreid.attacks.optimisers import MIFGSM
from robustreid.attacks.threat import Threat
from scipy.stats import kstest  # type: ignore[import-untyped]
from torch import Tensor

N, HEIGHT, WIDTH = 1500, 64, 32


def views(objective: LocalGray, images: Tensor, step: int = 0) -> Tensor:
    draw = Draw(0, tuple(f"image {row}" for row in range(len(images))))
    return objective.view(images, lambda shape: draw.rows(0, step, shape))


def rectangles(changed: Tensor) -> np.ndarray[Any, Any]:
    """(N, 4): top, left, height and width of where (N, H, W) bool is true, each a full rectangle."""
    found = []
    for one in changed:
        rows, columns = one.any(1).nonzero()[:, 0], one.any(0).nonzero()[:, 0]
        assert one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert one.sum() == len(rows) * len(columns)
        found.append([int(rows[0]), int(columns[0]), len(rows), len(columns)])
    return np.array(found)


@pytest.fixture(scope="module")
def found() -> np.ndarray[Any, Any]:
    """The rectangles of many images that are blue, so that gray is never the same colour."""
    blue = torch.zeros(N, 3, HEIGHT, WIDTH)
    blue[:, 2] = 1
    return rectangles((views(LocalGray(), blue) != blue).any(1))


def assert_published(found: np.ndarray[Any, Any]) -> None:
    """The check: areas of 2 to 40 percent, heights 0.3 to 3.3 times widths (wider ones are cut off), anywhere."""
    top, left, tall, wide = found.T
    whole = wide < WIDTH
    area = tall * wide / (HEIGHT * WIDTH)
    # A side is rounded to whole pixels.
    slack = (tall + 0.5) * (wide + 0.5) / (tall * wide)
    assert (area * slack >= 0.02).all()
    assert (area / slack <= 0.4).all()
    assert area.min() < 0.03
    assert area.max() > 0.38
    ratio = tall / wide
    assert (ratio * slack >= 0.3).all()
    assert (ratio[whole] / slack[whole] <= 1 / 0.3).all()
    assert ratio.min() < 0.4
    assert ratio.max() > 3
    # Evenly over what is left of the image.
    for first, size, length in ((top, tall, HEIGHT), (left, wide, WIDTH)):
        room = length - size
        free = room > 4
        share = (first[free] + np.random.default_rng(0).random(free.sum())) / (room[free] + 1)
        assert kstest(share, "uniform").pvalue > 0.01


def test_rectangles_are_those_of_the_public_code(found: np.ndarray[Any, Any]) -> None:
    """Area and aspect ratio drawn evenly, inside the image."""
    assert_published(found)
    narrow = (found[:, 3] < WIDTH) & (found[:, 2] > 12)
    area = (found[:, 2] * found[:, 3] / (HEIGHT * WIDTH))[narrow]
    assert 0.15 < area.mean() < 0.25


@pytest.mark.parametrize("wrong", [LocalGray(smallest=0.1), LocalGray(largest=0.8), LocalGray(aspect=0.9)])
def test_other_rectangles_are_rejected(wrong: LocalGray) -> None:
    """The check fails for areas and shapes of another range."""
    blue = torch.zeros(N, 3, HEIGHT, WIDTH)
    blue[:, 2] = 1
    with pytest.raises(AssertionError):
        assert_published(rectangles((views(wrong, blue) != blue).any(1)))


def test_gray_is_luma(grid_images: Callable[..., Tensor]) -> None:
    """0.299 R + 0.587 G + 0.114 B in all three channels inside, the image itself outside."""
    images = grid_images(20, 40, 20, seed=3)
    seen = views(LocalGray(smallest=1.0, largest=1.0, aspect=1.0), images)
    luma = images[:, 0] * 0.299 + images[:, 1] * 0.587 + images[:, 2] * 0.114
    inside = (seen != images).any(1)
    torch.testing.assert_close(seen[:, 0][inside], luma[inside], rtol=0, atol=1e-15)
    assert (seen[:, 0] == seen[:, 1])[inside].all()
    assert (seen[:, 1] == seen[:, 2])[inside].all()
    assert inside.double().mean() > 0.5
    assert (~inside).any()


def test_every_image_and_step_has_its_own(grid_images: Callable[..., Tensor]) -> None:
    """The same step the same rectangle; another step another one; nobody else's matters."""
    images = grid_images(3, 40, 20)
    first = views(LocalGray(), images)
    assert torch.equal(first, views(LocalGray(), images))
    assert not torch.equal(first, views(LocalGray(), images, step=1))
    assert torch.equal(first[:2], views(LocalGray(), images[:2]))


def test_the_attack_follows_a_new_rectangle_in_every_step(smooth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step of MI-FGSM looks away from the feature of its own view; one view for all is told apart."""
    from fractions import Fraction

    threat, scene = Threat(norm="linf", epsilon=Fraction(5, 255)), smooth.having(policy="self")
    expected = scene.run(MIFGSM(steps=3), threat, objective=LocalGray())

    def looped() -> Tensor:
        """One image at a time, from the equations, its gray views remade from the same numbers."""
        ends: Tensor = scene.images.clone()
        for row in scene.selection.attacked.tolist():
            key, clean = scene.attacked.image_ids[row], scene.images[row][None]
            draw = Draw(scene.seed, (key,)).meant_for("view")
            x, g = clean, torch.zeros_like(clean)
            for step in range(3):
                view = LocalGray().view(clean, partial(draw.rows, 0, step))
                aim = scene.embedder(view).detach()
                leaf = x.clone().requires_grad_()
                f = scene.embedder(leaf)
                loss = (f / f.norm() - aim / aim.norm()).square().sum()
                (now,) = torch.autograd.grad(loss, leaf)
                g = g + now / now.abs().mean()
                x = torch.minimum(torch.maximum(x + g.sign() / 255, clean - 5 / 255), clean + 5 / 255).clamp(0, 1)
            ends[row] = x[0]
        return ends

    torch.testing.assert_close(expected, looped(), rtol=0, atol=1e-9)
    right = Draw.rows
    monkeypatch.setattr(Draw, "rows", lambda self, restart, step, shape: right(self, restart, 0, shape))
    frozen = scene.run(MIFGSM(steps=3), threat, objective=LocalGray())
    monkeypatch.undo()
    assert not torch.allclose(expected, frozen, rtol=0, atol=1e-9)
