"""What stands between images and model: diverse inputs, translation invariance, and the mean over samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import FeatureMemo, Loss
from robustreid.attacks.objectives import Given
from robustreid.attacks.references import References
from robustreid.attacks.transforms import DI, TI, Lens
from scipy.signal import convolve2d  # type: ignore[import-untyped]
from scipy.stats import kstest  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn import functional as F

N = 300


def lots(n: int, step: int = 0) -> Callable[[Any], Tensor]:
    draw = Draw(0, tuple(f"image {row}" for row in range(n)))
    return lambda shape: draw.rows(0, step, shape)


def resized_and_padded(transform: DI, images: Tensor) -> Tensor:
    """Image by image: `F.interpolate` to whole pixels, then `F.pad` with black, as the attack's authors do."""
    found, height, width = [], *images.shape[-2:]
    for image, (chance, share, down, along) in zip(images, lots(len(images))((4,)).tolist(), strict=True):
        if chance >= transform.di_probability:
            found.append(image)
            continue
        scale = transform.di_smallest + (1 - transform.di_smallest) * share
        tall, wide = max(1, round(scale * height)), max(1, round(scale * width))
        top, left = int(down * (height - tall + 1)), int(along * (width - wide + 1))
        small = F.interpolate(image[None], size=(tall, wide), mode="bilinear", align_corners=False)[0]
        found.append(F.pad(small, (left, width - left - wide, top, height - top - tall)))
    return torch.stack(found)


@pytest.mark.parametrize("shape", [(40, 20), (17, 33), (3, 2)])
@pytest.mark.parametrize("transform", [DI(), DI(di_probability=1.0), DI(di_probability=1.0, di_smallest=0.3)])
def test_di_is_resize_and_pad(grid_images: Callable[..., Tensor], transform: DI, shape: tuple[int, int]) -> None:
    """Values, and gradients, of a batch in which every image has a size and a place of its own."""
    images = grid_images(24, *shape).requires_grad_()
    ours, theirs = transform.images(images, lots(24)), resized_and_padded(transform, images)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    weight = torch.randn(ours.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grads = [torch.autograd.grad((weight * found).sum(), images)[0] for found in (ours, theirs)]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-12)


@pytest.mark.parametrize("wrong", [DI(di_probability=0.5), DI(di_smallest=0.8)])
def test_another_di_is_told_apart(grid_images: Callable[..., Tensor], wrong: DI) -> None:
    """Another probability or another range."""
    images = grid_images(24, 40, 20)
    assert not torch.allclose(wrong.images(images, lots(24)), resized_and_padded(DI(), images), rtol=0, atol=1e-6)


@pytest.mark.parametrize("transform", [DI(di_probability=0.0), DI(di_probability=1.0, di_smallest=1.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_di_may_change_nothing(grid_images: Callable[..., Tensor], transform: DI, dtype: torch.dtype) -> None:
    """With probability 0, or at full size, images stay as they are bit for bit."""
    images = grid_images(5, 12, 7, dtype=dtype)
    assert torch.equal(images, transform.images(images, lots(5)))


def test_di_draws_evenly() -> None:
    """A share of 0.7 is shrunk, to 0.9 of its size at least, anywhere on the black."""
    white = torch.ones(N, 1, 200, 100, dtype=torch.float64)
    seen = DI().images(white, lots(N))[:, 0] > 0
    tall, wide = seen.any(2).sum(1), seen.any(1).sum(1)
    shrunk = tall < 200
    assert 0.6 < (tall < 200).double().mean() < 0.8
    assert tall.min() >= 180
    assert tall[shrunk].min() < 184
    assert ((tall.double() / 200 - wide.double() / 100).abs() <= 0.0101).all()
    top = seen.any(2).int().argmax(1)[shrunk].double()
    jitter = torch.from_numpy(np.random.default_rng(0).random(len(top)))
    assert kstest(((top + jitter) / (201 - tall[shrunk])).numpy(), "uniform").pvalue > 0.01


@pytest.mark.parametrize(("size", "sigma"), [(7, 3.0), (1, 3.0), (15, 1.0)])
def test_ti_is_a_convolution(size: int, sigma: float) -> None:
    """Each channel with one two-dimensional Gaussian whose entries sum to one, zeros outside the image."""
    gradient = torch.randn(3, 3, 20, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at = np.arange(size) - size // 2
    kernel = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    expected = [[convolve2d(channel, kernel, mode="same") for channel in one] for one in gradient.numpy()]
    found = TI(ti_size=size, ti_sigma=sigma).gradient(gradient)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    other = TI(ti_size=size, ti_sigma=2 * sigma).gradient(gradient)
    assert (size == 1) == np.allclose(other, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("di_probability", lambda: DI(di_probability=1.1)),
        ("di_smallest", lambda: DI(di_smallest=0.0)),
        ("ti_size", lambda: TI(ti_size=4)),
        ("ti_size", lambda: TI(ti_size=101)),
        ("ti_sigma", lambda: TI(ti_sigma=0.0)),
    ],
)
def test_parameters_without_meaning_are_refused(message: str, wrong: Any) -> None:
    """Each names its parameter."""
    with pytest.raises(ValueError, match=message):
        wrong()


def bound(images: Tensor, lens: Lens, n_real: int | None = None, seed: int = 0) -> Loss:
    """A loss that is not linear in its images, behind a lens."""
    n = len(images)
    nobody = References(count=torch.zeros(n), mean=torch.zeros(n, 1))
    memo = FeatureMemo(lambda x: (x.flatten(1) + 0.1).pow(3), n_real or n)
    draw = Draw(seed, tuple(f"image {row}" for row in range(n)))
    return Loss(memo, Given(function=lambda f, _: f.sum(1)), nobody, clean=images, lens=lens, draw=draw)


def by_hand(images: Tensor, lens: Lens, sample: int, moment: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Value and gradient of one sample, the transforms in order, the gradient's back again."""
    draw = Draw(0, tuple(f"image {row}" for row in range(len(images))))
    leaf = images.clone().requires_grad_()
    seen = leaf
    for place, transform in enumerate(lens.transforms):
        own = draw.meant_for(f"{place}.{sample}")
        seen = transform.images(seen, lambda shape, own=own: own.rows(*moment, shape))  # type: ignore[misc]
    values = (seen.flatten(1) + 0.1).pow(3).sum(1)
    (found,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), found


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_a_gradient_is_the_mean_of_its_samples(grid_images: Callable[..., Tensor], samples: int) -> None:
    """Each sample another draw; the smoothing comes after the mean; passes count every sample, padding none."""
    images, lens = grid_images(4, 20, 10), Lens((DI(), TI()), samples)
    loss = bound(images, lens, n_real=3)
    value, found = loss.slope(images, (1, 2))
    each = [by_hand(images, lens, sample, (1, 2)) for sample in range(samples)]
    torch.testing.assert_close(value, sum(v for v, _ in each) / samples, rtol=0, atol=1e-12)
    expected = TI().gradient(sum(g for _, g in each) / samples)  # type: ignore[arg-type]
    torch.testing.assert_close(found[:3], expected[:3], rtol=0, atol=1e-12)
    assert not found[3].any()
    assert (loss.passes.forwards, loss.passes.backwards) == (3 * samples, 3 * samples)
    if samples > 1:
        assert not torch.allclose(found[:3], TI().gradient(each[0][1])[:3], rtol=0, atol=1e-6)


def test_the_same_moment_is_the_same_draw(grid_images: Callable[..., Tensor]) -> None:
    """Whatever was asked before, and without a second pass; another step, restart or seed draws anew."""
    images, lens = grid_images(4, 20, 10), Lens((DI(),))
    loss = bound(images, lens)
    first = loss.gradient(images, (0, 1))
    others = [loss.gradient(images, moment) for moment in ((0, 2), (1, 1))]
    assert loss.passes.backwards_spent == 12
    assert torch.equal(first, loss.gradient(images, (0, 1)))
    assert loss.passes.backwards_spent == 12
    assert torch.equal(first, bound(images, lens).gradient(images, (0, 1)))
    others.append(bound(images, lens, seed=1).gradient(images, (0, 1)))
    assert not any(torch.equal(first, other) for other in others)


def test_without_chance_a_moment_decides_nothing(grid_images: Callable[..., Tensor]) -> None:
    """TI alone draws nothing: another step's gradient is the first one's."""
    images = grid_images(4, 20, 10)
    loss = bound(images, Lens((TI(),)))
    assert torch.equal(loss.gradient(images, (0, 0)), loss.gradient(images, (1, 3)))
    assert loss.passes.backwards_spent == 4


def test_what_is_scored_is_not_transformed(grid_images: Callable[..., Tensor]) -> None:
    """A value asks the model about the images themselves, also right after a gradient was taken there."""
    images = grid_images(4, 20, 10)
    loss = bound(images, Lens((DI(di_probability=1.0),), 2))
    value, _ = loss.slope(images)
    plain = (images.flatten(1) + 0.1).pow(3).sum(1)
    torch.testing.assert_close(loss(images), plain, rtol=0, atol=1e-12)
    assert not torch.allclose(value, plain)
