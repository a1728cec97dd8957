"""What the suites of the bridge share: attacks by name, and classifiers of a scene."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from robustreid.attacks.bridge.classifier import Classifier, OwnIdentity
from robustreid.attacks.catalogue import AttackSpec, resolve_attack
from robustreid.attacks.threat import NormName, Threat

#: Parameters that make an attack quick enough for a test.
_QUICK: dict[str, dict[str, Any]] = {
    "Square": {"n_queries": 25},
    "VMIFGSM": {"steps": 3, "N": 2},
    "APGD": {"n_restarts": 2, "steps": 6},
    "CW": {"steps": 25},
}


@pytest.fixture(scope="session")
def quick() -> Callable[[str], AttackSpec]:
    """A function that resolves an attack of the package by its bare name, with few steps."""
    return lambda name: resolve_attack(f"torchattacks.{name}", _QUICK.get(name, {}))


@pytest.fixture(scope="session")
def ball() -> Callable[..., Threat]:
    """A function that gives a usual ball of a norm, or one of another radius."""

    def make(norm: NormName, epsilon: str | None = None) -> Threat:
        return Threat(norm=norm, epsilon=Fraction(epsilon or ("5/255" if norm == "linf" else "2")))

    return make


@pytest.fixture(scope="session")
def classifier_of() -> Callable[..., tuple[Classifier, Any]]:
    """A function that gives a scene as a classifier, and the loss that counts its passes."""

    def make(scene: Any, size: int | None = None, objective: OwnIdentity | None = None) -> tuple[Classifier, Any]:
        rows = scene.selection.attacked.tolist()
        size = size or len(rows)
        loss, _, _ = scene.batch(rows[:size], size, objective or OwnIdentity())
        return Classifier(loss, size), loss

    return make
