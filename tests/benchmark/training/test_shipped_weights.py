"""The weights that ship were made by the recipes that ship."""

from __future__ import annotations

import json

import pytest
from robustreid.benchmark.training.recipe import load_recipe, shipped
from robustreid.models.zoo import ZOO, embedded_folder


@pytest.mark.parametrize("name", sorted(name for name, entry in ZOO.items() if entry.is_embedded and not entry.defence))
def test_the_card_is_of_the_shipped_recipe(name: str) -> None:
    """Text and digest on the card are those of the recipe in this package."""
    card = json.loads((embedded_folder() / f"{name}.json").read_text(encoding="utf-8"))
    recipe = load_recipe(name)
    assert (card["recipe"], card["recipe_sha256"]) == (recipe.text, recipe.sha256)
    assert card["epochs"] == recipe.plan.epochs


def test_every_shipped_model_has_its_recipe() -> None:
    """No weights in the package whose making cannot be looked up."""
    assert {entry.file.removesuffix(".safetensors") for entry in ZOO.values() if entry.is_embedded} <= set(shipped())
