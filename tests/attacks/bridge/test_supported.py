"""What every supported attack of the package promises here, on the real small model."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from robustreid import UserError
from robustreid.attacks.bridge import foreign
from robustreid.attacks.bridge.foreign import FLAG_BATCH, FLAG_RANDOMNESS, Foreign, planned_passes
from robustreid.attacks.bridge.names import FACTS
from robustreid.attacks.catalogue import AttackSpec, resolve_attack
from robustreid.attacks.norms import NORM
from robustreid.attacks.threat import Goal, NormName

SUPPORTED = [name for name, fact in FACTS.items() if fact.status == "supported"]
#: Each supported attack under each norm and goal that it has.
CASES = [
    pytest.param(name, norm, goal, id=f"{name}-{norm}-{goal}")
    for name in SUPPORTED
    for norm in FACTS[name].norms
    for goal in FACTS[name].goals
]
#: Those whose result of an image belongs to that image alone.
STEADY = ["FGSM", "BIM", "MIFGSM", "NIFGSM"]


@pytest.mark.parametrize(("name", "norm", "goal"), CASES)
def test_budget_gain_and_passes(
    real32: Any, quick: Callable[[str], AttackSpec], ball: Any, name: str, norm: NormName, goal: Goal
) -> None:
    """Inside the ball without help, better than noise in its own loss and in distance, with the passes of the plan."""
    spec, threat, scene = quick(name), ball(norm), real32.having(goal=goal)
    spec.refuse(threat, "query", goal)
    found, (attempt,) = scene.attempts_by(spec, threat)
    size = NORM[norm].measure(found.double() - scene.images.double())
    assert (size <= float(threat.epsilon) + 1e-6).all()
    assert 0 <= found.min() <= found.max() <= 1
    assert attempt.flags == spec.optimiser.flags(threat)
    noise = scene.by(resolve_attack("noise"), threat)
    for objective in (spec.objective_for(goal), "push" if goal == "untargeted" else "pull"):
        assert scene.values(found, objective).mean() > scene.values(noise, objective).mean()

    trace = spec.optimiser.trace(threat)
    planned = len(trace.gradients), len(trace.values)
    passes, n_images = attempt.passes, len(scene.selection.attacked)
    assert (passes.forwards, passes.backwards) == (passes.forwards_spent, passes.backwards_spent)
    assert passes.backwards <= n_images * planned[0]
    assert passes.forwards <= n_images * sum(planned)
    if name not in {"CW", "Square"}:  # these may stop early
        assert (passes.forwards, passes.backwards) == (n_images * sum(planned), n_images * planned[0])


@pytest.mark.parametrize("name", SUPPORTED)
def test_nothing_is_left_behind(real32: Any, quick: Callable[[str], AttackSpec], ball: Any, name: str) -> None:
    """The model is in eval mode, frozen and without gradients, and all global generators stand where they stood."""
    states = _global_states()
    weights = [parameter.clone() for parameter in real32.embedder.parameters()]
    real32.by(quick(name), ball(FACTS[name].norms[0]))
    assert _global_states() == states
    assert all(not module.training for module in real32.embedder.modules())
    for before, after in zip(weights, real32.embedder.parameters(), strict=True):
        assert after.grad is None
        assert not after.requires_grad
        assert torch.equal(before, after)


def _global_states() -> tuple[Any, ...]:
    numpy = np.random.get_state()  # noqa: NPY002
    return random.getstate(), numpy[1].tobytes(), numpy[2:], torch.get_rng_state().numpy().tobytes()  # type: ignore[index]


def test_borrowed_generators_that_are_not_given_back_are_seen(
    real32: Any, quick: Callable[[str], AttackSpec], ball: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wrong twin draws from the caller's stream: the test above fails for it."""
    before = _global_states()
    with torch.random.fork_rng(devices=[]):
        monkeypatch.setattr(foreign, "borrowed", lambda _seed: nullcontext())
        with pytest.raises(AssertionError):
            test_nothing_is_left_behind(real32, quick, ball, "PGD")
    assert _global_states() == before


@pytest.mark.parametrize("name", SUPPORTED)
def test_the_same_seed_gives_the_same_images(
    real32: Any, quick: Callable[[str], AttackSpec], ball: Any, name: str
) -> None:
    """Twice bit for bit, whatever was drawn in between; another seed gives others exactly where the flag says so."""
    spec, threat = quick(name), ball(FACTS[name].norms[0])
    found = real32.by(spec, threat)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        assert torch.equal(found, real32.by(spec, threat))
    other = real32.having(seed=1).by(spec, threat)
    draws = FLAG_RANDOMNESS in spec.optimiser.flags(threat)
    assert torch.equal(found, other) != draws
    assert spec.depends_on_seed("untargeted") == draws


def test_who_carries_which_flag(quick: Callable[[str], AttackSpec], ball: Any) -> None:
    """Those that draw, one that stops for a whole batch, and none where nothing can come of it."""
    flags = {name: quick(name).optimiser.flags(ball(FACTS[name].norms[0])) for name in SUPPORTED}
    assert {name for name in SUPPORTED if not flags[name]} == set(STEADY)
    assert {name for name in SUPPORTED if FLAG_BATCH in flags[name]} == {"CW"}
    assert resolve_attack("torchattacks.PGD", {"random_start": False}).optimiser.flags(ball("linf")) == frozenset()
    assert quick("PGD").optimiser.flags(ball("linf", "0")) == frozenset()


@pytest.mark.parametrize("name", STEADY)
def test_without_a_flag_the_batch_does_not_matter(smooth: Any, ball: Any, name: str) -> None:
    """One image, three with padding, or all, in any order: float64 agrees to 1e-6."""
    spec, threat = resolve_attack(f"torchattacks.{name}", {"steps": 4} if name != "FGSM" else {}), ball("linf")
    expected = smooth.by(spec, threat)
    order = smooth.selection.attacked[::-1].tolist()
    for size, rows in ((1, None), (3, None), (3, order)):
        assert (expected - smooth.by(spec, threat, size=size, order=rows)).abs().max() < 1e-6


def test_with_the_flag_it_does(smooth: Any, ball: Any) -> None:
    """What PGD draws belongs to the batch: the flag is not for nothing."""
    spec = resolve_attack("torchattacks.PGD", {"steps": 2})
    assert (smooth.by(spec, ball("linf")) - smooth.by(spec, ball("linf"), size=3)).abs().max() > 1e-3


@pytest.mark.parametrize(("name", "norm", "goal"), CASES)
def test_epsilon_zero_is_the_clean_image(
    real32: Any, quick: Callable[[str], AttackSpec], ball: Any, name: str, norm: NormName, goal: Goal
) -> None:
    """Bit for bit, with passes all the same: no short cut."""
    found, (attempt,) = real32.having(goal=goal).attempts_by(quick(name), ball(norm, "0"))
    assert torch.equal(found, real32.images)
    assert attempt.passes.forwards > 0


def test_what_has_no_radius_is_projected(real32: Any, quick: Callable[[str], AttackSpec], ball: Any) -> None:
    """CW looks for the nearest image of another identity wherever that is; the flag says that it was brought back."""
    found, (attempt,) = real32.attempts_by(quick("CW"), ball("l2", "1/10"))
    assert attempt.flags == {FLAG_BATCH, "projected"}
    size = NORM["l2"].measure(found.double() - real32.images.double())
    assert (size <= 0.1 + 1e-6).all()
    assert size.max() > 0.09


@pytest.mark.parametrize(
    ("name", "norm", "goal", "message"),
    [
        ("PGD", "l2", "untargeted", r"^torchattacks\.PGD is an attack in linf, not l2; set `norm: linf` or exclude"),
        ("CW", "linf", "untargeted", r"^torchattacks\.CW is an attack in l2, not linf; set `norm: l2` or exclude"),
        ("APGD", "linf", "targeted", r"^torchattacks\.APGD cannot be targeted: the package has no targeted form"),
        ("CW", "l2", "targeted", r"^torchattacks\.CW cannot be targeted: it keeps images that have left"),
    ],
)
def test_what_has_no_meaning_is_refused(
    quick: Callable[[str], AttackSpec], ball: Any, name: str, norm: NormName, goal: Goal, message: str
) -> None:
    """In one sentence that says what to do."""
    with pytest.raises(UserError, match=message):
        quick(name).refuse(ball(norm), "query", goal)


def test_the_step_follows_epsilon(real32: Any, classifier_of: Callable[..., Any], ball: Any) -> None:
    """A quarter of it, as the package's own defaults have it, unless a step is given."""
    classifier, _ = classifier_of(real32)
    for options, expected in (({}, 0.25 * 5 / 255), ({"alpha": "1/255"}, 1 / 255)):
        optimiser = resolve_attack("torchattacks.BIM", options).optimiser
        assert isinstance(optimiser, Foreign)
        assert optimiser.build(classifier, ball("linf"), 0).alpha == pytest.approx(expected, abs=1e-15)


def test_a_plan_that_hangs_is_refused() -> None:
    """Two factors that pass one by one are too many passes together."""
    assert planned_passes("VMIFGSM", {"steps": 10, "N": 5}) == (60, 0)
    with pytest.raises(UserError, match=r"at most 100000 passes an image, got 5001000\.$"):
        resolve_attack("torchattacks.VMIFGSM", {"steps": 1000, "N": 5000})
