"""`Attack.__call__` trusts no optimiser: what comes back is checked, projected and measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustreid.attacks.base import FLAG_PROJECTED, TOLERANCE, Attack, Attempt, confine
from robustreid.attacks.catalogue import resolve_attack
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import FeatureMemo, Loss, NonFiniteGradientError
from robustreid.attacks.norms import NORM
from robustreid.attacks.objectives import Given
from robustreid.attacks.optimisers import Optimiser, Trace
from robustreid.attacks.references import References
from robustreid.attacks.threat import NormName, Threat
from torch import Tensor

FOUR = Threat(norm="linf", epsilon=Fraction(4, 255))
HALF = Threat(norm="l2", epsilon=Fraction(1, 2))
BOTH = pytest.mark.parametrize("threat", [FOUR, HALF], ids=["linf", "l2"])
NONE = References(count=torch.zeros(4), mean=torch.zeros(4, 1))


@dataclass(frozen=True, kw_only=True)
class Foreign(Optimiser):
    """Does to the images whatever it is given to do."""

    act: Callable[[Tensor], Tensor]

    def run(self, loss: Loss, images: Tensor, threats: Sequence[Threat], draw: Draw) -> list[Tensor]:
        return [self.act(images) for _ in threats]

    def trace(self, threat: Threat) -> Trace:
        return Trace(gradients=(), values=(), final=threat)


def attempt(act: Callable[[Tensor], Tensor], images: Tensor, threat: Threat = FOUR) -> Attempt:
    loss = Loss(FeatureMemo(lambda x: x.flatten(1)[:, :1], len(images)), Given(function=lambda f, r: f[:, 0]), NONE)
    (found,) = Attack(optimiser=Foreign(act=act))(loss, images, [threat], Draw(0, ("",) * len(images)))
    return found


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def images(request: pytest.FixtureRequest, grid_images: Callable[..., Tensor]) -> Tensor:
    """Four images in either type."""
    return grid_images(4, dtype=request.param)


@BOTH
def test_an_overstep_is_projected_and_flagged(images: Tensor, threat: Threat) -> None:
    """A budget that is 1.1 times the one allowed: inside afterwards, measured so, and the page will say it."""
    step = {"linf": 4.4 / 255, "l2": 0.55 / images[0].numel() ** 0.5}[threat.norm]
    clean = images * 0 + 0.5
    found = attempt(lambda x: x + step, clean, threat)
    assert frozenset({FLAG_PROJECTED}) == found.flags
    assert (found.norm <= float(threat.epsilon) + TOLERANCE).all()
    assert (found.norm > 0.99 * float(threat.epsilon)).all()
    torch.testing.assert_close(found.norm, NORM[threat.norm].measure(found.images.double() - clean.double()))


@BOTH
def test_what_leaves_the_range_is_brought_back(images: Tensor, threat: Threat) -> None:
    """Inside the ball, and below 0 or above 1."""
    step = 0.5 / images[0].numel() ** 0.5 * 0.9
    for sign in (-1, 1):
        found = attempt(partial(torch.add, torch.full_like(images, sign * min(step, 4 / 255))), images, threat)
        assert found.flags
        assert found.images.min() >= 0
        assert found.images.max() <= 1


def test_what_is_inside_is_handed_back_bit_for_bit(images: Tensor) -> None:
    """Within the tolerance nothing is touched and nothing is flagged."""
    for share in (1e-3, 0.5, 1.0, 1.0 + 0.9 * TOLERANCE / (4 / 255)):
        moved = images * 0.5 + 0.25
        clean = moved - share * 4 / 255
        found = attempt(partial(torch.add, moved, alpha=0), clean)
        assert frozenset() == found.flags
        assert torch.equal(moved, found.images)


@BOTH
def test_a_neighbour_that_oversteps_changes_nothing(images: Tensor, threat: Threat) -> None:
    """The image that stayed inside keeps its bits, fractions of counts included, beside one that did not."""
    clean = images * 0 + 100 / 255
    moved = clean + 1.00003 / 255
    moved[1] = 0.9
    found = attempt(lambda x: moved, clean, threat)
    assert torch.equal(moved[[0, 2, 3]], found.images[[0, 2, 3]])
    assert found.norm[1] <= float(threat.epsilon) + TOLERANCE


@BOTH
def test_work_in_place_evades_no_budget(images: Tensor, threat: Threat) -> None:
    """An optimiser that moves the images it was given is measured from where they were, and the caller's stay."""
    before = images.clone()
    found = attempt(lambda x: x.mul_(0.1).add_(0.3), images, threat)
    assert torch.equal(before, images)
    assert frozenset({FLAG_PROJECTED}) == found.flags
    assert (
        NORM[threat.norm].measure(found.images.double() - before.double()) <= float(threat.epsilon) + TOLERANCE
    ).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_raises(images: Tensor, value: float) -> None:
    """One bad pixel is enough; it is never clamped into an image."""

    def act(x: Tensor) -> Tensor:
        x[2, 1, 0, 0] = value
        return x

    with pytest.raises(ValueError, match="not finite"):
        attempt(act, images)


@pytest.mark.parametrize("act", [lambda x: x[:2], lambda x: x[..., :-1], lambda x: x.flatten(1), lambda x: x[0]])
def test_another_shape_raises(images: Tensor, act: Callable[[Tensor], Tensor]) -> None:
    """Fewer images, cropped ones, flat ones: never broadcast."""
    with pytest.raises(ValueError, match="handed back images of shape"):
        attempt(act, images)


def test_another_type_is_converted(grid_images: Callable[..., Tensor]) -> None:
    """Float64 images from a float32 batch are rounded first, then measured."""
    images = grid_images(4, dtype=torch.float32)
    found = attempt(lambda x: x.double() + (0.5 - x.double()).sign() * 3 / 255, images)
    assert found.images.dtype == torch.float32
    assert not found.images.requires_grad


@given(seed=st.integers(0, 2**32), size=st.floats(0, 2), epsilon=st.fractions(0, 1, max_denominator=600))
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whatever_comes_back_ends_inside(
    norm: NormName, dtype: torch.dtype, seed: int, size: float, epsilon: Fraction
) -> None:
    """Any images, any radius: the ball and the range hold, and the flag says whether they had held before."""
    source = torch.Generator().manual_seed(seed)
    clean = torch.randint(0, 256, (2, 3, 4, 4), generator=source).to(dtype) / 255
    found = clean + size * torch.randn(clean.shape, generator=source, dtype=dtype)
    threat = Threat(norm=norm, epsilon=epsilon)
    inside, moved, norms = confine(found, clean, threat)
    assert inside.dtype == dtype
    assert torch.equal(norms, NORM[norm].measure(inside.double() - clean.double()))
    assert inside.min() >= 0
    assert inside.max() <= 1
    assert (NORM[norm].measure(inside.double() - clean.double()) <= float(epsilon) + TOLERANCE).all()
    held = (NORM[norm].measure(found.double() - clean.double()) <= float(epsilon) + TOLERANCE).all()
    assert moved == (not held or found.min() < 0 or found.max() > 1)
    assert moved or epsilon == 0 or inside is found


@pytest.mark.parametrize("radius", [Fraction(1, 2), Fraction(2), Fraction(8), Fraction(32)])
def test_rounding_to_float32_does_not_leave_a_large_l2_ball(radius: Fraction) -> None:
    """A flat change of a flat image rounds the same way in every pixel, so the errors add up instead of cancelling."""
    clean = torch.full((1, 3, 256, 128), 200 / 255)
    for sign in (-1, 1):
        inside, moved, _ = confine(clean + sign * 0.21, clean, Threat(norm="l2", epsilon=radius))
        assert moved
        assert NORM["l2"].measure(inside.double() - clean.double()).item() <= float(radius) + TOLERANCE


@BOTH
def test_epsilon_0_is_the_clean_image_for_any_optimiser(images: Tensor, threat: Threat) -> None:
    """Also for one that comes back a last bit off, and for one that ignores the budget."""
    zero = Threat(norm=threat.norm, epsilon=Fraction(0))
    for share, flags in ((0.9999999, frozenset()), (0.5, frozenset({FLAG_PROJECTED}))):
        found = attempt(partial(torch.mul, share), images, zero)
        assert torch.equal(images, found.images)
        assert flags == found.flags
        assert found.norm.tolist() == [0.0] * 4


def test_a_gradient_that_is_not_finite_raises(images: Tensor) -> None:
    """No step is taken from a NaN or an infinity; the error has a name of its own."""
    for embed in (lambda x: (x.flatten(1) - 2).sqrt(), lambda x: (x.flatten(1) * 0).sqrt()):
        loss = Loss(FeatureMemo(embed, 4), Given(function=lambda f, r: f.sum(1)), NONE)
        for name in ("ama-fgsm", "ama-ifgsm", "ama-mifgsm", "pgd"):
            with pytest.raises(NonFiniteGradientError, match="not finite"):
                Attack(optimiser=resolve_attack(name).optimiser)(loss, images, [FOUR], Draw(0, tuple("abcd")))


def test_every_threat_has_its_attempt_in_order(images: Tensor) -> None:
    """One attempt a threat, each with its own norm."""
    threats = [FOUR, HALF, Threat(norm="linf", epsilon=Fraction(1, 255))]
    loss: Any = Loss(FeatureMemo(lambda x: x.flatten(1), 4), Given(function=lambda f, r: f.sum(1)), NONE)
    noise = Attack(optimiser=resolve_attack("noise").optimiser)
    found = noise(loss, images, threats, Draw(0, tuple("abcd")))
    expected = [noise(loss, images, [threat], Draw(0, tuple("abcd")))[0].images for threat in threats]
    assert all(torch.equal(a, b.images) for a, b in zip(expected, found, strict=True))
    assert all((a.norm <= float(t.epsilon) + TOLERANCE).all() for a, t in zip(found, threats, strict=True))
