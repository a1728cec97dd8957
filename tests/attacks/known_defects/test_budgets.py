"""Defects of public implementations: balls that are laid elsewhere, too large, or not the one that was asked for.

Each is written out as it stands there, with a check that it fails and ours passes.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from robustreid.attacks.base import FLAG_PROJECTED
from robustreid.attacks.catalogue import PRESETS, resolve_attack
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import Loss
from robustreid.attacks.optimisers import FGSM, IFGSM, Optimiser, RandomIFGSM
from robustreid.attacks.threat import Threat
from torch import Tensor


def threat(counts: str) -> Threat:
    return Threat(norm="linf", epsilon=Fraction(counts) / 255)


# After its random start, an attack lays the ball around the randomised image.


class AroundItsStart(RandomIFGSM):
    """The defective form: up to two epsilon from the clean image."""

    def _walk(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw) -> Tensor:
        start = self._start(images * 255, threat, draw) / 255
        x, eps = start, float(threat.epsilon)
        for step in range(self.n_steps(threat)):
            x = x + loss.gradient(x, (0, step)).sign() / 255
            x = torch.minimum(torch.maximum(x, start - eps), start + eps).clamp(0, 1)
        return x


def unconfined(scene: Any, optimiser: Optimiser, asked: Threat, objective: Any = "push") -> tuple[Tensor, Tensor]:
    """What an optimiser hands back by itself, and the clean images; nobody has projected it yet."""
    rows = scene.selection.attacked.tolist()
    loss, images, draw = scene.batch(rows, len(rows), objective)
    (found,) = optimiser.run(loss, images, [asked], draw)
    return found, images


def assert_keeps_its_budget(scene: Any, optimiser: Optimiser, asked: Threat, objective: Any = "push") -> None:
    """The check: inside the ball and the range, all of it used somewhere, without the final projection's help."""
    found, clean = unconfined(scene, optimiser, asked, objective)
    size = (found.double() - clean.double()).abs().flatten(1).amax(1)
    assert (size <= float(asked.epsilon) + 1e-6).all()
    assert size.max() >= float(asked.epsilon) - 1e-6
    assert found.min() >= 0
    assert found.max() <= 1


RANDOM_STARTS = [name for name in PRESETS if resolve_attack(name).optimiser.is_random and name != "noise"]


@pytest.mark.parametrize("name", RANDOM_STARTS)
def test_a_random_start_does_not_double_the_budget(smooth: Any, name: str) -> None:
    """SMA, and whatever else starts at random; steps enough that twice the ball would be reached."""
    steps = {"queries": 60} if name == "square" else {"steps": 20}
    spec = resolve_attack(name, steps)
    goal = spec.objective.goals[0]
    assert_keeps_its_budget(smooth.of(spec), spec.optimiser, threat("4"), spec.objective_for(goal))


def test_a_ball_around_the_start_is_rejected(smooth: Any) -> None:
    """The defective form leaves the ball; before it is scored it is brought back, and the row says so."""
    scene, objective = smooth.having(policy="self"), resolve_attack("sma").objective
    wrong = AroundItsStart(steps=15)
    with pytest.raises(AssertionError):
        assert_keeps_its_budget(scene, wrong, threat("4"), objective)
    images, said = scene.attempts(wrong, threat("4"), objective=objective)
    assert all(FLAG_PROJECTED in attempt.flags for attempt in said)
    assert (images - scene.images).abs().max() <= 4 / 255 + 1e-9


# One scalar stands for the standard deviations of three channels.


class ScalarUnit(FGSM):
    """The defective form: a step of eps / 0.226 in normalised pixels, whose units are 0.229, 0.224 and 0.225."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        unit = images.new_tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1) / 0.226
        sign = loss.gradient(images).sign()
        return [(images + float(asked.epsilon) * unit * sign).clamp(0, 1) for asked in threats]


def test_epsilon_is_the_same_in_every_channel(smooth: Any) -> None:
    """In [0, 1] pixel units; a scalar unit leaves the ball in red and does not fill it in green and blue."""
    for epsilon in ("1", "4", "8"):
        assert_keeps_its_budget(smooth, FGSM(), threat(epsilon))
        with pytest.raises(AssertionError):
            assert_keeps_its_budget(smooth, ScalarUnit(), threat(epsilon))


# Pixels are clamped to [-1, 1].


class WideRange(IFGSM):
    """The defective form: images in [0, 1] clamped to [-1, 1]."""

    def _walk(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw) -> Tensor:
        x, eps = images, float(threat.epsilon)
        for step in range(self.n_steps(threat)):
            x = x + loss.gradient(x, (0, step)).sign() / 255
            x = torch.minimum(torch.maximum(x, images - eps), images + eps).clamp(-1, 1)
        return x


def test_pixels_stay_pixels(smooth: Any) -> None:
    """Black stays black or gets lighter; the wide range makes it darker than black."""
    dark = smooth.having(images=(smooth.images * 255 // 32 / 255))
    assert dark.images.min() == 0
    assert_keeps_its_budget(dark, IFGSM(), threat("8"))
    with pytest.raises(AssertionError):
        assert_keeps_its_budget(dark, WideRange(), threat("8"))


# An attack has an epsilon of its own and does not look at the one that was asked for.


class OneEpsilon(IFGSM):
    """The defective form: 0.05, whatever the configuration says."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        return super().run(loss, images, [Threat(norm="linf", epsilon=Fraction(1, 20))] * len(threats), draw)


@pytest.mark.parametrize("counts", ["1", "4", "8", "15"])
def test_fna_uses_the_epsilon_asked_for(smooth: Any, counts: str) -> None:
    """All of it and no more; a fixed one is too large for small balls and too small for large ones."""
    spec = resolve_attack("fna")
    assert_keeps_its_budget(smooth, spec.optimiser, threat(counts), spec.objective)
    with pytest.raises(AssertionError):
        assert_keeps_its_budget(smooth, OneEpsilon(steps=15), threat(counts), spec.objective)
