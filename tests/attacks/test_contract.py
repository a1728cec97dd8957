"""What every attack of the catalogue promises, whatever its name: a new one without a row here fails.

Each promise is a check, and each check rejects an attack that breaks it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from robustreid.attacks.catalogue import PRESETS, AttackSpec, resolve_attack
from robustreid.attacks.counts import quantise
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import Loss
from robustreid.attacks.norms import NORM
from robustreid.attacks.optimisers import FGSM, IFGSM
from robustreid.attacks.presets import FITTED
from robustreid.attacks.threat import Goal, NormName, Threat
from robustreid.attacks.universal import Perturbation
from torch import Tensor, nn


@dataclass(frozen=True)
class Row:
    """How an attack is tried."""

    #: Parameters that make it quick.
    quick: dict[str, Any] = field(default_factory=dict)
    #: The parameter that says how long it climbs.
    length: str = "steps"
    #: Lengths that are compared; none where there is one step.
    lengths: tuple[int, ...] = (1, 3, 6)
    #: Whether it climbs its objective on these very images.
    climbs: bool = True


THREE_STEPS, SEARCH, ONE_STEP = Row({"steps": 3}), Row({"steps": 6}, lengths=(2, 6, 12)), Row(lengths=())
SUITE: dict[str, Row] = {
    "ama-fgsm": ONE_STEP,
    "ama-ifgsm": Row(),
    "ama-mifgsm": Row(),
    "pgd": Row({"steps": 3, "restarts": 2}),
    "apgd": Row({"steps": 6, "restarts": 2}, lengths=(2, 6, 12)),
    "square": Row({"queries": 60}, length="queries", lengths=(10, 60, 200)),
    "noise": Row(climbs=False),
    "sma": THREE_STEPS,
    "odfa": Row(),
    "fna": THREE_STEPS,
    "fna-no-push": THREE_STEPS,
    "fna-no-pull": THREE_STEPS,
    "fna-public": THREE_STEPS,
    "sg-ifgsm": THREE_STEPS,
    "pire": SEARCH,
    "tma": SEARCH,
    "ltm": THREE_STEPS,
    "gtm": THREE_STEPS,
    "gtt": THREE_STEPS,
    "qa-plus": THREE_STEPS,
    "qa-minus": Row({"steps": 3, "pool": 0.5}),
    "ca-plus": THREE_STEPS,
    "ca-minus": Row({"steps": 3, "pool": 0.5}),
    "soft-ap": SEARCH,
    "lta": THREE_STEPS,
    "di-ti-mi": THREE_STEPS,
    # Fitted on other images: what it gains there is the suite of universal perturbations'.
    "uap-retrieval": Row(climbs=False),
    "muap": Row(climbs=False),
}
CLIMBING = [name for name, row in SUITE.items() if row.climbs]
ZERO, TWO, FIVE = (Threat(norm="linf", epsilon=Fraction(counts, 255)) for counts in (0, 2, 5))


def quick(name: str, **more: Any) -> AttackSpec:
    """An attack of the catalogue, quick enough for a test."""
    options = {**SUITE[name].quick, **more}
    if name in FITTED:
        options["perturbation"] = Perturbation(
            sha256="0" * 64,
            delta=(torch.rand(3, 12, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1) * 8 / 255,
            epsilon=Fraction(8, 255),
            procedure=name,
            model="another",
            model_sha256="1" * 64,
            data_sha256="2" * 64,
        )
    return resolve_attack(name, options)


def brief(spec: AttackSpec) -> AttackSpec:
    """The same with as few steps as can still go wrong."""
    row = SUITE[spec.name]
    shortest = {"steps": 2, "queries": 8}[row.length]
    return quick(spec.name, **{row.length: shortest}) if row.length in row.quick else spec


def missing(names: Iterable[str]) -> set[str]:
    """Attacks without a row, and rows without an attack."""
    return set(SUITE) ^ set(names)


def test_every_attack_has_a_row() -> None:
    """And no row has lost its attack; one more in the catalogue would be missed."""
    assert missing([*PRESETS, *FITTED]) == set()
    assert missing([*PRESETS, *FITTED, "newest"]) == {"newest"}
    assert set(CLIMBING) == {name for name in PRESETS if resolve_attack(name).optimiser.uses_loss}


@pytest.fixture(params=[*PRESETS, *FITTED])
def spec(request: pytest.FixtureRequest) -> AttackSpec:
    """Every attack of the catalogue."""
    assert request.param in SUITE, f"attack {request.param} has no row in the contract suite"
    return quick(request.param)


def goals(spec: AttackSpec) -> list[Goal]:
    """The goals under which it may be asked for."""
    return [goal for goal in spec.objective.goals if spec.references != "self" or goal == "untargeted"]


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


def test_budget(smooth: Any, spec: AttackSpec) -> None:
    """Whole and fractional radii, both norms where both are defined; epsilon 0 is the clean image bit for bit."""
    for goal, threat in itertools.product(goals(spec), threats(spec)):
        assert_keeps_budget(smooth.of(spec, goal), spec, threat)


def test_budget_in_float32_on_a_real_model(real32: Any, spec: AttackSpec) -> None:
    """The type, the size and the model that are really used."""
    for threat in (*([Threat(norm="l2", epsilon=Fraction(3))] if not spec.linf_only else []), FIVE):
        assert_keeps_budget(real32.of(spec), brief(spec), threat)


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


def assert_same_in_any_order(scene: Any, spec: AttackSpec) -> None:
    """The check: bit for bit, whichever batch comes first; within a batch last bits may depend on a row's place."""
    assert torch.equal(scene.by(spec, TWO, size=2), scene.by(spec, TWO, size=2, order=[2, 3, 0, 1]))


def test_the_same_seed_gives_the_same_images(real32: Any, spec: AttackSpec) -> None:
    """In float32 on a real model, twice, in two orders."""
    assert_same_in_any_order(real32.of(spec), brief(spec))


def assert_batch_does_not_matter(scene: Any, spec: AttackSpec) -> None:
    """The check: one image, three, or all with padding, in any order: float64 agrees to 1e-6."""
    rows = scene.selection.attacked.tolist()
    expected = scene.by(spec, FIVE, size=1)
    for size, order in ((3, rows[::-1]), (8, None), (12, rows[::-1])):
        found = scene.by(spec, FIVE, size=size, order=order)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_the_batch_does_not_matter(smooth: Any, spec: AttackSpec) -> None:
    """Whoever else is attacked, and wherever in the batch."""
    assert_batch_does_not_matter(smooth.of(spec), spec)


class InCompany(FGSM):
    """The wrong twin: everybody moves along the mean gradient of the batch."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        step = loss.gradient(images).mean(0, keepdim=True).sign()
        return [(images + float(threat.epsilon) * step).clamp(0, 1) for threat in threats]


class Uncontrolled(FGSM):
    """The wrong twin: noise from the global generator."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        return [(images + float(t.epsilon) * torch.randn_like(images).sign()).clamp(0, 1) for t in threats]


def test_a_batch_that_matters_is_rejected(smooth: Any, real32: Any) -> None:
    """A step that is shared by the batch; numbers that nobody seeds."""
    spec = resolve_attack("ama-fgsm")
    with torch.random.fork_rng():
        for wrong, check, scene in (
            (InCompany(), assert_batch_does_not_matter, smooth),
            (Uncontrolled(), assert_batch_does_not_matter, smooth),
            (Uncontrolled(), assert_same_in_any_order, real32),
            (Uncontrolled(), assert_keeps_random_state, smooth),
        ):
            with pytest.raises(AssertionError):
                check(scene, replace(spec, optimiser=wrong))


def test_another_seed(smooth: Any, spec: AttackSpec) -> None:
    """It changes the images of those attacks that say so, and of no other; a random target changes all that gain."""
    for goal in goals(spec):
        first, *others = [smooth.of(spec, goal).having(seed=seed).by(spec, FIVE) for seed in range(4)]
        assert spec.depends_on_seed(goal) == any(not torch.equal(first, other) for other in others)


def test_another_single_reference(smooth: Any) -> None:
    """Which image stands for its identity is drawn."""
    single = resolve_attack("ama-ifgsm", {"references": "single"})
    assert single.depends_on_seed("untargeted")
    found = [smooth.of(single).having(seed=seed).by(single, FIVE) for seed in range(4)]
    assert any(not torch.equal(found[0], other) for other in found)


def assert_leaves_the_model(scene: Any, spec: AttackSpec) -> None:
    """The check: in eval mode, statistics untouched, no gradient kept on parameters that could have one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(162, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout()).double()
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = scene.images.clone()
    scene.having(embedder=network).by(spec, TWO)
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(images, scene.images)
    assert not scene.images.requires_grad


def test_the_model_is_left_as_it_was(smooth: Any, spec: AttackSpec) -> None:
    """And so are the images."""
    assert_leaves_the_model(smooth.of(spec), brief(spec))


class Teaching(FGSM):
    """The wrong twin: the model ends in training mode."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        found = super().run(loss, images, threats, draw)
        loss._features.embedder.train()  # type: ignore[attr-defined]
        return found


class Leaving(FGSM):
    """The wrong twin: `backward` leaves gradients on the weights."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        loss(images.clone().requires_grad_()).sum().backward()  # type: ignore[no-untyped-call]
        return super().run(loss, images, threats, draw)


@pytest.mark.parametrize("wrong", [Teaching(), Leaving()])
def test_a_changed_model_is_rejected(smooth: Any, wrong: Any) -> None:
    """Training mode, and gradients that stay."""
    with pytest.raises(AssertionError):
        assert_leaves_the_model(smooth, replace(resolve_attack("ama-fgsm"), optimiser=wrong))


def assert_keeps_random_state(scene: Any, spec: AttackSpec) -> None:
    """The check: neither moved nor read: torch, NumPy and Python."""
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    first = scene.by(spec, TWO)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (str(np.random.get_state()), random.getstate())  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert torch.equal(first, scene.by(spec, TWO))


def test_global_random_state_is_untouched(smooth: Any, spec: AttackSpec) -> None:
    """Whatever is drawn, comes from the cell's own stream."""
    assert_keeps_random_state(smooth.of(spec), brief(spec))


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


@pytest.mark.parametrize(("name", "goal"), [(name, goal) for name in CLIMBING for goal in goals(quick(name))])
def test_attacks_gain_and_beat_noise(real32: Any, control: Tensor, name: str, goal: Goal) -> None:
    """On a real model the objective rises more than noise lets it rise."""
    spec = quick(name)
    scene = real32.of(spec, goal)
    assert_gains(scene, spec, attacked(scene, spec), control)


@pytest.mark.parametrize("name", CLIMBING)
def test_a_reversed_loss_is_rejected(real32: Any, control: Tensor, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong twin: descending does not pass for an attack."""
    spec = quick(name)
    scene, slope, call = real32.of(spec), Loss.slope, Loss.__call__

    def reversed_slope(self: Loss, images: Tensor, moment: Any = (0, 0)) -> tuple[Tensor, Tensor]:
        value, gradient = slope(self, images, moment)
        return -value, -gradient

    with monkeypatch.context() as patch:
        patch.setattr(Loss, "slope", reversed_slope)
        patch.setattr(Loss, "__call__", lambda self, images: -call(self, images))
        found = scene.by(spec, FIVE)
    with pytest.raises(AssertionError):
        assert_gains(scene, spec, found, control)


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


@pytest.mark.parametrize("name", [name for name in CLIMBING if SUITE[name].lengths])
def test_more_steps_never_hurt_on_average(real32: Any, name: str) -> None:
    """On a real model, from a single step to as many as bring it near its end."""
    row = SUITE[name]
    assert_length_pays(real32.of(quick(name)), [quick(name, **{row.length: length}) for length in row.lengths])


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
