"""Pages of attacks: what each is, and every model under it at each radius."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid.attacks.commands import list_attacks
from robustreid.reports.attacks import AttackPage, describe, make_attacks
from robustreid.reports.merging import load_results


@pytest.fixture
def attacks(make_run: Callable[..., Path], tmp_path: Path) -> Callable[[list[dict[str, Any]]], tuple[AttackPage, ...]]:
    """A function that gives the pages of some cells."""
    return lambda cells: make_attacks(load_results([make_run(tmp_path / "run", cells)]).results)


def test_every_attack_of_the_catalogue_is_described() -> None:
    """In the words of `robustreid ls attacks`, read without torch."""
    for record in list_attacks():
        if not record["name"].startswith(("auto", "torchattacks.")):
            assert describe(record["name"]) == (record["summary"], record["source"])
    assert describe("auto")[0].startswith("the standard ensemble")
    assert describe("torchattacks.FGSM")[0] == "FGSM of the package torchattacks, on features"
    assert describe("somebody's") == ("", "")


def test_a_page_has_all_that_goes_by_a_name(attacks: Callable[..., tuple[AttackPage, ...]]) -> None:
    """Parameters and surrogates are variants; what they share is said once."""
    transfer = {"knowledge": "transfer", "surrogate": "r18", "cell_id": "b" * 32}
    cells = [{"attack": "pgd", "attack_params": '{"steps": 7, "rho": null}', **more} for more in ({}, transfer)]
    (page,) = attacks([*cells, {"attack": "pgd", "attack_params": '{"steps": 7, "rho": null}', "k": 8}])
    assert page.summary == "random starts, steps scaled by epsilon, restarts"
    assert {("version", "1"), ("steps", "7"), ("references", "other-side")} <= set(page.facts)
    assert [variant.name for variant in page.variants] == ["pgd (white-box)", "pgd (from r18)"]
    assert dict(page.variants[1].facts) == {"adversary's knowledge": "transfer", "gradients of": "r18"}
    (table,) = page.variants[0].tables
    assert table.epsilons == ("4/255", "8/255")
    assert [score.status for _, scores in table.rows for score in scores] == ["done", "done"]
    assert table.has_curve


def test_what_differs_between_sides_is_said_for_both(attacks: Callable[..., tuple[AttackPage, ...]]) -> None:
    """Whose labels an adversary must own depends on the side."""
    cells = [{"side": "query", "attacker_data": "labelled gallery"}, {"attacker_data": "labelled query"}]
    (page,) = attacks(cells)
    assert dict(page.facts)["must own"] == "labelled gallery, labelled query"


def test_an_attack_that_a_grid_put_together(attacks: Callable[..., tuple[AttackPage, ...]]) -> None:
    """Its objective and optimiser say what it is; nothing is said of one that somebody brought, or that has no row."""
    mine = {"attack": "mine", "attack_params": '{"objective": "push", "optimiser": "apgd"}'}
    pages = attacks([mine, {"attack": "images", "attack_params": "[1"}, {"attack": "planned", "status": "missing"}])
    assert [page.summary for page in pages] == [
        "the objective push under the optimiser apgd, put together by a grid",
        "",
        "",
    ]
    assert dict(pages[1].facts)["parameters"] == "[1"
    assert pages[2].variants[0].has_rows is False


def test_targeted_scores_have_a_table_of_their_own(attacks: Callable[..., tuple[AttackPage, ...]]) -> None:
    """They belong to a relabelled problem, and no curve is drawn of them."""
    (page,) = attacks([{"side": "query"}, *({"side": "query", "goal": "targeted", "k": k} for k in (2, 4))])
    tables = page.variants[0].tables
    assert [table.goal for table in tables] == ["untargeted", "targeted"]
    assert [table.has_curve for table in tables] == [False, False]
