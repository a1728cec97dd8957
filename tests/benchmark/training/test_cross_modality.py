"""Trainings on two modalities: from the layouts of real sets and drawn, what the card says, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from robustreid import UserError
from robustreid.benchmark.cli import main
from robustreid.benchmark.datasets.opening import DatasetRequest
from robustreid.benchmark.progress import Silent
from robustreid.benchmark.training.adversaries.ball import Ball
from robustreid.benchmark.training.adversaries.collapse import CollapsePerturb
from robustreid.benchmark.training.adversaries.guided import GoatPerturb
from robustreid.benchmark.training.adversaries.offline import make_offline
from robustreid.benchmark.training.data import FolderTrainingSet, open_training_set
from robustreid.benchmark.training.recipe import load_recipe, shipped
from robustreid.models.architectures.two_stream import agw_tiny
from robustreid.models.base import NORMALISATIONS, ModelSpec
from robustreid.models.engine import embedder
from robustreid.models.training.plan import Batch
from robustreid.models.weights.cards import Card, card_of
from torch import Tensor

from ..datasets import layouts

Write = Callable[..., Path]

AGW = {
    "architecture": "architecture: agw_tiny",
    "data": "data: {name: regdb, root: ./regdb, trial: 3}",
    "epochs": "epochs: 2",
    "batch": "batch: {identities: 3, images: 4}",
    "losses": "losses: {triplet: 0, weighted: 1.0, bnneck: true}",
}


def opened(label: str, root: Path | None, **options: Any) -> FolderTrainingSet:
    request = DatasetRequest(label=label, format=None, root=root, options=options)
    return open_training_set(request, reporter=Silent(), input_size=(32, 16))


def train(*arguments: str) -> int:
    return main(["train", "recipe.yml", "--out", "out", "--device", "cpu", *arguments])


@pytest.mark.parametrize("name", ["sysu", "regdb", "llcm"])
def test_sets_of_two_modalities_open(workshop: Path, name: str) -> None:
    """Their training people, with what took each image, and its pixels."""
    root = getattr(layouts, name)(workshop / name)
    data = opened(name, root, **({"trial": 1} if name == "regdb" else {}))
    assert set(data.modalities.tolist()) == {0, 1}
    infrared = int(data.modalities.sum())
    assert data.description.startswith(f"{name}: {len(data)} images, {infrared} of them infrared, of ")
    assert data.batch(np.arange(len(data))).shape[0] == len(data) == len(data.cameras) == len(data.identities)
    if name == "sysu":
        assert set(data.cameras[data.modalities == 1].tolist()) == {3, 6}
        assert set(data.identities.tolist()) == {*layouts.SYSU_TRAIN, *layouts.SYSU_VAL}


def test_splits_are_other_sets(workshop: Path) -> None:
    """Each has people and a digest of its own; without a split nothing is opened."""
    root = layouts.regdb(workshop / "regdb")
    first, second = (opened("regdb", root, trial=trial) for trial in (1, 2))
    assert first.sha256 != second.sha256
    assert set(first.identities.tolist()) != set(second.identities.tolist())
    with pytest.raises(UserError, match="`trial`"):
        opened("regdb", root)


def test_labels_that_no_name_says_are_part_of_the_digest(workshop: Path) -> None:
    """The same files with other people in a table are another training set."""
    root = layouts.table(workshop / "table")
    before = opened("table", root).sha256
    assert opened("table", root / "people.csv").sha256 == before
    found = layouts.rows(root)
    layouts.write_csv(root / "people.csv", [{**row, "identity": 70 + row["identity"]} for row in found])
    assert opened("table", root).sha256 != before


def test_a_drawn_set_has_infrared_training_people(own_cache: Path) -> None:
    """Under the protocol's cameras, none of whom is looked for in a test."""
    data = opened("synthetic", None, protocol="sysu-all", identities=2, shots=1)
    assert set(data.cameras[data.modalities == 1].tolist()) == {3, 6}
    assert set(data.cameras[data.modalities == 0].tolist()) == {1, 2, 4, 5}
    assert data.identities.min() > 10_000


def test_a_training_says_what_it_saw(write_recipe: Write, workshop: Path) -> None:
    """The format and the split, which the weights' card hands on to whoever starts from them."""
    layouts.regdb(workshop / "regdb")
    write_recipe(**AGW)
    assert train() == 0
    card = json.loads((workshop / "out" / "card.json").read_text())
    assert (card["trained_on"], card["trial"]) == (["regdb"], 3)
    assert card["final"]["weighted_clean"] > 0
    weights = workshop / "out" / "weights.safetensors"
    assert card_of(weights) == Card(trained_on=("regdb",), trial=3)
    people = {"data": "data: {name: mini, format: folder, root: ./people}"}
    write_recipe("weights: out/weights.safetensors", **{**AGW, **people})
    assert main(["train", "recipe.yml", "--out", "next", "--device", "cpu"]) == 0
    assert card_of(workshop / "next" / "weights.safetensors") == Card(trained_on=("regdb", "folder", "mini"))
    (workshop / "out" / "card.json").unlink()
    assert main(["train", "recipe.yml", "--out", "unknown", "--device", "cpu"]) == 0
    assert card_of(workshop / "unknown" / "weights.safetensors") == Card(trained_on=None)


def test_a_training_on_two_modalities_goes_on_bit_for_bit(write_recipe: Write, workshop: Path) -> None:
    """Two epochs in one go, and in two."""
    layouts.regdb(workshop / "regdb")
    write_recipe(**AGW)
    assert train() == 0
    whole = (workshop / "out" / "weights.safetensors").read_bytes()
    (workshop / "out" / "card.json").unlink()
    from robustreid.models.training.loop import Trainer

    real = Trainer.run_epoch

    def killed(self: Trainer, *rest: Any) -> Any:
        if self.epoch == 1:
            raise KeyboardInterrupt
        return real(self, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", killed)
        assert train("--again") == 130
    assert train() == 0
    assert (workshop / "out" / "weights.safetensors").read_bytes() == whole


def test_what_cannot_be_is_refused(write_recipe: Write, workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An odd K, people kept out of two modalities, a weight that is none: a sentence each, before a folder is made."""
    layouts.regdb(workshop / "regdb")
    validation = "validation: {identities: 1, attacks: [noise], epsilons: [4/255], side: query}"
    for parts, extra, said in (
        ({"batch": "batch: {identities: 3, images: 3}"}, "", "make their number even"),
        ({"losses": "losses: {weighted: -1}"}, "", "weighted"),
        ({"losses": "losses: {softmax: 0, triplet: 0}"}, "", "all weights are 0"),
        ({}, validation, "take `validation` out"),
    ):
        write_recipe(extra, **{**AGW, **parts})
        assert train() == 2
        assert said in capsys.readouterr().err
        assert not (workshop / "out").exists()


def test_an_option_at_its_default_changes_no_digest(write_recipe: Write) -> None:
    """Recipes of before are what they were."""
    assert load_recipe(write_recipe()).sha256 == load_recipe(write_recipe("losses: {weighted: 0.0}")).sha256
    assert load_recipe(write_recipe()).sha256 != load_recipe(write_recipe("losses: {weighted: 0.5}")).sha256


@pytest.fixture(scope="module")
def batch() -> Batch:
    random = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.rand(8, 3, 32, 16, generator=random),
        classes=torch.arange(4).repeat_interleave(2),
        places=np.arange(8),
        modalities=torch.tensor([0, 1] * 4),
    )


def test_adversaries_pass_images_through_their_own_streams(batch: Batch, workshop: Path) -> None:
    """Guides from anywhere in the set, and the positives and negatives of a batch; those of the batch go unsaid."""
    data = opened("regdb", layouts.regdb(workshop / "regdb"), trial=1)
    calls: list[tuple[int, Tensor | None]] = []

    def embed(images: Tensor, modalities: Tensor | None = None) -> Tensor:
        calls.append((len(images), modalities))
        return images.mean((2, 3))

    ball = Ball(steps=1, epsilon=Fraction(4, 255), step_size=Fraction(2, 255))
    GoatPerturb(ball=ball, data=data)(embed, batch, 0)
    clean, guides, step = calls
    assert (clean, step) == ((8, None), (8, None))
    assert guides[1] is not None
    assert guides[0] == len(guides[1])
    assert set(guides[1].tolist()) == {0, 1}
    calls.clear()
    hard = CollapsePerturb(ball=ball)(embed, batch, 0)
    assert batch.modalities is not None
    assert calls[0][1] is not None
    assert calls[0][1].tolist() == batch.modalities[hard.sources].tolist()
    calls.clear()
    CollapsePerturb(ball=ball)(embed, replace(batch, modalities=None), 0)
    assert calls == [(16, None)]


def test_images_made_beforehand_meet_their_own_stream(workshop: Path) -> None:
    """Both modalities are climbed in the model that has a stream for each, and stay inside the ball."""
    data = opened("regdb", layouts.regdb(workshop / "regdb"), trial=1)
    torch.manual_seed(0)
    spec = ModelSpec(label="m", architecture="agw_tiny", input_size=(32, 16), normalise=NORMALISATIONS["imagenet"])
    model = embedder(agw_tiny().eval(), spec)
    seen: dict[str, int] = {}
    for modality in ("visible", "infrared"):
        own = model.of(modality)
        own.register_forward_pre_hook(lambda _, given, m=modality: seen.update({m: seen.get(m, 0) + len(given[0])}))
    ball = Ball(steps=1, epsilon=Fraction(4, 255), step_size=Fraction(4, 255), random_start=False)
    path = workshop / "made.npy"
    made = make_offline(model, data, ball, "push", path, device=torch.device("cpu"), reporter=Silent())
    counts = np.bincount(data.modalities)
    assert seen == {"visible": 2 * counts[0], "infrared": 2 * counts[1]}
    gap = np.abs(made.astype(int) - data.batch(np.arange(len(data))).astype(int)).max((1, 2, 3))
    assert gap.max() <= 4
    assert gap.min() > 0


def test_the_recipes_of_real_sets_say_what_they_need(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folder by a variable; RegDB a split."""
    monkeypatch.setenv("DATA", str(tmp_path))
    monkeypatch.setenv("TRIAL", "7")
    found = {name: load_recipe(name) for name in shipped() if name.startswith("agw-")}
    assert set(found) == {"agw-sysu", "agw-regdb", "agw-llcm"}
    for recipe in found.values():
        assert (recipe.spec.architecture, recipe.spec.input_size) == ("agw_resnet50", (288, 144))
        assert (recipe.plan.weighted, recipe.plan.triplet, recipe.plan.bnneck) == (1.0, 0.0, True)
        assert recipe.data.root is not None
        assert recipe.data.root.is_relative_to(tmp_path)
    assert (found["agw-regdb"].data.options["trial"], found["agw-regdb"].name) == (7, "agw-regdb-7")
