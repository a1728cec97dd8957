"""How each attack of the catalogue is tried: a new one without a row here fails, and so does a row without an attack.

The promises are the files beside this one. Each is a check, and each check rejects an attack that breaks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest
import torch
from robustreid.attacks.catalogue import PRESETS, AttackSpec, resolve_attack
from robustreid.attacks.presets import FITTED
from robustreid.attacks.threat import Goal
from robustreid.attacks.universal import Perturbation


@dataclass(frozen=True)
class Row:
    """How an attack is tried."""

    #: Parameters that make it quick.
    quick: dict[str, Any] = field(default_factory=dict)
    #: The parameter that says how long it climbs.
    length: str = "steps"
    #: Lengths that are compared; none where there is one step.
    lengths: tuple[int, ...] = (1, 3, 6)
    #: Whether it climbs its objective on these very images.
    climbs: bool = True


THREE_STEPS, SEARCH, ONE_STEP = Row({"steps": 3}), Row({"steps": 6}, lengths=(2, 6, 12)), Row(lengths=())
SUITE: dict[str, Row] = {
    "ama-fgsm": ONE_STEP,
    "ama-ifgsm": Row(),
    "ama-mifgsm": Row(),
    "pgd": Row({"steps": 3, "restarts": 2}),
    "apgd": Row({"steps": 6, "restarts": 2}, lengths=(2, 6, 12)),
    "square": Row({"queries": 60}, length="queries", lengths=(10, 60, 200)),
    "noise": Row(climbs=False),
    "sma": THREE_STEPS,
    "odfa": Row(),
    "fna": THREE_STEPS,
    "fna-no-push": THREE_STEPS,
    "fna-no-pull": THREE_STEPS,
    "fna-public": THREE_STEPS,
    "sg-ifgsm": THREE_STEPS,
    "pire": SEARCH,
    "tma": SEARCH,
    "ltm": THREE_STEPS,
    "gtm": THREE_STEPS,
    "gtt": THREE_STEPS,
    "qa-plus": THREE_STEPS,
    "qa-minus": Row({"steps": 3, "pool": 0.5}),
    "ca-plus": THREE_STEPS,
    "ca-minus": Row({"steps": 3, "pool": 0.5}),
    "soft-ap": SEARCH,
    "lta": THREE_STEPS,
    "di-ti-mi": THREE_STEPS,
    # Fitted on other images: what it gains there is the suite of universal perturbations'.
    "uap-retrieval": Row(climbs=False),
    "muap": Row(climbs=False),
    "cmps": Row(climbs=False),
}
# A row that has lost its attack fails in test_rows.py, not while the tests are collected.
CLIMBING = [name for name, row in SUITE.items() if row.climbs and name in PRESETS]


def quick(name: str, **more: Any) -> AttackSpec:
    """An attack of the catalogue, quick enough for a test."""
    options = {**SUITE[name].quick, **more}
    if name in FITTED:
        options["perturbation"] = Perturbation(
            sha256="0" * 64,
            delta=(torch.rand(3, 12, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1) * 8 / 255,
            epsilon=Fraction(8, 255),
            procedure=name,
            model="another",
            model_sha256="1" * 64,
            data_sha256="2" * 64,
        )
    return resolve_attack(name, options)


def goals_of(spec: AttackSpec) -> list[Goal]:
    """The goals under which it may be asked for."""
    return [goal for goal in spec.objective.goals if spec.references != "self" or goal == "untargeted"]


@pytest.fixture(scope="session")
def suite() -> Mapping[str, Row]:
    """The rows by attack."""
    return SUITE


@pytest.fixture(params=[*PRESETS, *FITTED])
def spec(request: pytest.FixtureRequest) -> AttackSpec:
    """Every attack of the catalogue."""
    assert request.param in SUITE, f"attack {request.param} has no row in the contract suite"
    return quick(request.param)


@pytest.fixture
def brief(spec: AttackSpec) -> AttackSpec:
    """Every attack of the catalogue, with as few steps as can still go wrong."""
    row = SUITE[spec.name]
    shortest = {"steps": 2, "queries": 8}[row.length]
    return quick(spec.name, **{row.length: shortest}) if row.length in row.quick else spec


@pytest.fixture
def goals(spec: AttackSpec) -> list[Goal]:
    """The goals under which `spec` may be asked for."""
    return goals_of(spec)


@pytest.fixture(params=CLIMBING)
def climbing(request: pytest.FixtureRequest) -> AttackSpec:
    """Every attack that climbs its objective on the very images that it is given."""
    return quick(request.param)


@pytest.fixture(
    params=[pytest.param((name, goal), id=f"{name}-{goal}") for name in CLIMBING for goal in goals_of(quick(name))]
)
def climbing_to(request: pytest.FixtureRequest) -> tuple[AttackSpec, Goal]:
    """The same under each of its goals."""
    name, goal = request.param
    return quick(name), goal


@pytest.fixture(params=[name for name in CLIMBING if SUITE[name].lengths])
def lengthened(request: pytest.FixtureRequest) -> list[AttackSpec]:
    """The same with more and more steps."""
    row = SUITE[request.param]
    return [quick(request.param, **{row.length: length}) for length in row.lengths]
