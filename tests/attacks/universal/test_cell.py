"""A fitted perturbation as an ordinary attack: what it adds, within which budget, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from robustreid import UserError
from robustreid.attacks.catalogue import AttackSpec, resolve_attack
from robustreid.attacks.counts import quantise
from robustreid.attacks.presets import FITTED
from robustreid.attacks.references import data_needed
from robustreid.attacks.threat import Goal, NormName, Side, Threat
from robustreid.attacks.universal import PROCEDURES, Perturbation, Universal
from robustreid.models.base import ModelSpec
from robustreid.models.defences.catalogue import parse
from torch import Tensor
from torch.nn import functional as F

FIVE = Threat(norm="linf", epsilon=Fraction(5, 255))
EIGHT = Threat(norm="linf", epsilon=Fraction(8, 255))
Make = Callable[..., Perturbation]


@pytest.fixture(params=FITTED)
def spec(request: pytest.FixtureRequest, make_perturbation: Make) -> AttackSpec:
    """Every fitted attack of the catalogue, with a perturbation of the doubles' size."""
    return resolve_attack(request.param, {"perturbation": make_perturbation(procedure=request.param)})


def test_every_fitted_attack_has_a_procedure() -> None:
    """And every procedure is an attack."""
    assert set(FITTED) == set(PROCEDURES)


def test_it_is_added(smooth: Any, make_perturbation: Make) -> None:
    """The same change for every image but for the edges of [0, 1]; a smaller ball clamps it, a larger one does not."""
    fitted = make_perturbation()
    spec = resolve_attack("muap", {"perturbation": fitted})
    for radius in (2, 8, 16):
        found = smooth.of(spec).by(spec, Threat(norm="linf", epsilon=Fraction(radius, 255)))
        change = fitted.delta.double().clamp(-radius / 255, radius / 255)
        rows = smooth.of(spec).selection.attacked
        expected = (smooth.images[rows] + change).clamp(0, 1)
        torch.testing.assert_close(found[rows], expected, rtol=0, atol=1e-6)


def test_it_is_resized(smooth: Any, make_perturbation: Make) -> None:
    """Bilinearly where images have another size, and never beyond the ball."""
    fitted = make_perturbation((4, 3))
    spec = resolve_attack("muap", {"perturbation": fitted})
    found = smooth.of(spec).by(spec, EIGHT)
    change = F.interpolate(fitted.delta[None].double(), size=(9, 6), mode="bilinear", align_corners=False)
    rows = smooth.of(spec).selection.attacked
    torch.testing.assert_close(found[rows], (smooth.images[rows] + change).clamp(0, 1), rtol=0, atol=1e-6)


def assert_keeps_budget(scene: Any, spec: AttackSpec, threat: Threat) -> None:
    """The check: inside the ball and [0, 1] without help, as 8-bit images too; only people were changed; no pass."""
    found, attempts = scene.attempts_by(spec, threat, size=4)
    assert not any("projected" in attempt.flags for attempt in attempts)
    assert sum(attempt.forwards + attempt.backwards for attempt in attempts) == 0
    for images in (found, quantise(found, scene.images)):
        assert float((images - scene.images).abs().max()) <= float(threat.epsilon) + 1e-6
        assert images.min() >= 0
        assert images.max() <= 1
    people = np.flatnonzero(scene.attacked.identities > 0)
    changed = (found != scene.images).flatten(1).any(1).numpy()
    assert changed[people].all() == bool(threat.epsilon)
    assert not np.delete(changed, people).any()


def test_budget(smooth: Any, real32: Any, spec: AttackSpec) -> None:
    """Whole and fractional radii; epsilon 0 is the clean image bit for bit."""
    for radius in ("0", "1/255", "3/510", "8/255", "16/255"):
        threat = Threat(norm="linf", epsilon=Fraction(radius))
        assert_keeps_budget(smooth.of(spec), spec, threat)
        assert_keeps_budget(real32.of(spec), spec, threat)


def test_a_larger_epsilon_than_it_was_fitted_for_is_flagged(smooth: Any, spec: AttackSpec) -> None:
    """Beyond 8/255 the row says that it understates; up to it nothing is said."""
    for radius, flags in (("4/255", set()), ("8/255", set()), ("17/510", {"fitted-for-less"})):
        threat = Threat(norm="linf", epsilon=Fraction(radius))
        _, attempts = smooth.of(spec).attempts_by(spec, threat)
        assert {flag for attempt in attempts for flag in attempt.flags} == flags


class Unclamped(Universal):
    """The wrong twin: adds the perturbation whatever the ball of the cell is."""

    def run(self, loss: Any, images: Tensor, threats: Any, draw: Any) -> list[Tensor]:
        return [images + self.perturbation.at(images) for _ in threats]


def test_a_larger_budget_is_rejected(smooth: Any, spec: AttackSpec) -> None:
    """The check of the budget fails for it, although the final projection brings its images back."""
    assert spec.perturbation is not None
    with pytest.raises(AssertionError):
        assert_keeps_budget(smooth.of(spec), replace(spec, optimiser=Unclamped(perturbation=spec.perturbation)), FIVE)


def test_it_asks_nothing_of_the_model(spec: AttackSpec) -> None:
    """Neither gradients nor scores, so a transfer matrix has it once a model; its data are training images."""
    assert not spec.optimiser.uses_gradients
    assert not spec.asks_scores
    assert not spec.uses_references
    assert data_needed(spec.references, "query", uses_references=spec.uses_references) == "train"
    assert spec.optimiser.trace(FIVE).gradients == spec.optimiser.trace(FIVE).values == ()


def test_batches_and_seeds_do_not_matter(smooth: Any, spec: AttackSpec) -> None:
    """Any batch, any order, any seed: the same images, bit for bit."""
    assert not spec.depends_on_seed("untargeted")
    scene = smooth.of(spec)
    rows = scene.selection.attacked.tolist()
    expected = scene.by(spec, FIVE, size=1)
    for size, order in ((3, None), (12, rows[::-1])):
        assert torch.equal(expected, scene.having(seed=9).by(spec, FIVE, size=size, order=order))


def test_parameters(make_perturbation: Make) -> None:
    """The digest of the file, and nothing of where it lies; equal digests are one attack, others another."""
    first, same, other = (
        resolve_attack("muap", {"perturbation": make_perturbation(seed=seed, model=model)})
        for seed, model in ((1, "tiny"), (1, "small"), (2, "tiny"))
    )
    assert first.parameters() == {"objective": "muap", "optimiser": "universal", "perturbation": f"{1:064x}"}
    assert first == same
    assert hash(first) == hash(same)
    assert first != other
    assert first.label == "muap(perturbation=00000000)"
    assert first.perturbation is not None
    assert (first.perturbation.model, first.perturbation.model_sha256) == ("tiny", "a" * 64)
    assert resolve_attack("pgd").perturbation is None


def test_whose_it_is(make_perturbation: Make) -> None:
    """The same weights behind a defence are another model, in either place."""
    plain = ModelSpec(label="m", architecture="x", sha256="a" * 64)
    defended = replace(plain, defence=parse("bit-depth"))
    behind = make_perturbation(model_defence=defended.defence_title)
    fitted = make_perturbation()
    assert [fitted.is_of(plain), fitted.is_of(defended), behind.is_of(plain), behind.is_of(defended)] == [
        *(True, False),
        *(False, True),
    ]
    assert not fitted.is_of(replace(plain, sha256="b" * 64))


@pytest.mark.parametrize(
    ("norm", "side", "goal", "said"),
    [
        ("l2", "query", "untargeted", "L-inf only"),
        ("linf", "both", "untargeted", "not `side: both`"),
        ("linf", "query", "targeted", "no targeted form"),
    ],
)
def test_refusals(spec: AttackSpec, norm: NormName, side: Side, goal: Goal, said: str) -> None:
    """What has no meaning is refused in a sentence; the rest is not."""
    with pytest.raises(UserError, match=said):
        spec.refuse(Threat(norm=norm, epsilon=Fraction(1, 50)), side, goal)
    for fine in ("query", "gallery"):
        spec.refuse(EIGHT, fine, "untargeted")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs the key `perturbation`"),
        ({"perturbation": 3}, "expected the path"),
        ({"perturbaton": "x"}, "Did you mean 'perturbation'"),
        ({"steps": 3}, "takes no parameter 'steps'"),
    ],
)
def test_wrong_options(options: dict[str, Any], said: str) -> None:
    """A file is needed and nothing else is taken."""
    with pytest.raises(UserError, match=said):
        resolve_attack("muap", options)


def test_the_perturbation_of_another_procedure(make_perturbation: Make) -> None:
    """It is refused under a name that is not its own."""
    with pytest.raises(UserError, match="was fitted by muap"):
        resolve_attack("uap-retrieval", {"perturbation": make_perturbation()})


def test_references_train_are_for_fitted_attacks() -> None:
    """Nothing else may ask for them."""
    with pytest.raises(UserError, match="reference policy"):
        resolve_attack("pgd", {"references": "train"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"delta": torch.zeros(1, 4, 4)}, r"expected a perturbation \(3, H, W\)"),
        ({"delta": torch.full((3, 2, 2), float("nan"))}, "finite"),
        ({"delta": torch.full((3, 2, 2), 0.1)}, "within its epsilon"),
        ({"epsilon": Fraction(0), "delta": torch.zeros(3, 2, 2)}, "within its epsilon"),
    ],
)
def test_what_is_no_perturbation(make_perturbation: Make, changes: dict[str, Any], said: str) -> None:
    """Another shape, numbers that are none, entries beyond the ball."""
    with pytest.raises(ValueError, match=said):
        make_perturbation(**changes)
