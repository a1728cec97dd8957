"""What every attack promises of its budget: inside it by itself, and at epsilon 0 the clean image bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from robustreid.attacks.catalogue import AttackSpec, resolve_attack
from robustreid.attacks.counts import quantise
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import Loss
from robustreid.attacks.norms import NORM
from robustreid.attacks.optimisers import FGSM
from robustreid.attacks.threat import Goal, NormName, Threat
from torch import Tensor

ZERO, FIVE = (Threat(norm="linf", epsilon=Fraction(counts, 255)) for counts in (0, 5))


def threats(spec: AttackSpec) -> Iterator[Threat]:
    for norm, radii in (("linf", ("0", "1/255", "5/255", "3/510")), ("l2", ("0", "1/5", "3/2"))):
        if norm == "linf" or not spec.linf_only:
            for radius in radii:
                chosen: NormName = "linf" if norm == "linf" else "l2"
                yield Threat(norm=chosen, epsilon=Fraction(radius))


def assert_keeps_budget(scene: Any, spec: AttackSpec, threat: Threat) -> None:
    """The check: inside the ball without help, in [0, 1], as 8-bit images too, and only attacked images moved."""
    found, said = scene.attempts_by(spec, threat)
    assert all("projected" not in attempt.flags for attempt in said)
    norm = NORM[threat.norm]
    for images in (found, quantise(found, scene.images)):
        assert (norm.measure(images.double() - scene.images.double()) <= float(threat.epsilon) + 1e-6).all()
        assert images.min() >= 0
        assert images.max() <= 1
    clean = np.setdiff1d(np.arange(len(found)), scene.selection.attacked)
    assert torch.equal(scene.images[clean], found[clean])
    assert (threat.epsilon == 0) == torch.equal(scene.images, found)


def test_budget(smooth: Any, spec: AttackSpec, goals: list[Goal]) -> None:
    """Whole and fractional radii, both norms where both are defined; epsilon 0 is the clean image bit for bit."""
    for goal, threat in itertools.product(goals, threats(spec)):
        assert_keeps_budget(smooth.of(spec, goal), spec, threat)


def test_budget_in_float32_on_a_real_model(real32: Any, brief: AttackSpec) -> None:
    """The type, the size and the model that are really used."""
    for threat in (*([Threat(norm="l2", epsilon=Fraction(3))] if not brief.linf_only else []), FIVE):
        assert_keeps_budget(real32.of(brief), brief, threat)


class Greedy(FGSM):
    """The wrong twin: a budget that is 1.1 times the one allowed."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        larger = [replace(threat, epsilon=threat.epsilon * Fraction(11, 10)) for threat in threats]
        return super().run(loss, images, larger, draw)


class Restless(FGSM):
    """The wrong twin: one grey level at least, at epsilon 0 too."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        at_least = [replace(threat, epsilon=max(threat.epsilon, Fraction(1, 255))) for threat in threats]
        return super().run(loss, images, at_least, draw)


@pytest.mark.parametrize(("wrong", "threat"), [(Greedy(), FIVE), (Restless(), ZERO)])
def test_a_larger_budget_is_rejected(smooth: Any, wrong: Any, threat: Threat) -> None:
    """The check of the budget fails for it, although the final projection brings its images back."""
    spec = resolve_attack("ama-fgsm")
    assert_keeps_budget(smooth, spec, threat)
    with pytest.raises(AssertionError):
        assert_keeps_budget(smooth, replace(spec, optimiser=wrong), threat)
