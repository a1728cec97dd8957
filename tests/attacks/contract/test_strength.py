"""What every attack that climbs promises of its strength: it gains, beats noise, and never loses by more steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from robustreid.attacks.catalogue import AttackSpec, resolve_attack
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import Loss
from robustreid.attacks.optimisers import IFGSM
from robustreid.attacks.threat import Goal, Threat
from torch import Tensor

FIVE = Threat(norm="linf", epsilon=Fraction(5, 255))


@pytest.fixture(scope="module")
def control(real32: Any) -> Tensor:
    """Noise of the same budget."""
    found: Tensor = real32.run(resolve_attack("noise").optimiser, FIVE)
    return found


def assert_gains(scene: Any, spec: AttackSpec, found: Tensor, control: Tensor) -> None:
    """The check: the objective is larger than on clean images, on average and nearly everywhere, and beats noise."""
    objective = spec.objective_for(scene.goal)
    clean, noise, value = (scene.values(images, objective) for images in (scene.images, control, found))
    assert value.mean() > clean.mean()
    assert (value > clean).double().mean() > 0.7
    assert value.mean() - clean.mean() > 5 * abs(noise.mean() - clean.mean())


def test_attacks_gain_and_beat_noise(real32: Any, control: Tensor, climbing_to: tuple[AttackSpec, Goal]) -> None:
    """On a real model the objective rises more than noise lets it rise."""
    spec, goal = climbing_to
    scene = real32.of(spec, goal)
    assert_gains(scene, spec, attacked(scene, spec), control)


def test_a_reversed_loss_is_rejected(
    real32: Any, control: Tensor, climbing: AttackSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wrong twin: descending does not pass for an attack."""
    scene, slope, call = real32.of(climbing), Loss.slope, Loss.__call__

    def reversed_slope(self: Loss, images: Tensor, moment: Any = (0, 0)) -> tuple[Tensor, Tensor]:
        value, gradient = slope(self, images, moment)
        return -value, -gradient

    with monkeypatch.context() as patch:
        patch.setattr(Loss, "slope", reversed_slope)
        patch.setattr(Loss, "__call__", lambda self, images: -call(self, images))
        found = scene.by(climbing, FIVE)
    with pytest.raises(AssertionError):
        assert_gains(scene, climbing, found, control)


#: Images by what was attacked and how: two promises look at the same ones.
_KNOWN: dict[tuple[Any, ...], Tensor] = {}


def attacked(scene: Any, spec: AttackSpec) -> Tensor:
    """The scene's images after an attack at 5/255."""
    key = (scene.images.data_ptr(), scene.goal, scene.side, spec)
    if key not in _KNOWN:
        _KNOWN[key] = scene.by(spec, FIVE)
    return _KNOWN[key]


def assert_length_pays(scene: Any, specs: Iterable[AttackSpec]) -> None:
    """The check: the mean objective does not fall as steps are added, and rises from the first to the last."""
    values = [scene.values(attacked(scene, spec), spec.objective_for(scene.goal)).mean().item() for spec in specs]
    assert sorted(values) == values
    assert values[0] < values[-1]


def test_more_steps_never_hurt_on_average(real32: Any, lengthened: list[AttackSpec]) -> None:
    """On a real model, from a single step to as many as bring it near its end."""
    assert_length_pays(real32.of(lengthened[0]), lengthened)


class Wandering(IFGSM):
    """The wrong twin: after four steps it walks back."""

    def _walk(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw) -> Tensor:
        class _Turning(Loss):
            def slope(inner, images: Tensor, moment: Any = (0, 0)) -> tuple[Tensor, Tensor]:  # noqa: N805
                value, gradient = loss.slope(images, moment)
                return value, gradient if moment[1] < 4 else -gradient

        turning = _Turning(loss._features, loss._objective, loss._references)
        return super()._walk(turning, images, threat, draw)


def test_steps_that_hurt_are_rejected(smooth: Any) -> None:
    """Eight steps of which four lead back are no better than one."""
    specs = [resolve_attack("fna", {"steps": steps}) for steps in (1, 3, 8)]
    assert_length_pays(smooth, specs)
    with pytest.raises(AssertionError):
        assert_length_pays(smooth, [replace(one, optimiser=Wandering(steps=one.optimiser.steps)) for one in specs])  # type: ignore[attr-defined]


def test_more_restarts_never_hurt(smooth: Any) -> None:
    """The best end is kept, so no image is worse off, and some are better."""
    values = [
        smooth.values(smooth.run(resolve_attack("pgd", {"steps": 2, "restarts": restarts}).optimiser, FIVE))
        for restarts in (1, 2, 5)
    ]
    assert (values[1] >= values[0] - 1e-12).all()
    assert (values[2] >= values[1] - 1e-12).all()
    assert (values[2] > values[0] + 1e-9).any()
