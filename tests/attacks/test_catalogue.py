"""Attacks by name: what resolves to one cell, and what is refused in one line."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import pytest
from robustreid import UserError
from robustreid.attacks.bridge import list_foreign
from robustreid.attacks.catalogue import OPTIMISERS, PRESETS, resolve_attack
from robustreid.attacks.commands import list_attacks
from robustreid.attacks.objectives import OBJECTIVES, Pull
from robustreid.attacks.optimisers import MIFGSM
from robustreid.attacks.presets import FITTED
from robustreid.attacks.threat import Goal, NormName, Side, Threat
from robustreid.attacks.transforms import TRANSFORMS

NEW = {"objective": "push", "optimiser": "pgd"}


def threat(epsilon: str = "5/255", norm: NormName = "linf") -> Threat:
    return Threat(norm=norm, epsilon=Fraction(epsilon))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_resolve(name: str) -> None:
    """A preset is its objective, its optimiser and its version, with parameters that are plain JSON values."""
    spec = resolve_attack(name)
    assert (PRESETS[name].version, PRESETS[name].references) == (spec.version, spec.references)
    assert PRESETS[name].objective == spec.parameters()["objective"]
    assert PRESETS[name].optimiser == spec.parameters()["optimiser"]
    assert all(isinstance(value, str | int | float | None) for value in spec.parameters().values())
    assert spec == resolve_attack(name, {})


def test_parameters_of_the_paper() -> None:
    """MI-FGSM: momentum 1, steps of 1/255, as many as the schedule says."""
    expected = {"objective": "push", "optimiser": "mifgsm", "momentum": 1.0, "steps": None, "step_size": "1/255"}
    assert expected == resolve_attack("ama-mifgsm").parameters()
    assert {**expected, "optimiser": "ifgsm", "momentum": 0.0} == resolve_attack("ama-ifgsm").parameters()


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 1.0},
        {"momentum": 1},
        {"steps": None},
        {"step_size": "1/255"},
        {"step_size": 1 / 255},
        {"step_size": "2/510"},
        {"references": "other-side"},
        {"objective": "push", "optimiser": "mifgsm"},
    ],
)
def test_what_is_given_by_default_is_the_same_attack(options: dict[str, Any]) -> None:
    """Writing out a default, in whatever form, changes nothing."""
    assert resolve_attack("ama-mifgsm") == resolve_attack("ama-mifgsm", options)
    assert repr(resolve_attack("ama-mifgsm").parameters()) == repr(resolve_attack("ama-mifgsm", options).parameters())


@pytest.mark.parametrize("options", [{"momentum": 0.5}, {"steps": 3}, {"step_size": "2/255"}])
def test_another_value_is_another_attack(options: dict[str, Any]) -> None:
    """Every parameter shows in `parameters`."""
    assert resolve_attack("ama-mifgsm").parameters() != resolve_attack("ama-mifgsm", options).parameters()


def test_any_objective_joins_any_optimiser() -> None:
    """A new name needs both, and takes the optimiser's parameters."""
    for objective in OBJECTIVES:
        for optimiser in OPTIMISERS.names():
            spec = resolve_attack("mine", {"objective": objective, "optimiser": optimiser})
            assert (objective, optimiser, 1, False) == (
                spec.objective_name,
                spec.optimiser_name,
                spec.version,
                spec.linf_only,
            )
    assert MIFGSM(momentum=0.5) == resolve_attack("m", {**NEW, "optimiser": "mifgsm", "momentum": 0.5}).optimiser


@pytest.mark.parametrize(
    ("message", "name", "options"),
    [
        ("Unknown attack 'ama-mifgms'. Did you mean 'ama-mifgsm'?", "ama-mifgms", {}),
        ("needs both `objective`", "mine", {"objective": "push"}),
        ("needs both `objective`", "mine", {"optimiser": "pgd"}),
        ("takes no parameter 'momentun'. Did you mean 'momentum'?", "ama-mifgsm", {"momentun": 1}),
        ("takes no parameter 'momentum'. It takes: none", "ama-fgsm", {"momentum": 1}),
        ("Did you mean 'restarts'?", "pgd", {"restart": 2}),
        ("ama-fgsm is push by fgsm; give pull by fgsm another name", "ama-fgsm", {"objective": "pull"}),
        ("give push by pgd another name", "ama-fgsm", {"optimiser": "pgd"}),
        ("Unknown objective 'pusch'. Did you mean 'push'?", "mine", {**NEW, "objective": "pusch"}),
        ("Unknown optimiser 'pdg'. Did you mean 'pgd'?", "mine", {**NEW, "optimiser": "pdg"}),
        ("Did you mean 'other-side'?", "pgd", {"references": "other-sid"}),
        ("Unknown reference policy '3'", "pgd", {"references": 3}),
        ("steps: expected a whole number, got 2.5", "pgd", {"steps": 2.5}),
        ("steps: expected a number, got '3'", "pgd", {"steps": "3"}),
        ("steps: expected a number, got True", "pgd", {"steps": True}),
        ("steps: expected a number, got [3]", "pgd", {"steps": [3]}),
        ("got 0 and 1", "pgd", {"steps": 0}),
        ("got 20 and 0", "pgd", {"restarts": 0}),
        ("steps: expected 1 to 100000, got 0", "ama-ifgsm", {"steps": 0}),
        ("restarts: expected a whole number, got None", "pgd", {"restarts": None}),
        ("step_ratio: expected more than 0", "pgd", {"step_ratio": 0}),
        ("step_ratio: expected a finite number, got nan", "pgd", {"step_ratio": float("nan")}),
        ("step_ratio: expected a number, got nothing", "pgd", {"step_ratio": None}),
        ("momentum: expected at least 0", "ama-mifgsm", {"momentum": -1}),
        ("momentum: expected a finite number, got inf", "ama-mifgsm", {"momentum": float("inf")}),
        ("momentum: expected a number, got 'much'", "ama-mifgsm", {"momentum": "much"}),
        ("step_size: expected a fraction such as 1/255, got 'x'", "ama-ifgsm", {"step_size": "x"}),
        ("step_size: expected a fraction such as 1/255, got None", "ama-ifgsm", {"step_size": None}),
        ("step_size: expected a fraction such as 1/255, got 1", "ama-ifgsm", {"step_size": 1}),
        ("step_size: expected more than 0, got 0", "ama-ifgsm", {"step_size": 0}),
    ],
)
def test_wrong_requests_are_refused(message: str, name: str, options: dict[str, Any]) -> None:
    """Unknown names with the nearest one, wrong types and values; each message is one line that names what is wrong."""
    with pytest.raises(UserError) as caught:
        resolve_attack(name, options)
    assert message in str(caught.value)
    assert_one_line(caught.value)


def assert_one_line(error: UserError) -> None:
    """Readable as it stands: one line that starts with a name or a capital and ends with one full stop."""
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    assert not text.endswith("..")
    assert len(text) < 450


@pytest.mark.parametrize(
    ("named", "options", "asked", "side", "goal"),
    [
        ("use pgd there", {"name": "ama-ifgsm"}, threat("1/510"), "query", "untargeted"),
        ("use pgd there", {"name": "ama-mifgsm"}, threat("9/2550"), "gallery", "untargeted"),
        ("use pgd for l2", {"name": "ama-fgsm"}, threat("1/2", "l2"), "query", "untargeted"),
        ("use pgd for l2", {"name": "ama-ifgsm"}, threat("0", "l2"), "query", "untargeted"),
        ("use pgd for l2", {"name": "ama-mifgsm"}, threat("2", "l2"), "query", "untargeted"),
        ("choose query or gallery", {"name": "pgd", "references": "self"}, threat(), "both", "untargeted"),
        ("use other-side", {"name": "pgd", "references": "self"}, threat(), "query", "targeted"),
        ("not for both", {"name": "pgd"}, threat(), "both", "targeted"),
    ],
)
def test_combinations_without_meaning_are_refused(
    named: str, options: dict[str, str], asked: Threat, side: Side, goal: Goal
) -> None:
    """Below the schedule's first step, a norm the paper does not define, both sides alike; each names a way out."""
    with pytest.raises(UserError, match=named) as caught:
        resolve_attack(options.pop("name"), options).refuse(asked, side, goal)
    assert_one_line(caught.value)


def test_what_has_a_meaning_is_not_refused() -> None:
    """Epsilon 0, the schedule's first step, explicit steps below it, L2 for PGD and noise, both sides untargeted."""
    for name in ("ama-fgsm", "ama-ifgsm", "ama-mifgsm", "pgd", "apgd", "noise", "tma", "di-ti-mi"):
        for epsilon in ("0", "1/255", "3/510", "16/255"):
            resolve_attack(name).refuse(threat(epsilon), "both", "untargeted")
            resolve_attack(name).refuse(threat(epsilon), "gallery", "targeted")
    for name in PRESETS:
        spec = resolve_attack(name)
        for side in spec.sides:
            if side != "both":
                spec.refuse(threat(), side, spec.objective.goals[0])
    resolve_attack("ama-ifgsm", {"steps": 3, "step_size": "1/2550"}).refuse(threat("1/510"), "query", "untargeted")
    resolve_attack("ama-fgsm").refuse(threat("1/510"), "query", "untargeted")
    for name in ("pgd", "noise"):
        resolve_attack(name).refuse(threat("1/510"), "query", "untargeted")
        resolve_attack(name).refuse(threat("3", "l2"), "query", "targeted")


@pytest.mark.parametrize(
    ("name", "options", "side", "goal", "message"),
    [
        ("fna", {}, "query", "targeted", "no targeted form, only untargeted"),
        ("qa-plus", {}, "query", "untargeted", "no untargeted form, only targeted"),
        ("qa-plus", {}, "gallery", "targeted", "changes images of the query side"),
        ("gtt", {}, "gallery", "untargeted", "changes images of the query side"),
        ("ca-minus", {}, "both", "untargeted", "changes images of the gallery side"),
        ("sma", {}, "both", "untargeted", "cannot attack both sides"),
        ("mine", {"objective": "self", "optimiser": "ifgsm"}, "query", "untargeted", "is zero at the clean image"),
    ],
)
def test_what_has_no_meaning_is_refused(name: str, options: Any, side: Any, goal: Any, message: str) -> None:
    """A goal or a side that an objective does not have, and a start where its gradient is zero."""
    with pytest.raises(UserError, match=message) as caught:
        resolve_attack(name, options).refuse(threat(), side, goal)
    assert_one_line(caught.value)


def test_parameters_of_parts_have_names_of_their_own() -> None:
    """So that a grid's entry says which part it means."""
    for objective in OBJECTIVES:
        for optimiser in OPTIMISERS.names():
            parts = [OBJECTIVES[objective], OPTIMISERS.load(optimiser), *TRANSFORMS.values()]
            names = [field.name for part in parts for field in dataclasses.fields(part)]
            assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transforms": ["dj"]}, "Unknown transform 'dj'"),
        ({"transforms": 3}, "expected names such as"),
        ({"transforms": ["ti", "ti"]}, "stands there twice"),
        ({"eot": 0}, "expected 1 to 1000 samples"),
        ({"ti_size": 3}, "takes no parameter 'ti_size'"),
        ({"transforms": "ti", "ti_size": 4}, "odd number of pixels"),
    ],
)
def test_wrong_transforms_are_refused(options: Any, message: str) -> None:
    """By name, and by their own parameters, which exist only where they are asked for."""
    with pytest.raises(UserError, match=message) as caught:
        resolve_attack("ama-mifgsm", options)
    assert_one_line(caught.value)


def test_goals_choose_the_objective() -> None:
    """Push untargeted, pull targeted, whichever of the two the attack is called by."""
    for objective in ("push", "pull"):
        spec = resolve_attack("mine", {**NEW, "objective": objective})
        assert OBJECTIVES[objective]() == spec.objective_for("untargeted")
        assert Pull() == spec.objective_for("targeted")


@pytest.mark.parametrize(
    ("expected", "name", "options", "goal"),
    [
        (False, "ama-fgsm", {}, "untargeted"),
        (False, "ama-mifgsm", {"references": "other-side-cross-camera"}, "untargeted"),
        (True, "ama-fgsm", {}, "targeted"),
        (True, "ama-fgsm", {"references": "single"}, "untargeted"),
        (True, "pgd", {}, "untargeted"),
        (True, "noise", {}, "untargeted"),
    ],
)
def test_who_depends_on_the_seed(expected: bool, name: str, options: dict[str, str], goal: Goal) -> None:
    """Random optimisers, a random reference, and random targets; nothing else."""
    assert expected == resolve_attack(name, options).depends_on_seed(goal)


def test_ls_lists_every_preset() -> None:
    """One record each, with the norms it is defined for and its parameters."""
    records = {record["name"]: record for record in list_attacks()}
    foreign = [record["name"] for record in list_foreign()]
    assert [*PRESETS, "auto", *FITTED, *foreign] == list(records)
    assert records["ama-ifgsm"]["norms"] == ["linf"]
    assert records["pgd"]["norms"] == ["linf", "l2"]
    assert records["pgd"]["restarts"] == 1
    assert all(record["source"] and record["summary"] for record in records.values())


def test_a_changed_preset_has_a_label_of_its_own() -> None:
    """Two settings of one preset are told apart; the usual one, however written, is not."""
    assert resolve_attack("ama-mifgsm", {"momentum": 1}).label == "ama-mifgsm"
    assert resolve_attack("ama-ifgsm", {"steps": 3}).label == "ama-ifgsm(steps=3)"
    assert resolve_attack("pgd", {"references": "self"}).label == "pgd(references=self)"
    assert resolve_attack("mine", {"objective": "push", "optimiser": "pgd", "steps": 3}).label == "mine"


@pytest.mark.parametrize("options", [{"steps": 10**12}, {"steps": 1000, "restarts": 1000}])
def test_steps_have_an_upper_limit(options: dict[str, int]) -> None:
    """A slip of the keyboard does not hang a plan."""
    with pytest.raises(UserError, match=r"at most|1 to"):
        resolve_attack("pgd", options)
