"""A retrieval model as a classifier: its logits, its labels, its shape, its passes, its mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torchattacks
from robustreid.attacks.bridge.classifier import OwnIdentity, TargetIdentity, labels_of
from robustreid.attacks.bridge.foreign import DrawnForeign
from robustreid.attacks.catalogue import resolve_attack
from robustreid.models.base import ModelSpec
from robustreid.models.pixels import PixelEmbedder
from torch import Tensor, nn
from torch.nn import functional


def by_hand(scene: Any, images: Tensor, scale: float, unit: float = 1.0) -> list[list[float]]:
    """The equation, one image and one identity at a time."""
    features = scene.features(scene.reference_images)
    identities = scene.reference.identities.tolist()
    rows = []
    for feature in scene.features(images):
        terms = []
        for identity in sorted({each for each in identities if each not in {-1, 0}}):
            own = [features[row] for row, each in enumerate(identities) if each == identity]
            centroid = sum(own) / len(own)
            terms.append(scale * float(((feature - centroid) ** 2).sum()) / unit)
        rows.append([max(terms) - term for term in terms])
    return rows


def raw(scene: Any) -> Any:
    """The same scene with features as they come, eight times as long."""
    network = nn.Sequential(scene.embedder.network, Longer()) if hasattr(scene.embedder, "network") else None
    assert network is not None
    spec = ModelSpec(label="raw", architecture="plugin", input_size=(12, 8), metric="euclidean")
    return scene.having(embedder=PixelEmbedder(network, spec).double())


class Longer(nn.Module):
    """Eight times as long."""

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, D)."""
        return 8 * features


@pytest.mark.parametrize("scale", [10.0, 3.0])
def test_logits_are_those_of_the_equation(smooth: Any, classifier_of: Callable[..., Any], scale: float) -> None:
    """Junk and distractors have no centroid, the nearest identity has the largest logit, none is negative."""
    classifier, _ = classifier_of(smooth, objective=OwnIdentity(logit_scale=scale))
    images = smooth.images[smooth.selection.attacked]
    found = classifier(images)
    assert torch.allclose(found, torch.tensor(by_hand(smooth, images, scale), dtype=found.dtype), atol=1e-9)
    assert found.min() == 0
    assert classifier.n_classes == 3


def test_raw_features_are_measured_in_their_own_length(smooth: Any, classifier_of: Callable[..., Any]) -> None:
    """With the mean squared length of the other side as the unit, s means the same for features of any length."""
    scene = raw(smooth)
    features = scene.features(scene.reference_images)
    somebody = [row for row, each in enumerate(scene.reference.identities) if each not in {-1, 0}]
    unit = float(features[somebody].square().sum(1).mean())
    assert unit > 2
    images = scene.images[scene.selection.attacked]
    found = classifier_of(scene)[0](images)
    assert torch.allclose(found, torch.tensor(by_hand(scene, images, 10, unit), dtype=found.dtype), atol=1e-9)


def test_labels_are_those_of_the_own_or_the_target_identity(smooth: Any, classifier_of: Callable[..., Any]) -> None:
    """Places among the ascending identities of the other side; padding has the first."""
    loss = classifier_of(smooth)[1]
    assert smooth.attacked.identities[smooth.selection.attacked].tolist() == [4, 7, 9, 4, 7, 9, 4, 9]
    assert labels_of(loss.references.neighbours).tolist() == [0, 1, 2, 0, 1, 2, 0, 2]
    targeted = smooth.having(goal="targeted")
    rows = targeted.selection.attacked.tolist()
    padded = targeted.batch(rows, len(rows) + 2, TargetIdentity())[0]
    aims = [[4, 7, 9].index(each) for each in targeted.selection.target_identities[rows]]
    assert labels_of(padded.references.neighbours).tolist() == [*aims, 0, 0]


def test_what_is_maximised_is_the_cross_entropy(smooth: Any, classifier_of: Callable[..., Any]) -> None:
    """Of the own identity, and for a targeted goal its negative for the target's; it is what a row can be read by."""
    classifier, loss = classifier_of(smooth)
    images = smooth.images[smooth.selection.attacked]
    expected = functional.cross_entropy(classifier(images), labels_of(loss.references.neighbours), reduction="none")
    assert torch.allclose(loss(images), expected, atol=1e-9)
    targeted = smooth.having(goal="targeted")
    values = targeted.values(targeted.images, OwnIdentity().toward())
    assert (values < 0).all()


def test_any_number_of_images_in_batches_of_one_shape(smooth: Any, classifier_of: Callable[..., Any]) -> None:
    """Fewer are padded, more are split, each image is counted once, and the model sees one shape."""
    seen: list[int] = []

    def spy(images: Tensor) -> Tensor:
        seen.append(len(images))
        features: Tensor = smooth.embedder(images)
        return features

    classifier, loss = classifier_of(smooth.having(embedder=spy), size=4)
    images = smooth.images[smooth.selection.attacked]
    seen.clear()
    whole = classifier(images[:7])
    assert torch.allclose(whole, torch.cat([classifier(image[None]) for image in images[:7]]), atol=1e-12)
    assert set(seen) == {4}
    assert (loss.passes.forwards, loss.passes.forwards_spent) == (14, 14)
    leaf = images[:3].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(classifier(leaf).sum(), leaf)
    assert gradient.is_contiguous()
    assert (loss.passes.forwards, loss.passes.backwards, loss.passes.backwards_spent) == (17, 3, 3)


def test_one_identity_is_nothing_to_tell_apart(smooth: Any, classifier_of: Callable[..., Any]) -> None:
    """A sentence instead of gradients that are zero everywhere."""
    alone = replace(smooth.reference, identities=np.full_like(smooth.reference.identities, 4))
    scene = smooth.having(reference=alone)
    with pytest.raises(ValueError, match="at least two identities"):
        classifier_of(scene)


class Holding(nn.Module):
    """The wrong twin: a wrapper that holds the model as a part of itself."""

    def __init__(self, model: nn.Module) -> None:
        """Around a model."""
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        found: Tensor = self.model(images)
        return found


def test_a_wrapper_in_train_mode_is_rejected(real32: Any, classifier_of: Callable[..., Any], ball: Any) -> None:
    """The package puts what came in train mode back into it, with all its parts; ours has the model as no part."""
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    twin = Holding(model)
    assert twin.training
    torchattacks.FGSM(twin)(real32.images, torch.zeros(4, dtype=torch.int64))
    assert model.training

    classifier, _ = classifier_of(real32)
    assert not classifier.training
    assert [type(each) for each in classifier.modules()] == [type(classifier)]
    optimiser = resolve_attack("torchattacks.PGD").optimiser
    assert isinstance(optimiser, DrawnForeign)
    assert optimiser.build(classifier, ball("linf"), 0).model is classifier
    with pytest.raises(ValueError, match="in eval mode"):
        optimiser.build(classifier.train(), ball("linf"), 0)
