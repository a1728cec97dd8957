"""People who are kept out are scored as a training goes on, and may choose its epoch; test people are out of reach."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import robustreid
import torch
from robustreid.benchmark.cli import main
from robustreid.benchmark.training.validating import Validator, chosen_epoch
from robustreid.models.training.checkpoint import unpack
from robustreid.models.training.plan import EpochSummary
from safetensors.torch import load_file

Write = Callable[..., Path]

VALIDATION = """validation:
  identities: 2
  every: {every}
  choose: {choose}
  attacks: [{{name: pgd, steps: 1}}]
  epsilons: [4/255]
  side: query
"""
BATCH = "batch: {identities: 3, images: 2}"


def train(*words: str) -> int:
    """The exit code of `robustreid train`."""
    return main(["train", "recipe.yml", "--device", "cpu", "--out", "out", *words])


def log_of(out: Path) -> list[dict[str, str]]:
    """Every line of the log."""
    with (out / "log.csv").open() as file:
        return list(csv.DictReader(file))


def test_epochs_are_scored(write_recipe: Write, workshop: Path) -> None:
    """Every second one and the last; the log has what the rows say, the card says who was kept out."""
    write_recipe(VALIDATION.format(every=2, choose="last"), epochs="epochs: 3", batch=BATCH)
    assert train() == 0
    out = workshop / "out"
    lines = log_of(out)
    assert [bool(line["mAP_clean"]) for line in lines] == [False, True, True]
    rows = robustreid.load(out / "validation", all=True)
    assert sorted(rows["model"]) == ["small-epoch-2", "small-epoch-3"]
    assert set(rows["n_identity"]) == {2}
    for line, name in ((lines[1], "small-epoch-2"), (lines[2], "small-epoch-3")):
        (row,) = rows[rows["model"] == name].to_dict("records")
        assert float(line["mAP_clean"]) == pytest.approx(row["mAP_clean"], abs=1e-5)
        assert float(line["mAP_attacked"]) == pytest.approx(row["mAP_attacked"], abs=1e-5)
    card = json.loads((out / "card.json").read_text())
    assert card["data"] == "mini: 12 images of 3 identities from 2 cameras"
    assert card["epoch"] == 3
    assert card["validation"]["identities"] == 2


def test_the_best_epoch_is_handed_out(write_recipe: Write, workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `choose` the weights are those of the epoch with the highest score, also after an interruption."""
    scores = {1: 0.2, 2: 0.9, 3: 0.4, 4: 0.9}
    kept: dict[int, dict[str, torch.Tensor]] = {}

    def score(self: object, trainer: object, summary: EpochSummary) -> EpochSummary:
        from dataclasses import replace

        kept[summary.epoch] = {k: v.clone() for k, v in trainer.weights.items()}  # type: ignore[attr-defined]
        if summary.epoch == 3 and stop:
            raise KeyboardInterrupt
        return replace(summary, mAP_clean=0.5, mAP_attacked=scores[summary.epoch])

    monkeypatch.setattr(Validator, "score", score)
    write_recipe(VALIDATION.format(every=1, choose="mAP_attacked"), epochs="epochs: 4", batch=BATCH)
    stop = True
    assert train() == 130
    stop = False
    assert train() == 0
    found = load_file(workshop / "out" / "weights.safetensors")
    assert all(torch.equal(value, kept[2][name]) for name, value in found.items())
    assert not all(torch.equal(value, kept[4][name]) for name, value in found.items())
    assert json.loads((workshop / "out" / "card.json").read_text())["epoch"] == 2


def test_an_interrupted_training_scores_the_same(write_recipe: Write, workshop: Path) -> None:
    """Stopped after two epochs and gone on, the log and the weights are those of a whole training."""
    write_recipe(VALIDATION.format(every=1, choose="mAP_clean"), epochs="epochs: 4", batch=BATCH)
    assert train() == 0
    whole = [{k: v for k, v in row.items() if "second" not in k} for row in log_of(workshop / "out")]
    weights = (workshop / "out" / "weights.safetensors").read_bytes()
    shutil.rmtree(workshop / "out")
    real = Validator.score
    calls = []

    def third_fails(self: object, trainer: object, summary: EpochSummary) -> EpochSummary:
        calls.append(summary.epoch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, trainer, summary)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Validator, "score", third_fails)
        assert train() == 130
    assert unpack(workshop / "out" / "checkpoint" / "state.safetensors")[1]["log"][-1]["epoch"] == 2
    assert train() == 0
    assert [{k: v for k, v in row.items() if "second" not in k} for row in log_of(workshop / "out")] == whole
    assert (workshop / "out" / "weights.safetensors").read_bytes() == weights


def test_the_earlier_of_equal_epochs_is_chosen() -> None:
    """Epochs without a score do not count."""
    from types import SimpleNamespace

    log = [SimpleNamespace(epoch=n, mAP_clean=score) for n, score in enumerate([None, 0.4, 0.7, None, 0.7], 1)]
    assert chosen_epoch(log, SimpleNamespace(choose="mAP_clean")) == 3  # type: ignore[arg-type]
    assert chosen_epoch(log, None) == 5  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("validation: {identities: 2, attacks: [pgdd], epsilons: [4/255], side: query}", "pgd"),
        ("validation: {identities: 2, attacks: [pgd], epsilons: [4/255], side: [query, gallery]}", "give one side"),
        ("validation: {identities: 2, attacks: [pgd], epsilons: [8], side: query}", "8/255"),
        ("validation: {identities: 0, attacks: [pgd], epsilons: [4/255], side: query}", "identities"),
        ("validation: {identities: 9, attacks: [pgd], epsilons: [4/255], side: query}", "cannot be kept out"),
        ("validation: {identities: 2, attacks: [pgd], epsilons: [4/255]}", "side"),
        *(
            (f"validation: {{identities: 2, attacks: [pgd], epsilons: [4/255], side: query, {key}}}", said)
            for key, said in (
                ("models: [tiny]", "validation.models: the grid of a recipe is about its own network"),
                ("datasets: [synthetic]", "validation.datasets: it is the people who are kept out"),
                ("goal: targeted", "validation.goal: only untargeted scores are kept"),
            )
        ),
    ],
)
def test_what_is_wrong_is_said_first(
    write_recipe: Write, workshop: Path, capsys: pytest.CaptureFixture[str], wrong: str, said: str
) -> None:
    """In one sentence, with exit code 2, before a folder is made."""
    write_recipe(wrong)
    assert train() == 2
    assert said in capsys.readouterr().err
    assert not (workshop / "out").exists()


def test_people_with_an_image_a_camera_cannot_be_found(
    write_recipe: Write, workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It shows before the first epoch."""
    for second in (workshop / "people" / "bounding_box_train").glob("*_000002_00.png"):
        second.unlink()
    write_recipe(VALIDATION.format(every=1, choose="last"), epochs="epochs: 1", batch=BATCH)
    assert train() == 2
    assert "none is left to find them in" in capsys.readouterr().err
    assert not (workshop / "out").exists()


def test_a_failed_score_is_tried_again(
    write_recipe: Write, workshop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next call does not stop at the row that the failure left."""
    from robustreid.attacks.optimisers.pgd import PGD

    def out_of_luck(*given: object, **more: object) -> None:
        raise ArithmeticError("no luck today")

    write_recipe(VALIDATION.format(every=1, choose="last"), epochs="epochs: 1", batch=BATCH)
    with monkeypatch.context() as patch:
        patch.setattr(PGD, "_climb", out_of_luck)
        assert train() == 2
    assert "no luck today" in capsys.readouterr().err
    assert train() == 0


def test_test_images_are_out_of_reach(
    write_recipe: Write, workshop: Path, monkeypatch: pytest.MonkeyPatch, real_data: Path
) -> None:
    """No image of a test identity of the real set is opened while it is learnt from, and none is in both splits.

    A trainer whose folder is the whole set is seen: its labels hold test identities.
    """
    from robustreid.benchmark.datasets.decoded import DecodedImages, decode
    from robustreid.benchmark.datasets.market import images_in, read_folder
    from robustreid.benchmark.datasets.opening import DatasetRequest
    from robustreid.benchmark.datasets.retrieval import RetrievalSet
    from robustreid.benchmark.progress import Silent
    from robustreid.benchmark.training import data as module

    root = real_data / "market1501-mini"
    test = read_folder("test", root)
    people = set(test.query.identities.tolist()) | set(test.gallery.identities.tolist())
    opened: list[str] = []

    def watched(data: RetrievalSet, *rest: Any, **more: Any) -> DecodedImages:
        opened.extend(str(data.root / path) for path in data.paths)
        return decode(data, *rest, **more)

    monkeypatch.setattr(module, "decode", watched)
    request = DatasetRequest(label="mini", format="folder", root=root)

    def check(found: module.FolderTrainingSet) -> None:
        assert not people & set(found.identities.tolist())
        assert opened
        assert all(Path(path).parent.name == "bounding_box_train" for path in opened)
        assert len(set(found.identities.tolist())) == 485

    check(module.open_training_set(request, reporter=Silent(), n_held_out=50))
    opened.clear()
    monkeypatch.setattr(module, "training_images", lambda *_: (root, images_in(root, "bounding_box_test")))
    with pytest.raises(AssertionError):
        check(module.open_training_set(request, reporter=Silent(), n_held_out=0))
