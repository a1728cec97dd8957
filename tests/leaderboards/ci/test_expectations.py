"""What a mark asks of a cell, without pytest and without a model."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from robustreid import UserError
from robustreid.attacks.reliability.thresholds import FLAGS
from robustreid.benchmark.config.schema import GridFile
from robustreid.benchmark.runtime import Settings
from robustreid.benchmark.store.schema import ROW_SCHEMA
from robustreid.leaderboards.expectations import BOUNDS, DOUBTS, OPTIONS, make_expectation

ROW: dict[str, Any] = {"mAP_clean": 0.6, "mAP_attacked": 0.3, "rank1_attacked": 0.25, "rank1_clean": 0.7, "flags": []}


def test_every_keyword_means_something() -> None:
    """Options are what `evaluate` takes, bounds are stored scores, and doubts are flags."""
    known = {"attack", "epsilon", "side", *GridFile.model_fields, *(field.name for field in fields(Settings))}
    assert set(OPTIONS) <= known
    assert {bound.column for bound in BOUNDS.values()} <= set(ROW_SCHEMA.names)
    assert set(DOUBTS) <= FLAGS.keys()


@pytest.mark.parametrize(
    ("given", "missed"),
    [
        ({"min_mAP": 0.3}, []),
        ({"min_mAP": 0.31}, ["mAP_attacked 30.00 is below min_mAP 31.00"]),
        ({"min_mAP": 0, "min_rank1": 1}, ["rank1_attacked 25.00 is below min_rank1 100.00"]),
        ({"min_clean_mAP": 0.7, "min_mAP": 0.2}, ["mAP_clean 60.00 is below min_clean_mAP 70.00"]),
        ({}, []),
    ],
)
def test_bounds_are_held(given: dict[str, Any], missed: list[str]) -> None:
    """A score that equals its bound is enough; each that does not has its sentence."""
    assert make_expectation(given).failures(ROW) == missed


def test_a_targeted_bound_is_the_most_that_may_be_found() -> None:
    """An adversary who finds the target more often than that wins."""
    expectation = make_expectation({"goal": "targeted", "max_target_mAP": 0.2})
    assert expectation.failures({"target_mAP": 0.2, "flags": None}) == []
    assert expectation.failures({"target_mAP": 0.21}) == ["target_mAP 21.00 is above max_target_mAP 20.00"]


def test_an_attack_that_could_not_look_meets_no_bound() -> None:
    """A high attacked score under `zero-gradient` is a failure of the attack; clean scores and other flags stand."""
    blind = ROW | {"mAP_attacked": 0.6, "flags": ["zero-gradient"]}
    (said,) = make_expectation({"min_mAP": 0.3, "min_clean_mAP": 0.5}).failures(blind)
    assert said.startswith("min_mAP 30.00 counts as missed: the row has the flag zero-gradient (an attack that follows")
    assert make_expectation({"min_mAP": 0.3, "accept_flags": "zero-gradient"}).failures(blind) == []
    assert make_expectation({"min_mAP": 0.3}).failures(blind | {"flags": ["projected"]}) == []


@pytest.mark.parametrize("value", [30, -0.1, "0.3", float("nan"), True, None])
def test_a_bound_is_a_fraction(value: Any) -> None:
    """Points, texts and what is no number are refused."""
    with pytest.raises(UserError, match=r"min_mAP is .*; expected a fraction from 0 to 1, such as 0\.30"):
        make_expectation({"min_mAP": value})
