"""What a fit is, whatever is minimised: its steps, its seeds, where it stops and goes on, and that it misleads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from robustreid.attacks.loss import NonFiniteGradientError
from robustreid.attacks.universal import CMPS, MUAP, PROCEDURES, Procedure, State, UAPRetrieval
from robustreid.attacks.universal.average_precision import histogram_precision
from robustreid.attacks.universal.procedure import lot_of, saturation, seen_by
from torch import Tensor

EIGHT = Fraction(8, 255)
#: Small enough for few images, which are noise, whose total variation would be most of the loss.
QUICK: dict[str, Procedure] = {
    "uap-retrieval": UAPRetrieval(clusters=8),
    "muap": MUAP(variation=0.0),
    "cmps": CMPS(),
}
Make = Callable[..., Any]


@pytest.fixture(params=PROCEDURES)
def procedure(request: pytest.FixtureRequest) -> Procedure:
    """Every procedure, with parameters for few images."""
    assert request.param in QUICK, f"procedure {request.param} has no row in this suite"
    return QUICK[request.param]


@pytest.fixture
def make_crowd(procedure: Procedure, make_people: Make) -> Make:
    """People as the procedure needs them: of both modalities where it alternates."""
    return partial(make_people, both=procedure.alternates_modalities)


@pytest.fixture
def victim(procedure: Procedure, smooth_embedder: Any, streams: Any) -> Any:
    """A model for those people."""
    return streams if procedure.alternates_modalities else smooth_embedder


def test_every_procedure_has_a_row() -> None:
    """And no row has lost its procedure."""
    assert set(QUICK) == set(PROCEDURES)


def test_the_seed_decides(procedure: Procedure, make_crowd: Make, victim: Any) -> None:
    """Twice the same bits, and the global random state is neither moved nor read."""
    before = torch.get_rng_state()
    first = procedure.fit(make_crowd(), victim, epsilon=EIGHT, epochs=3)
    assert torch.equal(before, torch.get_rng_state())
    with torch.random.fork_rng():
        torch.manual_seed(99)
        second = procedure.fit(make_crowd(), victim, epsilon=EIGHT, epochs=3)
    assert torch.equal(first.delta, second.delta)
    other = procedure.fit(make_crowd(seed=0, n_identities=4), victim, epsilon=EIGHT, epochs=3, seed=1)
    assert not torch.equal(first.delta, other.delta)


def test_it_stays_in_the_ball(procedure: Procedure, make_crowd: Make, victim: Any) -> None:
    """At every epoch, and it is neither empty nor far from the ball at the end."""
    seen: list[State] = []
    end = procedure.fit(make_crowd(), victim, epsilon=EIGHT, epochs=6, on_epoch=seen.append)
    assert [state.epoch for state in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1] is end
    for state in seen:
        assert float(state.delta.abs().max()) <= float(EIGHT) + 1e-9
        assert state.saturation == saturation(state.delta, float(EIGHT))
    assert end.saturation > 0.3


def test_a_broken_fit_goes_on(procedure: Procedure, make_crowd: Make, victim: Any) -> None:
    """From any epoch, bit for bit; a finished one is handed back without a pass."""
    seen: list[State] = []
    end = procedure.fit(make_crowd(), victim, epsilon=EIGHT, epochs=4, on_epoch=seen.append)
    for state in seen[:-1]:
        resumed = procedure.fit(make_crowd(), victim, epsilon=EIGHT, epochs=4, state=state)
        assert torch.equal(end.delta, resumed.delta)
        assert torch.equal(end.velocity, resumed.velocity)

    def never(images: Tensor) -> Tensor:
        raise AssertionError

    assert procedure.fit(make_crowd(), never, epsilon=EIGHT, epochs=4, state=end) is end


def test_work_is_what_is_done(procedure: Procedure, make_crowd: Make, victim: Any) -> None:
    """The units told add up to those that were announced."""
    told: list[float] = []
    procedure.fit(make_crowd(), victim, epsilon=EIGHT, epochs=2, advance=told.append)
    assert sum(told) == procedure.work(make_crowd(), 2)


def precision(people: Any, delta: Tensor, embedder: Any) -> float:
    """Of perturbed images among clean ones, nearly as a ranking has it."""
    view, images = seen_by(embedder, people.modalities), people.images
    with torch.no_grad():
        perturbed, clean = view((images + delta.to(images)).clamp(0, 1)), view(images)
    return float(histogram_precision(perturbed, clean, people.identities, 101))


def assert_misleads(fit: Callable[[Any, Any], State], people: Any, others: Any, embedder: Any) -> None:
    """The check: on people who were not fitted, the score falls far more than by random signs of the whole budget."""
    delta = fit(people, embedder).delta
    random = np.random.default_rng(0)
    controls = [torch.from_numpy(random.choice([-1.0, 1.0], delta.shape)) * float(EIGHT) for _ in range(10)]
    clean, found, *by_chance = (
        precision(others, change, embedder) for change in (torch.zeros_like(delta), delta, *controls)
    )
    assert clean - found > 3 * (clean - float(np.mean(by_chance)))
    assert clean - found > 0.02


def test_it_misleads_on_other_people(procedure: Procedure, make_crowd: Make, victim: Any) -> None:
    """What was fitted on some people works on others."""

    def fit(people: Any, embedder: Any) -> State:
        return procedure.fit(people, embedder, epsilon=EIGHT, epochs=8)

    assert_misleads(fit, make_crowd(), make_crowd(seed=7), victim)


def test_ascending_is_rejected(
    procedure: Procedure, make_crowd: Make, victim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wrong twin: the step goes up the loss."""
    right = type(procedure).normalised
    monkeypatch.setattr(type(procedure), "normalised", lambda self, gradient: -right(self, gradient))

    def fit(people: Any, embedder: Any) -> State:
        return procedure.fit(people, embedder, epsilon=EIGHT, epochs=8)

    with pytest.raises(AssertionError):
        assert_misleads(fit, make_crowd(), make_crowd(seed=7), victim)


def test_the_model_is_left_as_it_was(procedure: Procedure, make_crowd: Make, victim: Any) -> None:
    """In evaluation mode, no gradient kept, training images untouched."""
    people = make_crowd()
    before = people.images.clone()
    procedure.fit(people, victim, epsilon=EIGHT, epochs=1)
    assert not any(module.training for module in victim.modules())
    assert all(parameter.grad is None for parameter in victim.parameters())
    assert torch.equal(before, people.images)


def test_a_gradient_that_is_not_finite_ends_it(procedure: Procedure, make_crowd: Make) -> None:
    """No step can be taken from it."""

    def broken(images: Tensor) -> Tensor:
        flat: Tensor = images.flatten(1)[:, :6]
        return flat / (flat - flat).sqrt() if images.requires_grad else flat

    with pytest.raises(NonFiniteGradientError):
        procedure.fit(make_crowd(), broken, epsilon=EIGHT, epochs=1)


@dataclass(frozen=True, kw_only=True)
class Linear(MUAP):
    """A loss with a known gradient: the sum of the images times fixed weights, others in every step."""

    def value(
        self,
        batch: Any,
        clean: Tensor,
        perturbed: Tensor,
        embedder: Any,
        known: None,
        lot: float,
    ) -> Tensor:
        return (perturbed.mean(0) * weights(lot)).sum()

    def after_step(self, delta: Tensor, radius: float, epoch: int) -> Tensor:
        return delta


def weights(lot: float) -> Tensor:
    """The gradient of a step."""
    return torch.from_numpy(np.random.default_rng(int(lot * 2**40)).standard_normal((3, 9, 6)))


@pytest.mark.parametrize("momentum", [0.0, 0.4, 1.0])
def test_steps(make_people: Callable[..., Any], smooth_embedder: Any, momentum: float) -> None:
    """Velocity m v + g / |g|_1 by channel, a step down its sign, clamped: entry by entry in plain NumPy."""
    found = Linear(momentum=momentum).fit(make_people(), smooth_embedder, epsilon=EIGHT, epochs=4, seed=3)
    delta, velocity = np.zeros((3, 9, 6)), np.zeros((3, 9, 6))
    for epoch in range(4):
        for step in range(3):
            gradient = weights(lot_of(3, epoch, step)).numpy()
            for channel in range(3):
                velocity[channel] = momentum * velocity[channel] + gradient[channel] / np.abs(gradient[channel]).sum()
            delta = np.clip(delta - 0.004 * np.sign(velocity), -8 / 255, 8 / 255)
    np.testing.assert_allclose(found.delta.numpy(), delta, atol=1e-7)
    np.testing.assert_allclose(found.velocity.numpy(), velocity, atol=1e-6)


def test_one_length_for_all_channels_in_uap_retrieval() -> None:
    """The gradient over the sum of its absolute values, that of all channels together; zero stays zero."""
    gradient = torch.arange(-6.0, 6).view(3, 2, 2)
    torch.testing.assert_close(UAPRetrieval().normalised(gradient), gradient / gradient.abs().sum())
    assert torch.equal(UAPRetrieval().normalised(torch.zeros(3, 2, 2)), torch.zeros(3, 2, 2))


def test_steps_of_uap_retrieval_shrink() -> None:
    """A tenth of epsilon, times exp(-0.01) an epoch."""
    sizes = [UAPRetrieval().step_size(EIGHT, epoch) for epoch in range(5)]
    assert sizes[0] == pytest.approx(0.1 * 8 / 255 * np.exp(-0.01))
    assert all(later / earlier == pytest.approx(np.exp(-0.01)) for earlier, later in pairwise(sizes))


def test_uap_retrieval_halves_what_rests() -> None:
    """Only where more than half of it lies on the ball and that share has not changed, and never before the start."""
    state = State(
        epoch=4, delta=torch.ones(3, 2, 2), velocity=torch.zeros(3, 2, 2), saturation=0.7, saturation_before=0.7
    )
    fit = UAPRetrieval()
    assert torch.equal(fit.before_epoch(state), torch.full((3, 2, 2), 0.5))
    for other in (
        replace(state, saturation_before=0.69),
        replace(state, saturation=0.4, saturation_before=0.4),
        replace(state, epoch=0),
    ):
        assert torch.equal(fit.before_epoch(other), state.delta)


def test_muap_rescales_from_the_second_epoch_on() -> None:
    """The first one is left as it is."""
    delta = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 2, 2)
    assert MUAP().after_step(delta, 10.0, 0) is delta
    assert saturation(MUAP().after_step(delta, 10.0, 1), 10.0) >= 0.8


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (MUAP, {"momentum": -1.0}),
        (MUAP, {"bins": 1}),
        (MUAP, {"variation": -1.0}),
        (MUAP, {"step": 0.0}),
        (MUAP, {"saturation": 1.0}),
        (UAPRetrieval, {"clusters": 1}),
        (UAPRetrieval, {"list_length": 1}),
        (UAPRetrieval, {"pair_weight": 0.0, "label_weight": 0.0, "list_weight": 0.0}),
        (UAPRetrieval, {"label_weight": -1.0}),
        (UAPRetrieval, {"margin": -0.1}),
        (UAPRetrieval, {"scale": 0.0}),
        (UAPRetrieval, {"smallest": 0.0}),
        (UAPRetrieval, {"saturation": 1.5}),
        (CMPS, {"clusters": 1}),
        (CMPS, {"margin": -0.1}),
        (CMPS, {"step": 0.0}),
        (CMPS, {"gray": 1.5}),
    ],
)
def test_parameters_out_of_range(kind: type[Procedure], wrong: dict[str, Any]) -> None:
    """Each is refused with its name."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)
