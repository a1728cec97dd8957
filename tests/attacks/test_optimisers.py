"""Optimisers by themselves: schedules, budgets, and what they do at epsilon 0 and at 1/255."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustreid.attacks.base import Attack, Attempt
from robustreid.attacks.catalogue import PRESETS, resolve_attack
from robustreid.attacks.counts import quantise
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import FeatureMemo, Loss
from robustreid.attacks.norms import NORM
from robustreid.attacks.objectives import Given
from robustreid.attacks.optimisers import FGSM, IFGSM, MIFGSM, PGD, Noise, Optimiser
from robustreid.attacks.references import References
from robustreid.attacks.threat import NormName, Threat
from torch import Tensor

#: Every optimiser, with few steps.
EVERY: list[Optimiser] = [
    FGSM(),
    IFGSM(),
    MIFGSM(),
    MIFGSM(momentum=0.5, step_size=Fraction(3, 510), steps=3),
    PGD(steps=3),
    PGD(steps=2, restarts=2),
    Noise(),
]
IDS = ("a", "b")
NONE = References(count=torch.zeros(2), mean=torch.zeros(2, 1))


def linf(counts: Fraction | int) -> Threat:
    return Threat(norm="linf", epsilon=Fraction(counts) / 255)


def wavy(seed: int, dtype: torch.dtype) -> Loss:
    """A loss whose gradient is another one at every step, and zero at some pixels."""
    source = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 60, generator=source, dtype=dtype) * torch.randint(0, 2, (2, 60), generator=source)
    scale = 10.0 ** torch.randint(-9, 5, (2, 1), generator=source)

    def embed(images: Tensor) -> Tensor:
        return torch.sin(40 * images.flatten(1) + seed % 7)

    return Loss(FeatureMemo(embed, 2), Given(function=lambda f, r: (scale * weight * f).sum(1)), NONE)


def attempt(optimiser: Optimiser, threat: Threat, seed: int, dtype: torch.dtype) -> tuple[Tensor, Attempt]:
    source = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2, 3, 5, 4), generator=source).to(dtype) / 255
    (found,) = Attack(optimiser=optimiser)(wavy(seed, dtype), images, [threat], Draw(seed, IDS))
    return images, found


@pytest.mark.parametrize(
    ("expected", "counts"),
    [(1, 1), (2, 2), (3, 3), (5, 4), (6, 5), (10, 8), (12, 10), (15, 12), (20, 16), (36, 32), (1, 0)],
)
def test_the_schedule_of_the_paper(expected: int, counts: Fraction | int) -> None:
    """int(min(eps + 4, 1.25 eps)), exact; where that is none, one step is still taken so that nothing is skipped."""
    assert expected == IFGSM().n_steps(linf(counts)) == MIFGSM().n_steps(linf(counts))
    assert expected == len(IFGSM().trace(linf(counts)).gradients)
    assert IFGSM(steps=7).n_steps(linf(counts)) == 7


def test_the_schedule_of_fractions() -> None:
    """Exact where a float's last bit would lose a step: 1.25 times 4/255 is five steps, times 4.5/255 five, not six."""
    expected = {Fraction(1, 3): 1, Fraction(3, 2): 1, Fraction(9, 2): 5, Fraction(24, 5): 6, Fraction(4): 5}
    assert expected == {counts: IFGSM().n_steps(linf(counts)) for counts in expected}


@given(
    optimiser=st.sampled_from(EVERY),
    norm=st.sampled_from(["linf", "l2"]),
    counts=st.one_of(st.integers(0, 40).map(Fraction), st.fractions(0, 40, max_denominator=100)),
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_budgets_hold(optimiser: Optimiser, norm: NormName, counts: Fraction, seed: int, dtype: torch.dtype) -> None:
    """Without the final projection's help, before and after rounding to 8 bit, for whole and fractional radii."""
    threat = Threat(norm=norm, epsilon=counts / 255)
    images, found = attempt(optimiser, threat, seed, dtype)
    assert frozenset() == found.flags
    rounded = quantise(found.images, images)
    assert torch.equal((rounded * 255).round() / 255, rounded)
    for moved in (found.images, rounded):
        assert (NORM[norm].measure(moved.double() - images.double()) <= float(threat.epsilon) + 1e-6).all()
        assert moved.min() >= 0
        assert moved.max() <= 1
    for other in NORM.values():
        before, after = (other.measure(moved.double() - images.double()) for moved in (found.images, rounded))
        assert (after <= before + 1e-6).all()


@given(optimiser=st.sampled_from(EVERY), counts=st.fractions(0, 20, max_denominator=3), seed=st.integers(0, 2**32))
def test_whole_is_what_it_says(optimiser: Optimiser, counts: Fraction, seed: int) -> None:
    """Where images are 8-bit by construction, rounding them changes no bit."""
    images, found = attempt(optimiser, linf(counts), seed, torch.float32)
    if optimiser.is_whole(linf(counts)):
        assert torch.equal(found.images, quantise(found.images, images))
    else:
        assert counts.denominator > 1 or not isinstance(optimiser, FGSM | Noise)


#: A search asks more often than anything else steps.
SHORTER: dict[str, dict[str, int]] = {"square": {"queries": 30}, "pire": {"steps": 20}, "tma": {"steps": 20}}


@pytest.mark.parametrize(
    "optimiser", [*EVERY, *(resolve_attack(name, SHORTER.get(name)).optimiser for name in PRESETS)]
)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_epsilon_0_walks_every_step_and_ends_where_it_began(
    optimiser: Optimiser, norm: NormName, dtype: torch.dtype
) -> None:
    """The clean image bit for bit, and as many passes as anywhere else: no short cut."""
    zero, some = (Threat(norm=norm, epsilon=Fraction(counts) / 255) for counts in (0, 1))
    images, found = attempt(optimiser, zero, 3, dtype)
    assert torch.equal(images, found.images)
    assert not torch.signbit(found.images).any()
    assert frozenset() == found.flags
    assert found.norm.tolist() == [0.0, 0.0]
    trace = optimiser.trace(zero)
    assert 2 * len(trace.gradients) == found.backwards == attempt(optimiser, some, 3, dtype)[1].backwards
    assert 2 * (len(trace.gradients) + len(trace.values)) == found.forwards


def test_passes_of_the_presets() -> None:
    """Gradients and values that each attack needs by itself at 5/255, in image passes of a batch of two."""
    expected = {
        "ama-fgsm": (2, 2),
        "ama-ifgsm": (12, 12),
        "ama-mifgsm": (12, 12),
        "pgd": (40, 40),
        "noise": (0, 0),
        "apgd": (102, 100),
        "sma": (30, 30),
        "odfa": (12, 12),
        "fna": (30, 30),
        "pire": (200, 200),
    }
    found = {name: attempt(resolve_attack(name).optimiser, linf(5), 0, torch.float64)[1] for name in expected}
    assert expected == {name: (one.forwards, one.backwards) for name, one in found.items()}
    restarts = attempt(PGD(steps=4, restarts=3), linf(5), 0, torch.float64)[1]
    assert (restarts.forwards, restarts.backwards) == (2 * (4 * 3 + 3), 2 * 4 * 3)


@pytest.mark.parametrize("goal", ["untargeted", "targeted"])
def test_at_one_level_the_paper_attacks_are_one(real32: Any, goal: str) -> None:
    """At 1/255 FGSM, I-FGSM and MI-FGSM give the same bits; at 2/255 they need not, and at 5/255 they differ."""
    scene = real32.having(goal=goal)
    names = ("ama-fgsm", "ama-ifgsm", "ama-mifgsm")
    one = [scene.run(resolve_attack(name).optimiser, linf(1)) for name in names]
    assert not torch.equal(scene.images, one[0])
    assert torch.equal(one[0], one[1])
    assert torch.equal(one[0], one[2])
    five = [scene.run(resolve_attack(name).optimiser, linf(5)) for name in names]
    assert not torch.equal(five[0], five[1])
    assert not torch.equal(five[1], five[2])


def test_fgsm_moves_every_pixel_by_the_whole_radius(real32: Any) -> None:
    """Wherever the range leaves room, as 8-bit levels."""
    change = ((real32.run(FGSM(), linf(7)) - real32.images) * 255).round()
    room = (real32.images * 255 >= 7) & (real32.images * 255 <= 248)
    assert {7.0} == set(change[room].abs().tolist())


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("momentum", lambda: MIFGSM(momentum=-0.1)),
        ("steps", lambda: IFGSM(steps=0)),
        ("step_size", lambda: IFGSM(step_size=Fraction(0))),
        ("restarts", lambda: PGD(restarts=0)),
        ("step_ratio", lambda: PGD(step_ratio=-1.0)),
    ],
)
def test_parameters_without_meaning_are_refused(message: str, wrong: Any) -> None:
    """Each names its parameter."""
    with pytest.raises(ValueError, match=message):
        wrong()
