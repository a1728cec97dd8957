"""The bound loss: gradients and features that are computed once, counted, and safe from what others do to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from robustreid.attacks.loss import FeatureMemo, Loss, NonFiniteGradientError, Passes
from robustreid.attacks.objectives import Given
from robustreid.attacks.references import References
from torch import Tensor

NONE = References(count=torch.zeros(4), mean=torch.zeros(4, 1))


class Bend:
    """A model that counts its calls; the gradient of its sum is 2 x."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.calls += 1
        return images.flatten(1).square()


@pytest.fixture
def images(grid_images: Callable[..., Tensor]) -> Tensor:
    """Four images."""
    return grid_images(4, dtype=torch.float32)


def bound(embedder: Any, n_real: int = 4) -> Loss:
    return Loss(FeatureMemo(embedder, n_real), Given(function=lambda features, references: features.sum(1)), NONE)


def test_a_gradient_is_computed_once(images: Tensor) -> None:
    """The second time it costs nothing but is still counted as asked for; other images cost."""
    model = Bend()
    loss = bound(model)
    expected = 2 * images
    assert torch.equal(expected, loss.gradient(images))
    assert torch.equal(expected, loss.gradient(images.clone()))
    assert model.calls == 1
    assert Passes(8, 8, 4, 4) == loss.passes
    loss.gradient(images / 2)
    assert Passes(12, 12, 8, 8) == loss.passes


def test_a_gradient_leaves_its_features(images: Tensor) -> None:
    """Values at the images of a gradient, and values twice, cost no forward."""
    model = Bend()
    loss = bound(model)
    loss.gradient(images)
    value = loss(images)
    assert torch.equal(images.square().flatten(1).sum(1), value)
    assert not value.requires_grad
    loss(images / 2)
    loss(images / 2)
    assert model.calls == 2
    assert Passes(16, 4, 8, 4) == loss.passes


def test_padding_is_not_counted_and_not_moved(images: Tensor) -> None:
    """Three real images of four: passes count three, and padding has no gradient, finite or not."""
    loss = bound(lambda x: (x.flatten(1) - 0.5).abs().sqrt(), n_real=3)
    padded = torch.cat([images[:3] * 0.9 + 0.001, torch.full_like(images[:1], 0.5)])
    with pytest.raises(NonFiniteGradientError):
        bound(loss._features.embedder).gradient(padded)
    found = loss.gradient(padded)
    assert found[:3].all()
    assert not found[3].any()
    assert Passes(3, 3, 3, 3) == loss.passes


@pytest.mark.parametrize("change", [lambda x: x.flip(0), lambda x: x.flip(3), lambda x: x.roll(1, 2)])
def test_images_that_only_look_alike_are_told_apart(images: Tensor, change: Callable[[Tensor], Tensor]) -> None:
    """The same sums, other places: no other image's gradient."""
    loss = bound(Bend())
    loss.gradient(images)
    other = change(images)
    assert torch.equal(2 * other, loss.gradient(other))
    assert loss.passes.backwards_spent == 8


def test_work_in_place_reaches_no_memory(images: Tensor) -> None:
    """What an optimiser does to its images, to a gradient or to features stays with it."""
    loss = bound(Bend())
    mine = images.clone()
    loss.gradient(mine).sign_()
    loss.gradient(mine).mul_(0)
    assert torch.equal(2 * images, loss.gradient(mine))
    mine.copy_(images.flip(3))
    assert torch.equal(2 * mine, loss.gradient(mine))
    features = loss._features
    features.features(images).zero_()
    assert torch.equal(images.flatten(1).square(), features.features(images))


def test_a_backward_pass_of_ones_own_is_counted(images: Tensor) -> None:
    """Authors who differentiate by themselves pay a forward and a backward; a value alone pays a forward."""
    loss = bound(Bend())
    leaf = images.clone().requires_grad_()
    value = loss(leaf)
    assert Passes(4, 0, 4, 0) == loss.passes
    (found,) = torch.autograd.grad(value.sum(), leaf)
    assert torch.equal(2 * images, found)
    assert Passes(4, 4, 4, 4) == loss.passes
    with torch.no_grad():
        loss(leaf)
    assert Passes(8, 4, 8, 4) == loss.passes


def test_two_losses_share_features_and_not_gradients(images: Tensor) -> None:
    """Another objective of the same batch has gradients of its own."""
    memo = FeatureMemo(Bend(), 4)
    up, down = (
        Loss(memo, objective, NONE)
        for objective in (Given(function=lambda f, _: f.sum(1)), Given(function=lambda f, _: -f.sum(1)))
    )
    assert torch.equal(-up.gradient(images), down.gradient(images))
    assert torch.equal(-up(images), down(images))
    assert memo.passes.backwards_spent == memo.passes.forwards_spent == 8


def test_gradients_work_where_they_are_switched_off(images: Tensor) -> None:
    """Inside `no_grad` too, and on images that already require one."""
    with torch.no_grad():
        assert torch.equal(2 * images, bound(Bend()).gradient(images))
    assert torch.equal(2 * images, bound(Bend()).gradient(images.clone().requires_grad_()))


def test_passes_add_up() -> None:
    """Plus and minus, field by field."""
    one, two = Passes(1, 2, 3, 4), Passes(10, 20, 30, 40)
    assert Passes(11, 22, 33, 44) == one + two
    assert one == (one + two) - two


def test_all_losses_of_a_batch_share_one_bound(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty objectives on a batch keep no more than one may; each still gets its own gradient."""
    limit = 30 * images.nbytes
    monkeypatch.setattr("robustreid.attacks.memo.MEMO_BYTES", limit)
    memo = FeatureMemo(Bend(), 4)

    def times(factor: int) -> Loss:
        return Loss(memo, Given(function=lambda f, _: factor * f.sum(1)), NONE)

    losses = [times(factor) for factor in range(1, 21)]
    for step in range(3):
        for factor, one in enumerate(losses, 1):
            at = images + step / 8
            torch.testing.assert_close(one.gradient(at), factor * 2 * at)
            # The images in hand stay, whatever is known of them.
            assert memo.memo.n_bytes <= limit or len(memo.memo.entries) == 1
