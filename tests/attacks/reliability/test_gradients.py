"""When a gradient leads nowhere, and whether an attack without a budget wins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import FeatureMemo, Loss, NonFiniteGradientError
from robustreid.attacks.objectives import OBJECTIVES, Objective
from robustreid.attacks.references import References
from robustreid.attacks.reliability.gradients import gradient_findings, leads_nowhere, random_point
from robustreid.attacks.reliability.thresholds import PROBE, UNBOUNDED_EVERY, UNBOUNDED_STEPS
from robustreid.attacks.reliability.unbounded import Walk, attack_unbounded
from robustreid.models.base import Embedder
from torch import Tensor

Model = Embedder
BATCH, PADDING, SIZE = 4, 2, (3, 8, 4)


@pytest.fixture
def images() -> Tensor:
    """Four 8-bit images and two black ones of padding."""
    found = torch.randint(0, 256, (BATCH + PADDING, *SIZE), generator=torch.Generator().manual_seed(0)) / 255
    found[BATCH:] = 0
    return found


@pytest.fixture
def bind(images: Tensor) -> Callable[..., Loss]:
    """A function that binds a model and an objective, the references being other people's features."""

    def make(model: Model, objective: Objective | None = None, *, at: Tensor | None = None) -> Loss:
        shown = images if at is None else at
        with torch.no_grad():
            clean = model(shown).detach()
        references = References(count=torch.ones(len(shown)), mean=clean.roll(1, 0), clean=clean)
        return Loss(FeatureMemo(model, BATCH), objective or OBJECTIVES["push"](), references, clean=images)

    return make


@pytest.fixture
def draw() -> Draw:
    """The random numbers of the batch."""
    return Draw(0, tuple("abcd") + ("",) * PADDING)


def matrix() -> Tensor:
    return torch.randn(3 * 8 * 4, 6, generator=torch.Generator().manual_seed(1))


def linear(images: Tensor) -> Tensor:
    return images.flatten(1) @ matrix()


def rounds(images: Tensor) -> Tensor:
    return linear((images * 7).round() / 7)


def cuts(images: Tensor) -> Tensor:
    return linear(images.detach())


def saturates(images: Tensor) -> Tensor:
    return torch.tanh(1e6 * linear(images))


def flat_on_the_grid(images: Tensor) -> Tensor:
    """Its slope is 1e-8 at 8-bit images, and far from them one: found by the norm, as no entry is zero."""
    off = (images * 255 - (images * 255).round()).abs()
    return linear(torch.where(off < 1e-3, 1e-8 * images, images))


def sees_one_channel(images: Tensor) -> Tensor:
    return linear(images * torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1))


def root_of_zero(images: Tensor) -> Tensor:
    return linear(images) + (images - images).sum((1, 2, 3)).sqrt()[:, None]


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        (linear, set()),
        (rounds, {"zero-gradient"}),
        (cuts, {"zero-gradient"}),
        (saturates, {"zero-gradient"}),
        (flat_on_the_grid, {"zero-gradient"}),
        (sees_one_channel, {"zero-gradient"}),
        (root_of_zero, {"non-finite-gradient"}),
    ],
)
def test_a_gradient_that_leads_nowhere_is_flagged(
    bind: Callable[..., Loss], images: Tensor, draw: Draw, model: Model, flags: set[str]
) -> None:
    """By exact zeros or by its norm; what is not finite has a flag of its own."""
    assert gradient_findings(bind(model), images, BATCH, draw) == flags


def test_an_objective_that_vanishes_by_nature_is_measured_elsewhere(
    bind: Callable[..., Loss], images: Tensor, draw: Draw
) -> None:
    """At the clean image the gradient of `self` is zero on every model; at a random point only on a dead one."""
    own = OBJECTIVES["self"]()
    assert gradient_findings(bind(linear, own), images, BATCH, draw) == {"zero-gradient"}
    assert gradient_findings(bind(linear, own), images, BATCH, draw, vanishes=True) == set()
    assert gradient_findings(bind(rounds, own), images, BATCH, draw, vanishes=True) == {"zero-gradient"}


def test_thresholds_are_where_they_are_said_to_be() -> None:
    """Half of the entries, 1e-4 of the norm, and the median image decides."""
    some = torch.ones(5, *SIZE)
    half = some.clone()
    half[:, :, ::2] = 0
    assert not leads_nowhere(half, some)
    half[:, :, 1, 0] = 0
    assert leads_nowhere(half, some)
    assert leads_nowhere(some * 0.9e-4, some)
    assert not leads_nowhere(some * 1.1e-4, some)
    few = some.clone()
    few[:2] *= 1e-6
    assert not leads_nowhere(few, some)
    few[2] *= 1e-6
    assert leads_nowhere(few, some)
    assert not leads_nowhere(some[:0], some[:0])


def test_random_points_lie_in_the_probe_s_ball(images: Tensor, draw: Draw) -> None:
    """Inside the radius and the pixel range, different by index, the same every time."""
    one, other = random_point(images, draw, 0), random_point(images, draw, 1)
    assert torch.equal(one, random_point(images, draw, 0))
    assert not torch.equal(one, other)
    assert 0.8 * PROBE < float((one - images).abs().max()) <= PROBE + 1e-6
    assert 0 <= float(one.min()) <= float(one.max()) <= 1


def test_an_unbounded_attack_ends_as_soon_as_it_has_won(bind: Callable[..., Loss], images: Tensor) -> None:
    """It looks every few steps; where it cannot win it takes all of them, and says so."""
    looks: list[Tensor] = []

    def far(attacked: list[Tensor]) -> bool:
        looks.append(attacked[0])
        return float((attacked[0] - images)[:BATCH].abs().mean()) > 0.3

    won = attack_unbounded([Walk(loss=bind(linear), images=images)], far)
    assert won.reached
    assert won.steps == UNBOUNDED_EVERY * len(looks) < UNBOUNDED_STEPS
    assert all(0 <= float(each.min()) <= float(each.max()) <= 1 for each in looks)
    lost = attack_unbounded([Walk(loss=bind(cuts), images=images)], far)
    assert (lost.reached, lost.steps) == (False, UNBOUNDED_STEPS)
    assert torch.equal(looks[-1], images)


def test_a_random_start_would_hide_a_dead_gradient(images: Tensor, draw: Draw) -> None:
    """Why it starts at the clean images: from a random point of this ball, noise alone reaches the goal above."""
    noise = draw.batch(0, 0, images)
    assert float((noise - images)[:BATCH].abs().mean()) > 0.3


def test_a_gradient_that_is_not_finite_ends_an_unbounded_attack(bind: Callable[..., Loss], images: Tensor) -> None:
    """The caller turns it into a flag."""
    with pytest.raises(NonFiniteGradientError):
        attack_unbounded([Walk(loss=bind(root_of_zero), images=images)], lambda _: False)


def test_a_graph_that_is_cut_has_a_gradient_of_zero(bind: Callable[..., Loss], images: Tensor) -> None:
    """The loss of such a model has a value, no slope, and counts its passes like any other."""
    loss = bind(cuts)
    value, gradient = loss.slope(images)
    assert torch.equal(value, bind(linear)(images))
    assert not gradient.any()
    assert (loss.passes.forwards, loss.passes.backwards) == (BATCH, BATCH)
