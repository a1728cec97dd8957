"""The adversary of training: in its ball, in [0, 1], uphill, and a pure function."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from robustreid.attacks.norms import NORM
from robustreid.benchmark.training.perturb import PgdPerturb
from torch import Tensor
from torch.nn import functional as F

EPSILON = Fraction(4, 255)


def embed(images: Tensor) -> Tensor:
    """Unit features that bend."""
    weights = torch.randn(3 * 8 * 6, 7, generator=torch.Generator().manual_seed(0)) / 12
    return F.normalize(torch.tanh(images.flatten(1) @ weights + 0.3 * weights[0]), dim=1)


def _batch(*, channels_last: bool = False) -> tuple[Tensor, Tensor]:
    images = torch.randint(0, 256, (8, 3, 8, 6), generator=torch.Generator().manual_seed(1)).float() / 255
    images[0] = 0.0
    images[1] = 1.0
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return images.contiguous(memory_format=layout), torch.arange(4).repeat_interleave(2)


def check_budget(perturb: Callable[..., Tensor]) -> None:
    """In the ball, in [0, 1], the clean images as they were, and the whole ball is used."""
    images, identities = _batch()
    clean = images.clone()
    found = perturb(embed, images, identities, 0)
    assert torch.equal(clean, images)
    assert found.shape == images.shape
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    size = NORM["linf"].measure(found.double() - images.double())
    assert float(size.max()) <= float(EPSILON) + 1e-7
    assert float(size.min()) > 0.9 * float(EPSILON)


def test_the_budget_is_kept() -> None:
    """From black, white and random images."""
    check_budget(PgdPerturb(epsilon=EPSILON))
    check_budget(PgdPerturb(epsilon=EPSILON, steps=1, step_size=Fraction(20, 255), references="self"))


def test_a_larger_budget_is_rejected() -> None:
    """The check sees a radius that is a tenth too large, and pixels that leave [0, 1]."""
    with pytest.raises(AssertionError):
        check_budget(PgdPerturb(epsilon=EPSILON * Fraction(11, 10)))
    with pytest.raises(AssertionError):
        check_budget(lambda _, images, *__: images + float(EPSILON))


@pytest.mark.parametrize("references", ["train", "self"])
def test_features_move_away(references: str) -> None:
    """The images' features end further from what they are pushed from, further than noise brings them."""
    images, identities = _batch()
    perturb = PgdPerturb(epsilon=EPSILON, references=references)  # type: ignore[arg-type]
    clean = embed(images)
    partners = torch.arange(8).view(4, 2).flip(1).flatten()
    origin = clean if references == "self" else clean[partners]
    found = perturb(embed, images, identities, 0)
    noise = PgdPerturb(epsilon=EPSILON, steps=1, step_size=Fraction(1, 10**9))(embed, images, identities, 0)
    before, after, random = ((embed(x) - origin).square().sum(1) for x in (images, found, noise))
    assert (after > before).all()
    assert (after > random + 1e-4).all()


def test_an_image_alone_of_its_identity_stays_in_the_ball() -> None:
    """Without another image of the identity there is nothing to push from, and nothing breaks."""
    images, _ = _batch()
    found = PgdPerturb(epsilon=EPSILON)(embed, images, torch.arange(8), 0)
    assert torch.isfinite(found).all()


def test_it_is_a_pure_function() -> None:
    """Seed and step decide the start; the memory layout and torch's global state do not."""
    images, identities = _batch()
    perturb = PgdPerturb(epsilon=EPSILON, seed=2)
    first = perturb(embed, images, identities, 5)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    assert torch.equal(first, perturb(embed, images, identities, 5))
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first, perturb(embed, images, identities, 6))
    assert not torch.equal(first, PgdPerturb(epsilon=EPSILON, seed=3)(embed, images, identities, 5))
    assert torch.equal(perturb._start(images, 1), perturb._start(_batch(channels_last=True)[0], 1))


def test_clamping_to_the_box_is_the_projection() -> None:
    """The lean step agrees with the projection of `attacks`, in 8-bit counts."""
    images, _ = _batch()
    moved = images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(4))
    radius = float(EPSILON)
    boxed = torch.clamp(moved, (images - radius).clamp(min=0), (images + radius).clamp(max=1))
    projected = NORM["linf"].project(moved * 255, images * 255, 4.0) / 255
    assert torch.allclose(projected, boxed, atol=1e-6)
