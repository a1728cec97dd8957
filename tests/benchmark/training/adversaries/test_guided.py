"""The adversaries of training: in their ball, in [0, 1], uphill, pure functions, and GOAT's guides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from robustreid.attacks.norms import NORM
from robustreid.benchmark.training.adversaries.ball import Ball
from robustreid.benchmark.training.adversaries.collapse import CollapsePerturb, pairs
from robustreid.benchmark.training.adversaries.guided import (
    INNER_OBJECTIVES,
    GoatPerturb,
    PgdPerturb,
    guides_of,
)
from robustreid.models.training.plan import Batch, Hardened
from torch import Tensor

EPSILON = Fraction(4, 255)
BALL = Ball(epsilon=EPSILON)

Embed = Callable[[Tensor], Tensor]
Make = Callable[..., Batch]


def _people(batch: Batch) -> Any:
    """The batch as a training set, each of its images once more in other light."""
    pixels = (batch.images * 255).round().to(torch.uint8).contiguous().numpy()
    both = np.concatenate([pixels, 255 - pixels])
    return SimpleNamespace(identities=np.tile(batch.classes.numpy(), 2), batch=lambda places: both[places])


def check_budget(perturb: Callable[..., Hardened], embed: Embed, make_batch: Make) -> None:
    """In the ball, in [0, 1], the clean images as they were, and the whole ball is used."""
    batch = make_batch()
    clean = batch.images.clone()
    found = perturb(embed, batch, 0)
    assert torch.equal(clean, batch.images)
    assert found.images.shape == (len(found.sources), *clean.shape[1:])
    assert float(found.images.min()) >= 0
    assert float(found.images.max()) <= 1
    size = NORM["linf"].measure(found.images.double() - clean[found.sources].double())
    assert float(size.max()) <= float(EPSILON) + 1e-7
    assert float(size.min()) > 0.9 * float(EPSILON)


@pytest.mark.parametrize("objective", INNER_OBJECTIVES)
def test_the_budget_is_kept(objective: str, embed: Embed, make_batch: Make) -> None:
    """By every objective, from black, white and random images."""
    check_budget(PgdPerturb(ball=BALL, objective=objective), embed, make_batch)


def test_the_budget_is_kept_by_the_defences_own(embed: Embed, make_batch: Make) -> None:
    """GOAT with and without guides, collapse, one large step, and a start at the image."""
    data = _people(make_batch())
    for guides in ((4, 1), (0, 0), (2, 3)):
        check_budget(GoatPerturb(ball=BALL, data=data, push=guides[0], pull=guides[1]), embed, make_batch)
    check_budget(CollapsePerturb(ball=BALL), embed, make_batch)
    check_budget(PgdPerturb(ball=replace(BALL, steps=1, step_size=Fraction(20, 255))), embed, make_batch)
    check_budget(PgdPerturb(ball=replace(BALL, random_start=False)), embed, make_batch)


def test_a_larger_budget_is_rejected(embed: Embed, make_batch: Make) -> None:
    """The check sees a radius that is a tenth too large, and pixels that leave [0, 1]."""
    with pytest.raises(AssertionError):
        check_budget(PgdPerturb(ball=replace(BALL, epsilon=EPSILON * Fraction(11, 10))), embed, make_batch)

    def brighter(_: Embed, batch: Batch, __: int) -> Hardened:
        return Hardened(images=batch.images + float(EPSILON), sources=torch.arange(8))

    with pytest.raises(AssertionError):
        check_budget(brighter, embed, make_batch)


@pytest.mark.parametrize("references", ["train", "self"])
def test_features_move_away(references: str, embed: Embed, make_batch: Make) -> None:
    """The images' features end further from what they are pushed from, further than noise brings them."""
    batch = make_batch()
    clean = embed(batch.images)
    partners = torch.arange(8).view(4, 2).flip(1).flatten()
    origin = clean if references == "self" else clean[partners]
    found = PgdPerturb(ball=BALL, references=references)(embed, batch, 0).images  # type: ignore[arg-type]
    noise = PgdPerturb(ball=replace(BALL, steps=1, step_size=Fraction(1, 10**9)))(embed, batch, 0).images
    before, after, random = ((embed(x) - origin).square().sum(1) for x in (batch.images, found, noise))
    assert (after > before).all()
    assert (after > random + 1e-4).all()


def test_an_image_alone_of_its_identity_stays_in_the_ball(embed: Embed, make_batch: Make) -> None:
    """Without another image of the identity there is nothing to push from, and nothing breaks."""
    batch = make_batch(alone=True)
    for objective in ("push", "furthest"):
        assert torch.isfinite(PgdPerturb(ball=BALL, objective=objective)(embed, batch, 0).images).all()


def test_it_is_a_pure_function(embed: Embed, make_batch: Make) -> None:
    """Seed and step decide the start; the memory layout and torch's global state do not."""
    batch, ball = make_batch(), replace(BALL, seed=2)
    first = PgdPerturb(ball=ball)(embed, batch, 5).images
    torch.manual_seed(9)
    before = torch.get_rng_state()
    assert torch.equal(first, PgdPerturb(ball=ball)(embed, batch, 5).images)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first, PgdPerturb(ball=ball)(embed, batch, 6).images)
    assert not torch.equal(first, PgdPerturb(ball=replace(BALL, seed=3))(embed, batch, 5).images)
    assert torch.equal(ball._start(batch.images, 1), ball._start(make_batch(channels_last=True).images, 1))


def test_clamping_to_the_box_is_the_projection(make_batch: Make) -> None:
    """The lean step agrees with the projection of `attacks`, in 8-bit counts."""
    images = make_batch().images
    moved = images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(4))
    radius = float(EPSILON)
    boxed = torch.clamp(moved, (images - radius).clamp(min=0), (images + radius).clamp(max=1))
    projected = NORM["linf"].project(moved * 255, images * 255, 4.0) / 255
    assert torch.allclose(projected, boxed, atol=1e-6)


def test_the_ball_grows_during_the_warm_up(embed: Embed, make_batch: Make) -> None:
    """Linearly over the steps that are asked for, then whole; radius and step size alike."""
    ball = replace(BALL, warmup=4.0)
    assert [ball.share(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    batch = make_batch()
    moved = (PgdPerturb(ball=ball)(embed, batch, 1).images - batch.images).abs().max()
    assert float(moved) == pytest.approx(float(EPSILON) / 2, rel=1e-5)


def plain_goat(embed: Embed, batch: Batch, data: Any, guides: np.ndarray[Any, Any], pull: int) -> Tensor:
    """GOAT's objective for unchanged images, written as a loop over images and guides."""
    clean = embed(batch.images)
    values = []
    for i in range(len(clean)):
        pushed = [embed(torch.from_numpy(data.batch(np.array([g]))).float() / 255)[0] for g in guides[i]]
        others = [j for j in range(len(clean)) if batch.classes[j] != batch.classes[i]]
        others.sort(key=lambda j: -float((clean[j] - clean[i]).norm()))
        away = sum(float((clean[i] - f).square().sum()) for f in pushed)
        values.append(away - sum(float((clean[i] - clean[j]).square().sum()) for j in others[:pull]))
    return torch.tensor(values)


@pytest.mark.parametrize(("push", "pull"), [(4, 1), (2, 0), (0, 2)])
def test_goat_climbs_its_equation(push: int, pull: int, embed: Embed, make_batch: Make) -> None:
    """What is maximised equals a loop over images and guides; the pull's sign turned is another number."""
    batch = make_batch()
    data, seen = _people(batch), []

    class Watched(Ball):
        def climb(self, embed: Embed, value: Callable[[Tensor], Tensor], images: Tensor, step: int) -> Tensor:
            del step
            seen.append(value(embed(images)))
            return images

    GoatPerturb(ball=Watched(seed=3), data=data, push=push, pull=pull)(embed, batch, 7)
    guides = guides_of(data.identities, batch.places, push, seed=3, step=7)
    expected = plain_goat(embed, batch, data, guides, pull)
    assert torch.allclose(seen[0], expected, atol=1e-5)
    if pull:
        wrong = 2 * plain_goat(embed, batch, data, guides, 0) - expected
        assert not torch.allclose(seen[0], wrong, atol=1e-5)


def test_guides_are_other_images_of_the_person() -> None:
    """Distinct where there are enough, never the image itself unless it is alone, another draw each step."""
    identities = np.array([0] * 6 + [1] * 3 + [2])
    places = np.arange(10)
    guides = guides_of(identities, places, 4, seed=0, step=0)
    assert (identities[guides] == identities[:, None]).all()
    assert all(len(set(row)) == 4 for row in guides[:6].tolist())
    assert (guides[:9] != places[:9, None]).all()
    assert (guides[9] == 9).all()
    assert (guides != guides_of(identities, places, 4, seed=0, step=1)).any()
    assert (guides == guides_of(identities, places, 4, seed=0, step=0)).all()


def test_goat_without_guides_is_sma(embed: Embed, make_batch: Make) -> None:
    """(0, 0) gives the images of `self`, bit for bit."""
    batch = make_batch()
    goat = GoatPerturb(ball=BALL, data=_people(batch), push=0, pull=0)(embed, batch, 2).images
    sma = PgdPerturb(ball=BALL, objective="self", references="self")(embed, batch, 2).images
    assert torch.equal(goat, sma)


def test_collapse_brings_a_positive_and_a_negative_together(embed: Embed, make_batch: Make) -> None:
    """Pairs are right and wrong as they should be; noise does not bring them as near."""
    batch = make_batch()
    positive, negative = pairs(batch.classes, seed=0, step=3)
    assert (batch.classes[positive] == batch.classes).all()
    assert (positive != torch.arange(8)).all()
    assert (batch.classes[negative] != batch.classes).all()
    found = CollapsePerturb(ball=BALL)(embed, batch, 3)
    assert found.is_triplets
    assert torch.equal(found.sources, torch.cat([positive, negative]))
    one, other = embed(found.images).chunk(2)
    gap = (one - other).norm(dim=1)
    assert (gap < (embed(batch.images[positive]) - embed(batch.images[negative])).norm(dim=1)).all()
