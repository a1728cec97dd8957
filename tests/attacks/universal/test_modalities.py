"""Batches of two modalities: each image is embedded by its own stream, whatever is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from robustreid.attacks.universal import MUAP, Batch, Procedure, UAPRetrieval, procedure
from robustreid.attacks.universal.procedure import seen_by
from robustreid.models.base import MODALITIES
from torch import Tensor

EIGHT = Fraction(8, 255)
Make = Callable[..., Any]
#: The procedures that take batches of everybody.
MIXED: dict[str, Procedure] = {"uap-retrieval": UAPRetrieval(clusters=8), "muap": MUAP(variation=0.0)}


def assert_own_streams(view: Callable[[Any, Tensor | None], Any], people: Any, streams: Any) -> None:
    """The check: row by row the feature of the image's own stream, in any order, with its gradient."""
    order = torch.randperm(len(people.images), generator=torch.Generator().manual_seed(1))[:17]
    images, modalities = people.images[order].requires_grad_(), people.modalities[order]
    found = view(streams, modalities)(images)
    expected = torch.cat(
        [streams.of(MODALITIES[int(place)])(image[None]) for image, place in zip(images, modalities, strict=True)]
    )
    torch.testing.assert_close(found, expected)
    slopes = [
        torch.autograd.grad(features.square().sum() + features[:, 0].sum(), images)[0] for features in (found, expected)
    ]
    torch.testing.assert_close(*slopes)


def test_each_image_by_its_stream(make_people: Make, streams: Any) -> None:
    """In a batch of both."""
    assert_own_streams(seen_by, make_people(both=True), streams)


@pytest.mark.parametrize("modality", MODALITIES)
def test_one_stream_for_all_is_rejected(make_people: Make, streams: Any, modality: Any) -> None:
    """The wrong twin: everything through one stream."""
    with pytest.raises(AssertionError):
        assert_own_streams(lambda embedder, _: embedder.of(modality), make_people(both=True), streams)


def test_a_batch_of_one_modality_is_not_split(make_people: Make, streams: Any, smooth_embedder: Any) -> None:
    """Its stream itself; a model without streams is handed back as it is, and so is one that knows of none."""
    both = make_people(both=True).modalities
    for place, modality in enumerate(MODALITIES):
        assert seen_by(streams, both[both == place]) is streams.of(modality)
    assert seen_by(streams, None) is streams.visible
    plain = torch.nn.Flatten()
    for modalities in (None, both, both[:3]):
        assert seen_by(smooth_embedder, modalities) is smooth_embedder
        assert seen_by(plain, modalities) is plain


@pytest.mark.parametrize("name", MIXED)
def test_fits_see_infrared_images_by_their_stream(
    make_people: Make, streams: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fit on images of both modalities is another where infrared ones pass the visible stream."""
    people = make_people(both=True, turns=None)
    right = MIXED[name].fit(people, streams, epsilon=EIGHT, epochs=2)
    assert torch.isfinite(right.delta).all()
    blind = MIXED[name].fit(replace(people, modalities=None), streams, epsilon=EIGHT, epochs=2)
    assert not torch.equal(right.delta, blind.delta)
    monkeypatch.setattr(procedure, "seen_by", lambda embedder, _: embedder.visible)
    steps_blind = MIXED[name].fit(people, streams, epsilon=EIGHT, epochs=2)
    assert not torch.equal(right.delta, steps_blind.delta)


@pytest.mark.parametrize("name", MIXED)
def test_a_model_without_streams_is_fitted_as_before(make_people: Make, smooth_embedder: Any, name: str) -> None:
    """Bit for bit, whether modalities are known or not."""
    people = make_people(both=True, turns=None)
    first, second = (
        MIXED[name].fit(crowd, smooth_embedder, epsilon=EIGHT, epochs=2)
        for crowd in (people, replace(people, modalities=None))
    )
    assert torch.equal(first.delta, second.delta)


def test_images_of_a_modality() -> None:
    """In order; what is not said is visible."""
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    batch = Batch(images=images, identities=torch.arange(4), modalities=torch.tensor([1, 0, 1, 0]))
    assert batch.of("infrared")[:, 0, 0, 0].tolist() == [0, 2]
    assert batch.of("visible")[:, 0, 0, 0].tolist() == [1, 3]
    plain = replace(batch, modalities=None)
    assert (len(plain.of("visible")), len(plain.of("infrared")), plain.modality) == (4, 0, "visible")
