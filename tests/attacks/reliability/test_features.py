"""What is found of a model's features, on models whose faults are known."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from robustreid.attacks.reliability.features import feature_findings, moved, optimises, seeded
from robustreid.models.base import Embedder
from torch import Tensor
from torch.nn import functional as F

Model = Embedder


def fine(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images, (4, 2)).flatten(1)


def drops(images: Tensor) -> Tensor:
    return F.dropout(fine(images), 0.2, training=True)


def draws_by_numpy(images: Tensor) -> Tensor:
    return fine(images) + float(np.random.rand())  # noqa: NPY002


def draws_by_python(images: Tensor) -> Tensor:
    return fine(images) * random.random()  # noqa: S311


def draws_by_itself(images: Tensor, generator: torch.Generator = torch.Generator()) -> Tensor:  # noqa: B008
    return fine(images) + torch.rand(len(images), 1, generator=generator)


def standardises_the_batch(images: Tensor) -> Tensor:
    features = fine(images)
    return (features - features.mean(0)) / features.std(0).clamp_min(1e-3)


def optimises_by_grad(images: Tensor) -> Tensor:
    leaf = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(leaf.square().sum(), leaf)
    return fine(images - 0.1 * slope)


def optimises_by_backward(images: Tensor) -> Tensor:
    leaf = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        leaf.square().sum().backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return fine(images - 0.1 * leaf.grad)


def optimises_by_transform(images: Tensor) -> Tensor:
    return fine(images - 0.1 * torch.func.grad(lambda x: x.square().sum())(images))


def records_a_graph(images: Tensor) -> Tensor:
    with torch.enable_grad():
        return fine(images.clone().requires_grad_().square())


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        (fine, set()),
        (drops, {"randomised-features"}),
        (draws_by_numpy, {"randomised-features"}),
        (draws_by_python, {"randomised-features"}),
        (draws_by_itself, {"randomised-features"}),
        (standardises_the_batch, {"batch-dependent-features"}),
        (optimises_by_grad, {"optimises-at-inference"}),
        (optimises_by_backward, {"optimises-at-inference"}),
        (optimises_by_transform, {"optimises-at-inference"}),
        (records_a_graph, set()),
        (
            lambda images: standardises_the_batch(images) * torch.rand(()),
            {"randomised-features", "batch-dependent-features"},
        ),
    ],
)
def test_each_fault_raises_its_flag_alone(model: Model, flags: set[str]) -> None:
    """Draws do not look like neighbours, and a graph that nobody goes back through is no search."""
    images = torch.rand(8, 3, 16, 8, generator=torch.Generator().manual_seed(0))
    assert feature_findings(model, images) == flags


def test_one_image_has_no_company() -> None:
    """With one image nothing can be said about others, and nothing is."""
    assert feature_findings(fine, torch.rand(1, 3, 16, 8)) == set()


def test_a_comparison_without_held_draws_would_cry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were draws not held still, a dropout would pass for a dependence on the batch: this suite sees that."""
    from contextlib import nullcontext

    from robustreid.attacks.reliability import features

    turns = iter([torch.ones(2, 2), torch.ones(2, 2), torch.zeros(2, 2)])
    monkeypatch.setattr(features, "seeded", nullcontext)
    assert features._depends_on_batch(lambda _: next(turns).repeat(2, 1), torch.rand(4, 3, 4, 4))


def test_float_noise_is_no_movement() -> None:
    """A thousandth of the largest entry is where a feature has moved."""
    feature = torch.tensor([[1.0, 0.1]])
    assert not moved(feature, feature + 9e-4)
    assert moved(feature, feature + torch.tensor([[0.0, 2e-3]]))
    assert not moved(feature * float("nan"), feature)


def test_generators_are_left_as_they_were() -> None:
    """Seeded inside, untouched outside, also when something raises."""
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=True))  # noqa: NPY002

    def draw_and_fail() -> None:
        with seeded():
            drawn = torch.rand(1), random.random(), np.random.rand()  # noqa: S311, NPY002
            raise ValueError(drawn)

    with pytest.raises(ValueError):
        draw_and_fail()
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert str(before[2]) == str(np.random.get_state(legacy=True))  # noqa: NPY002


def test_other_errors_of_a_model_are_its_own() -> None:
    """Only the transform's refusal counts as a finding."""

    def breaks(images: Tensor) -> Tensor:
        raise RuntimeError("no kernel")

    with pytest.raises(RuntimeError, match="no kernel"):
        optimises(breaks, torch.rand(2, 3, 4, 4))
