"""What the package does as it comes, planted again: each defect is seen, and ours is without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torchattacks
from robustreid.attacks.bridge import overrides
from robustreid.attacks.bridge.classifier import OwnIdentity
from robustreid.attacks.bridge.foreign import constructor
from robustreid.attacks.catalogue import AttackSpec, resolve_attack
from robustreid.attacks.neighbours import Neighbours
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PlainNegatives(OwnIdentity):
    """The wrong twin: negative distances as they come, without the constant."""

    def logits(self, features: Tensor, near: Neighbours) -> Tensor:
        """(B, K), all negative."""
        return super().logits(features, near) - 1000


def test_plain_negatives_disable_cw(real32: Any, quick: Callable[[str], AttackSpec], ball: Any) -> None:
    """It multiplies the own logit with zero and takes that for the best other one: nothing moves or says so."""
    spec, threat = quick("CW"), ball("l2")
    silent = real32.attempts(spec.optimiser, threat, objective=PlainNegatives())[0]
    assert torch.equal(silent, real32.images)
    found = real32.by(spec, threat)
    assert (found - real32.images).abs().amax((1, 2, 3)).min() > 0


@pytest.fixture
def as_it_comes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bridge without its corrections."""
    monkeypatch.setattr("robustreid.attacks.bridge.foreign.OVERRIDES", {})
    constructor.cache_clear()
    yield
    constructor.cache_clear()


def moved(scene: Any, name: str, threat: Any) -> list[bool]:
    """Which images of a scene an attack changes."""
    options = {"n_queries": 5} if name == "Square" else {"steps": 3}
    found = scene.by(resolve_attack(f"torchattacks.{name}", options), threat)
    changes: list[bool] = (found != scene.images).flatten(1).any(1).tolist()
    return changes


@pytest.mark.parametrize("name", ["APGD", "Square"])
def test_the_best_image_is_kept_although_it_fools_nobody(real32: Any, ball: Any, name: str) -> None:
    """In a ball too small to cross to another identity, every image still moves."""
    assert all(moved(real32, name, ball("linf", "1/5100")))


@pytest.mark.usefixtures("as_it_comes")
@pytest.mark.parametrize("name", ["APGD", "Square"])
def test_as_it_comes_clean_images_come_back(real32: Any, ball: Any, name: str) -> None:
    """The test above fails for the package's own code."""
    with pytest.raises(AssertionError):
        test_the_best_image_is_kept_although_it_fools_nobody(real32, ball, name)


def test_squares_fit_into_tall_images(real32: Any, quick: Callable[[str], AttackSpec], ball: Any) -> None:
    """In L2 the package's own squares are wider than the image and do not fit its arrays."""
    assert all(moved(real32, "Square", ball("l2")))


@pytest.mark.usefixtures("as_it_comes")
def test_as_it_comes_they_do_not(real32: Any, ball: Any) -> None:
    """The wrong twin of the test above."""
    with pytest.raises(RuntimeError):
        moved(real32, "Square", ball("l2"))


def test_cw_looks_labels_up_where_they_lie(real32: Any, classifier_of: Callable[..., Any]) -> None:
    """3.3.0 indexes a table on the CPU with labels of another device; ours lies beside the labels."""
    classifier, _ = classifier_of(real32)
    outputs = torch.rand(3, 2, device="meta")
    labels = torch.zeros(3, dtype=torch.int64, device="meta")
    corrected = overrides.OVERRIDES["CW"](torchattacks.CW)(classifier)
    assert corrected.f(outputs, labels).shape == (3,)
    if torchattacks.__version__ == "3.3.0":
        with pytest.raises((RuntimeError, NotImplementedError, IndexError)):
            torchattacks.CW(classifier).f(outputs, labels)
    logits, own = torch.tensor([[3.0, 1.0, 2.5], [0.5, 4.0, 0.0]]), torch.tensor([0, 2])
    assert corrected.f(logits, own).tolist() == pytest.approx(torchattacks.CW(classifier).f(logits, own).tolist())
    assert corrected.f(logits, own).tolist() == [0.5, 0.0]
