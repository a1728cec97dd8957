"""What a card says of the weights comes from rows that the harness made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import robustreid
from robustreid import UserError
from robustreid.benchmark.cli import main
from robustreid.benchmark.training.recipe import load_recipe, shipped
from robustreid.models.weights.files import file_sha256

Write = Callable[..., Path]

DATA = "data: {name: synthetic, identities: 4, cameras: 2, shots: 2}"
SCORES = """
scores:
  datasets: [{name: synthetic, identities: 4, cameras: 2, distractors: 2}]
  attacks: [ama-fgsm, noise]
  epsilons: [4/255]
  side: [gallery]
"""


def test_the_cards_scores_are_rows(write_recipe: Write, workshop: Path) -> None:
    """A record a cell, equal to the rows beside it, of these very weights; another call leaves them as they are."""
    recipe = write_recipe(SCORES, data=DATA, epochs="epochs: 1", batch="batch: {identities: 2, images: 2}")
    assert main(["train", str(recipe)]) == 0
    folder = workshop / "runs" / "train" / "small"
    card = json.loads((folder / "card.json").read_text())
    rows = robustreid.load(folder / "scores")
    assert [record["attack"] for record in card["scores"]] == ["ama-fgsm", "noise"]
    assert set(rows["model_sha256"]) == {card["weights_sha256"]} == {file_sha256(folder / "weights.safetensors")}
    for record, (_, row) in zip(card["scores"], rows.iterrows(), strict=True):
        assert {key: row[key] for key in record} == record
        assert 0 < record["mAP_clean"] <= 1
    before = (folder / "card.json").read_bytes()
    assert main(["train", str(recipe)]) == 0
    assert (folder / "card.json").read_bytes() == before


def test_other_scores_can_be_asked_for_later(write_recipe: Write, workshop: Path) -> None:
    """A finished training is scored anew, from its weights alone: no checkpoint is needed, and no epoch run."""
    small = {"data": DATA, "epochs": "epochs: 1", "batch": "batch: {identities: 2, images: 2}"}
    folder = workshop / "runs" / "train" / "small"
    assert main(["train", str(write_recipe(**small))]) == 0
    assert json.loads((folder / "card.json").read_text())["scores"] == []
    shutil.rmtree(folder / "checkpoint")
    weights = (folder / "weights.safetensors").stat().st_mtime_ns
    for epsilon in ("4/255", "2/255"):
        recipe = write_recipe(SCORES.replace("4/255", epsilon), **small)
        assert main(["train", str(recipe)]) == 0
        card = json.loads((folder / "card.json").read_text())
        assert [record["epsilon_label"] for record in card["scores"]] == [epsilon] * 2
        assert card["recipe"] == recipe.read_text()
    assert (folder / "weights.safetensors").stat().st_mtime_ns == weights
    assert not (folder / "checkpoint").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ama-fgsm", "ama-fgsn", "scores: attacks[0]: Unknown attack 'ama-fgsn'. Did you mean 'ama-fgsm'?"),
        ("4/255", "4", "scores: epsilons[0]: "),
        ("  side: [gallery]\n", "", "recipe.yml:7: scores: the key 'side' is missing"),
        ("distractors: 2", "root: x", "scores: datasets[0]: Data set 'synthetic' is drawn by this package"),
    ],
)
def test_wrong_scores_are_said_before_the_training(
    write_recipe: Write, workshop: Path, old: str, new: str, message: str
) -> None:
    """Hours of training must not end in a misspelt attack."""
    recipe = write_recipe(SCORES.replace(old, new), data=DATA)
    with pytest.raises(UserError) as caught:
        load_recipe(recipe)
    assert message in str(caught.value)
    assert not (workshop / "runs").exists()


def test_how_weights_are_scored_does_not_decide_them(write_recipe: Write, workshop: Path) -> None:
    """The recipe's digest, by which a training is told from another, leaves scores out."""
    alone = load_recipe(write_recipe(data=DATA)).sha256
    assert load_recipe(write_recipe(SCORES, data=DATA)).sha256 == alone
    assert load_recipe(write_recipe(SCORES, data=DATA, epochs="epochs: 4")).sha256 != alone


@pytest.mark.parametrize("name", [name for name in shipped() if name.startswith("tiny")])
def test_shipped_recipes_resolve_and_ask_for_scores(name: str) -> None:
    """Each is called as its file and scores its result under the attacks that the demonstration is judged by."""
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.scores is not None
    assert {"ama-ifgsm", "noise"} <= {str(a) for a in recipe.scores.data["scores"]["attacks"] if isinstance(a, str)}
