"""Flags that rows raise side by side."""

from __future__ import annotations

import json
from typing import Any

import pytest
from robustreid.leaderboards.flags import flags_across


def row(cell_id: str, left: float, **given: Any) -> dict[str, Any]:
    """A row that is done, with what a problem needs; `params` become the attack's parameters."""
    params = {"objective": "push", "optimiser": "pgd", "steps": 10, **given.pop("params", {})}
    return {
        "cell_id": cell_id,
        "status": "done",
        "model": "m",
        "model_sha256": "aa",
        "dataset_sha256": "dd",
        "attack": "pgd",
        "knowledge": "white-box",
        "surrogate": None,
        "norm": "linf",
        "epsilon": 4 / 255,
        "side": "gallery",
        "goal": "untargeted",
        "seed": 0,
        "references": "other-side",
        "attack_params": json.dumps(params),
        "mAP_attacked": left,
        "target_mAP": None,
        **given,
    }


@pytest.mark.parametrize(
    "black",
    [
        {"knowledge": "transfer", "surrogate": "other"},
        {"knowledge": "score", "params": {"optimiser": "square"}},
        {"params": {"optimiser": "noise"}},
    ],
    ids=["transfer", "score", "noise"],
)
def test_a_black_box_that_wins_flags_every_white_box_row(black: dict[str, Any]) -> None:
    """Only where it is better by more than a point than the best of them, at the same epsilon and model."""
    white = [row("a", 0.30), row("b", 0.50, attack="ama-ifgsm")]
    name = frozenset({"black-box-beats-white-box"})
    assert flags_across([*white, row("c", 0.28, **black)]) == {"a": name, "b": name}
    assert flags_across([*white, row("c", 0.295, **black)]) == {}
    assert flags_across([*white, row("c", 0.40, **black)]) == {}
    for elsewhere in ({"epsilon": 2 / 255}, {"model_sha256": "bb"}, {"side": "query"}, {"dataset_sha256": "ee"}):
        assert flags_across([*white, row("c", 0.28, **black, **elsewhere)]) == {}


def test_a_score_that_rises_with_epsilon_flags_the_larger_one() -> None:
    """Against the lowest score of any smaller epsilon of that very attack."""
    path = [row(f"e{k}", left, epsilon=k / 255) for k, left in ((1, 0.5), (2, 0.2), (4, 0.205), (8, 0.3))]
    assert flags_across(path) == {"e8": frozenset({"score-rises-with-epsilon"})}
    assert flags_across(list(reversed(path))) == flags_across(path)
    other_seed = [row("s", 0.1, epsilon=1 / 255, seed=1), row("t", 0.1, epsilon=1 / 255, params={"step_ratio": 1.0})]
    assert flags_across([*path[1:3], *other_seed]) == {}


def test_twice_the_steps_flag_the_shorter_attack() -> None:
    """By more than two points, of an attack that is otherwise the same, whatever it is called."""
    short, long = row("s", 0.30), row("l", 0.27, attack="pgd-20", params={"steps": 20})
    assert flags_across([short, long]) == {"s": frozenset({"more-steps-help"})}
    assert flags_across([short, {**long, "mAP_attacked": 0.285}]) == {}
    assert flags_across([short, row("l", 0.1, params={"steps": 30})]) == {}
    assert flags_across([short, row("l", 0.1, params={"steps": 20, "step_ratio": 9.0})]) == {}
    assert flags_across([short, row("l", 0.1, epsilon=2 / 255, params={"steps": 20})]) == {}


def test_targeted_rows_count_the_other_way_round() -> None:
    """There the adversary wants the score to rise; targeted and untargeted rows do not meet."""
    path = [
        row(f"e{k}", 0.0, epsilon=k / 255, goal="targeted", mAP_attacked=None, target_mAP=found)
        for k, found in ((1, 0.1), (2, 0.4), (4, 0.3))
    ]
    assert flags_across(path) == {"e4": frozenset({"score-rises-with-epsilon"})}


def test_rows_without_a_score_are_passed_over() -> None:
    """A failed row is no weak attack, and one of an older version or with unreadable parameters breaks nothing."""
    rows = [
        row("f", 0.0, status="failed", mAP_attacked=None, knowledge="transfer"),
        row("n", 0.1, epsilon=1 / 255, mAP_attacked=None),
        row("u", 0.5, attack_params="{"),
        row("w", 0.5, attack_params=None, attack="x"),
    ]
    assert flags_across(rows) == {}
