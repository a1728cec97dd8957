"""Every adversary that a recipe can name trains, goes on bit for bit, and is crafted in evaluation mode."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from robustreid.benchmark.cli import main
from robustreid.benchmark.training.adversaries.request import OFFLINE_OBJECTIVES, TRAINING_OBJECTIVES
from robustreid.models.training import loop
from robustreid.models.training.checkpoint import unpack

Write = Callable[..., Path]
BALL = "epsilon: 4/255, steps: 1, step_size: 4/255"


def train(*words: str) -> int:
    """The exit code of `robustreid train`."""
    return main(["train", "recipe.yml", "--device", "cpu", "--out", "out", *words])


@pytest.mark.parametrize("objective", TRAINING_OBJECTIVES)
def test_every_objective_trains(objective: str, write_recipe: Write, workshop: Path) -> None:
    """One epoch; the log has the losses of what the adversary made."""
    references = "references: self, " if objective in {"self", "opposite"} else ""
    share = 0.5 if objective == "collapse" else 1.0
    recipe = f"perturb: {{objective: {objective}, {references}share: {share}, warmup_epochs: 1, {BALL}}}"
    write_recipe(recipe, epochs="epochs: 1")
    assert train() == 0
    card = json.loads((workshop / "out" / "card.json").read_text())
    assert card["final"]["softmax_perturbed"] > 0
    assert card["final"]["triplet_perturbed"] > 0
    assert (card["final"]["softmax_clean"] is not None) == (objective == "collapse")


@pytest.mark.parametrize("objective", OFFLINE_OBJECTIVES)
def test_offline_images_are_made_once_and_removed(objective: str, write_recipe: Write, workshop: Path) -> None:
    """Against the shipped model; what was made for the training is gone when it is done."""
    write_recipe(f"perturb: {{against: tiny, objective: {objective}, share: 0.5, preserve: 1, {BALL}}}")
    assert train() == 0
    card = json.loads((workshop / "out" / "card.json").read_text())
    assert card["final"]["preserve"] > 0
    assert not list((workshop / "out").rglob("adversarial-*"))


@pytest.mark.parametrize(
    "perturb",
    [
        "objective: goat, share: 1.0, warmup_epochs: 2",
        "objective: collapse, share: 0.5, warmup_epochs: 2",
        "against: tiny, share: 0.5, preserve: 1",
    ],
)
def test_it_goes_on_bit_for_bit(perturb: str, write_recipe: Write, workshop: Path) -> None:
    """Stopped in the second epoch and gone on, the weights are those of a whole training."""
    write_recipe(f"perturb: {{{perturb}, {BALL}}}")
    assert train() == 0
    whole = (workshop / "out" / "weights.safetensors").read_bytes()
    shutil.rmtree(workshop / "out")
    real, steps = loop.Trainer._step, []

    def interrupted(self: Any, step: int, chosen: Any) -> Any:
        steps.append(step)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return real(self, step, chosen)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Trainer, "_step", interrupted)
        assert train() == 130
    assert unpack(workshop / "out" / "checkpoint" / "state.safetensors")[1]["log"][-1]["epoch"] == 1
    assert train() == 0
    assert (workshop / "out" / "weights.safetensors").read_bytes() == whole


def modes_of(write_recipe: Write, patch: pytest.MonkeyPatch) -> set[bool]:
    """Whether the network is in training mode when adversarial examples are made."""
    seen: set[bool] = set()
    real = loop.Trainer.embed

    def watched(self: loop.Trainer, images: torch.Tensor) -> torch.Tensor:
        seen.update(part.training for part in self.network.modules())
        return real(self, images)

    patch.setattr(loop.Trainer, "embed", watched)
    write_recipe(f"perturb: {{objective: goat, {BALL}}}", epochs="epochs: 1")
    assert train("--again") == 0
    return seen


def test_examples_are_made_in_evaluation_mode(write_recipe: Write, workshop: Path) -> None:
    """Never with the batch's own statistics; a loop that forgets to switch is seen."""

    def check(patch: pytest.MonkeyPatch) -> None:
        assert modes_of(write_recipe, patch) == {False}

    with pytest.MonkeyPatch.context() as patch:
        check(patch)

    @contextmanager
    def forgetful(network: torch.nn.Module) -> Any:
        yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "frozen", forgetful)
        with pytest.raises(AssertionError):
            check(patch)
