"""CMPS: its loss against a plain loop, whose centroids it looks at, whose turn it is, and that both directions fall."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import dist
from typing import Any

import numpy as np
import pytest
import torch
from robustreid.attacks.counts import to_counts
from robustreid.attacks.universal import CMPS, Batch, Procedure, State, cross_modality
from robustreid.attacks.universal.average_precision import histogram_precision
from robustreid.attacks.universal.clusters import kmeans
from robustreid.attacks.universal.cross_modality import grayscale, synergy_loss
from robustreid.attacks.universal.procedure import seen_by
from robustreid.models.base import MODALITIES, Modality
from robustreid.models.training.chance import stream
from torch import Tensor

EIGHT = Fraction(8, 255)
Make = Callable[..., Any]


def features(count: int, seed: int, *, unit: bool = True) -> Tensor:
    """Drawn ones."""
    found = torch.from_numpy(np.random.default_rng(seed).standard_normal((count, 4)))
    return torch.nn.functional.normalize(found, dim=1) if unit else found


def plain_loss(perturbed: Tensor, clean: Tensor, near: Tensor, far: Tensor, margin: float) -> float:
    """[|n - f| - |p - f| + margin]_+, image by image: equations 4 and 7."""
    total = 0.0
    for f, x in zip(perturbed.tolist(), clean.tolist(), strict=True):
        p = min(near.tolist(), key=lambda centroid: dist(centroid, x))
        n = max(far.tolist(), key=lambda centroid: dist(centroid, x))
        total += max(0.0, dist(n, f) - dist(p, f) + margin)
    return total / len(perturbed)


def assert_is_the_loss(loss: Callable[..., Tensor]) -> None:
    """The check: the plain loop's value, for unit features and others, where the hinge holds and where it does not."""
    for unit in (True, False):
        clean, near, far = (features(count, seed, unit=unit) for count, seed in ((6, 1), (5, 2), (7, 3)))
        for shift in (0.0, 0.5, 3.0):
            moved = clean + shift * features(6, 4)
            expected = plain_loss(moved, clean, near, far, 0.5)
            assert float(loss(moved, clean, near, far, margin=0.5)) == pytest.approx(expected, rel=1e-9)


def test_the_loss() -> None:
    """Against the plain loop."""
    assert_is_the_loss(synergy_loss)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda f, x, near, far, margin: synergy_loss(f, x, far, near, margin=margin),
        lambda f, x, near, far, margin: synergy_loss(f, f, near, far, margin=margin),
        lambda f, x, near, far, margin: synergy_loss(f, x, near, far, margin=0.0),
    ],
    ids=["near and far exchanged", "chosen by the perturbed feature", "no margin"],
)
def test_a_wrong_loss_is_rejected(wrong: Callable[..., Tensor]) -> None:
    """The wrong twins."""
    with pytest.raises(AssertionError):
        assert_is_the_loss(wrong)


def batches_of(people: Any, procedure: CMPS) -> dict[Modality, Batch]:
    """The first batch of each modality, as a step is taken on it."""
    visible, infrared, *_ = (procedure.augmented(batch, 0, 0, step) for step, batch in enumerate(people.epoch(0)))
    return {"visible": visible, "infrared": infrared}


@pytest.mark.parametrize("modality", MODALITIES)
def test_gradients(make_people: Make, streams: Any, modality: Modality) -> None:
    """Of the whole loss in the perturbation, against finite differences in float64."""
    people, procedure = make_people(both=True), CMPS()
    known = procedure.prepare(people, streams, 0, lambda _: None)
    batch = batches_of(people, procedure)[modality]
    view = seen_by(streams, batch.modalities)
    clean, random = view(batch.images), np.random.default_rng(0)
    delta = torch.from_numpy(0.05 * random.standard_normal((3, 9, 6))).requires_grad_()

    def value(delta: Tensor) -> Tensor:
        return procedure.value(batch, clean, batch.images + delta, view, known, 0.5)

    (gradient,) = torch.autograd.grad(value(delta), delta)
    for _ in range(5):
        way = torch.from_numpy(random.standard_normal((3, 9, 6)))
        with torch.no_grad():
            slope = float(value(delta + 1e-6 * way) - value(delta - 1e-6 * way)) / 2e-6
        assert float((gradient * way).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-7)


def plain_gray(images: Tensor) -> Tensor:
    """Whole counts of luma, pixel by pixel."""
    luma = torch.zeros_like(images)
    for place in np.ndindex(*images[:, 0].shape):
        n, y, x = place
        red, green, blue = (round(255 * float(images[n, channel, y, x])) for channel in range(3))
        luma[n, :, y, x] = round(0.299 * red + 0.587 * green + 0.114 * blue) / 255
    return luma


def assert_looks_at_the_other_modality(people: Any, streams: Any) -> None:
    """The check: the loss of each modality from the centroids that equations 4 and 7 name, found from the start."""
    procedure = CMPS(gray=0.0, clusters=4)
    known = procedure.prepare(people, streams, 3, lambda _: None)
    rows = {modality: people.rows_of(modality) for modality in MODALITIES}
    visible, infrared = (people.images[rows[modality]] for modality in MODALITIES)
    with torch.no_grad():
        centroids = {
            "rgb": kmeans(streams.visible(visible), 4, seed=3),
            "g": kmeans(streams.visible(plain_gray(visible)), 4, seed=3),
            "ir": kmeans(streams.infrared(infrared), 4, seed=3),
        }
    for modality, p, n in zip(MODALITIES, ("ir", "g"), ("g", "rgb"), strict=True):
        images = people.images[rows[modality][:6]]
        modalities = torch.full((6,), MODALITIES.index(modality))
        batch = Batch(images=images, identities=torch.arange(6), modalities=modalities)
        embed = streams.of(modality)
        with torch.no_grad():
            clean, moved = embed(images), embed((images + 0.1).clamp(0, 1))
            found = procedure.value(batch, clean, (images + 0.1).clamp(0, 1), embed, known, 0.0)
        expected = plain_loss(moved, clean, centroids[p], centroids[n], 0.5)
        assert float(found) == pytest.approx(expected, rel=1e-6)


def test_whose_centroids(make_people: Make, streams: Any) -> None:
    """Near ones are infrared for visible images and gray for infrared ones; far ones gray and visible."""
    assert_looks_at_the_other_modality(make_people(both=True), streams)


@pytest.mark.parametrize("table", ["NEAR", "FAR"])
def test_centroids_of_the_own_modality_are_rejected(
    make_people: Make, streams: Any, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """The wrong twins: an image leaves, or seeks, its own modality."""
    monkeypatch.setattr(cross_modality, table, {modality: modality for modality in MODALITIES})
    with pytest.raises(AssertionError):
        assert_looks_at_the_other_modality(make_people(both=True), streams)


@dataclass(frozen=True, kw_only=True)
class Apart(CMPS):
    """The wrong twin: a momentum for each modality, here that of every second step."""

    def fit(self, loader: Any, embedder: Any, **options: Any) -> State:
        state = self.begin(loader.size, 0)
        kept = dict.fromkeys(MODALITIES, state.velocity)
        known = self.prepare(loader, embedder, 0, lambda _: None)
        for epoch in range(options["epochs"]):
            for batch in loader.epoch(epoch):
                only: Any = Only(batch)
                part = replace(state, epoch=0, velocity=kept[batch.modality])
                state = self._epoch(part, only, embedder, known, EIGHT, 0, lambda _: None)
                kept[batch.modality] = state.velocity
        return state


@dataclass(frozen=True)
class Only:
    """A loader of one batch."""

    batch: Batch

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """That one."""
        del epoch
        yield self.batch


def assert_alternates(procedure: CMPS, people: Any, streams: Any, *, given: Any = None) -> None:
    """The check: a visible step, then an infrared one, one momentum over both; each a twelfth of epsilon."""
    found = procedure.fit(given or people, streams, epsilon=EIGHT, epochs=2)
    known = procedure.prepare(people, streams, 0, lambda _: None)
    delta, velocity = (torch.zeros(3, 9, 6, dtype=torch.float64) for _ in range(2))
    for epoch in range(2):
        turns = [[batch for batch in people.epoch(epoch) if batch.modality == each] for each in MODALITIES]
        for batch in (batch for pair in zip(*turns, strict=True) for batch in pair):
            leaf, embed = delta.clone().requires_grad_(), streams.of(batch.modality)
            moved = embed((batch.images + leaf).clamp(0, 1))
            near, far = known[cross_modality.NEAR[batch.modality]], known[cross_modality.FAR[batch.modality]]
            loss = synergy_loss(moved, embed(batch.images), near, far, margin=0.5)
            (gradient,) = torch.autograd.grad(loss, leaf)
            velocity = velocity + gradient / gradient.abs().sum()
            delta = (delta - 8 / 255 / 12 * velocity.sign()).clamp(-8 / 255, 8 / 255)
    torch.testing.assert_close(found.velocity, velocity, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.delta, delta, atol=1e-6, rtol=0)


def test_turns_and_momentum(make_people: Make, streams: Any) -> None:
    """Step by step from the equations."""
    assert_alternates(CMPS(gray=0.0), make_people(both=True), streams)


def test_two_momenta_are_rejected(make_people: Make, streams: Any) -> None:
    """The wrong twin: each modality follows its own steps only."""
    with pytest.raises(AssertionError):
        assert_alternates(Apart(gray=0.0), make_people(both=True), streams)


@pytest.mark.parametrize("modality", MODALITIES)
def test_one_modality_only_is_rejected(make_people: Make, streams: Any, modality: Modality) -> None:
    """The wrong twin: the batches of one modality, as many as there are of both."""
    people = make_people(both=True)
    alone = replace(people, turns=(modality, modality))
    assert {batch.modality for batch in alone.epoch(0)} == {modality}
    with pytest.raises(AssertionError):
        assert_alternates(CMPS(gray=0.0), people, streams, given=alone)


def test_gray(make_people: Make) -> None:
    """Whole counts of luma; a share of the visible images, others in every step, and never an infrared one."""
    people, procedure = make_people(both=True), CMPS(gray=0.5)
    torch.testing.assert_close(grayscale(people.images[:4]), plain_gray(people.images[:4]), rtol=0, atol=1e-12)
    assert torch.equal(to_counts(grayscale(people.images)), to_counts(grayscale(people.images)).round())
    visible, infrared = list(people.epoch(0))[:2]
    assert procedure.augmented(infrared, 0, 0, 1) is infrared
    assert CMPS(gray=0.0).augmented(visible, 0, 0, 0) is visible
    for step in range(4):
        found = procedure.augmented(visible, 5, 2, step).images
        turned = stream(5, "grayscale", 2, step).random(len(found)) < 0.5
        for image, clean, is_gray in zip(found, visible.images, turned, strict=True):
            assert torch.equal(image, grayscale(clean[None])[0] if is_gray else clean)
    whole = CMPS(gray=1.0).augmented(visible, 0, 0, 0).images
    assert torch.equal(whole, grayscale(visible.images))


def crossed(people: Any, delta: Tensor, streams: Any) -> list[float]:
    """The score of perturbed visible images among clean infrared ones, and the other way round."""
    found = []
    for asking, asked in (MODALITIES, MODALITIES[::-1]):
        rows, others = people.rows_of(asking), people.rows_of(asked)
        moved = (people.images[rows] + delta.to(people.images)).clamp(0, 1)
        with torch.no_grad():
            queries, gallery = streams.of(asking)(moved), streams.of(asked)(people.images[others])
        found.append(float(histogram_precision(queries, gallery, people.identities[rows], 101)))
    return found


def assert_lowers_both(procedure: Procedure, make_people: Make, streams: Any) -> None:
    """The check: on other people, far more than by random signs of the same size, in both directions."""
    delta = procedure.fit(make_people(both=True), streams, epsilon=EIGHT, epochs=8).delta
    others, random = make_people(both=True, seed=7), np.random.default_rng(0)
    controls = [torch.from_numpy(random.choice([-1.0, 1.0], delta.shape)) * float(EIGHT) for _ in range(10)]
    clean, found = (crossed(others, change, streams) for change in (torch.zeros_like(delta), delta))
    by_chance = np.mean([crossed(others, change, streams) for change in controls], axis=0)
    for direction in range(2):
        assert clean[direction] > 0.8
        assert clean[direction] - found[direction] > 0.2
        assert clean[direction] - found[direction] > 5 * (clean[direction] - by_chance[direction])


def test_it_lowers_retrieval_across_modalities(make_people: Make, streams: Any) -> None:
    """Visible among infrared and infrared among visible."""
    assert_lowers_both(CMPS(), make_people, streams)


class Ascending(CMPS):
    """The wrong twin: the sign that the paper prints."""

    def normalised(self, gradient: Tensor) -> Tensor:
        return -super().normalised(gradient)


def test_the_sign_of_the_paper_is_rejected(make_people: Make, streams: Any) -> None:
    """Up the loss, retrieval stays as it was."""
    with pytest.raises(AssertionError):
        assert_lowers_both(Ascending(), make_people, streams)


@pytest.mark.parametrize("modality", MODALITIES)
def test_one_modality_is_not_enough(make_people: Make, streams: Any, modality: Modality) -> None:
    """Nor is a batch of both."""
    people = make_people(both=True)
    rows = people.rows_of(modality)
    parts = {name: getattr(people, name)[rows] for name in ("images", "identities", "modalities")}
    alone = replace(people, **parts)
    (other,) = set(MODALITIES) - {modality}
    with pytest.raises(ValueError, match=f"none that are {other}"):
        CMPS().fit(alone, streams, epsilon=EIGHT, epochs=1)
    with pytest.raises(ValueError, match="one modality, got visible, infrared"):
        CMPS().fit(replace(people, turns=None), streams, epsilon=EIGHT, epochs=1)


def test_as_many_centroids_as_people(make_people: Make, streams: Any) -> None:
    """Unless asked otherwise."""
    for clusters, count in ((None, 9), (5, 5)):
        known = CMPS(clusters=clusters).prepare(make_people(both=True), streams, 0, lambda _: None)
        assert {source: len(found) for source, found in known.items()} == dict.fromkeys(
            ("visible", "gray", "infrared"), count
        )
