"""`robustreid train` with a recipe of `cmps`: drawn people of both modalities, a model with a stream for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from robustreid import UserError
from robustreid.benchmark.cli import main
from robustreid.benchmark.perturbations import read_perturbation
from robustreid.benchmark.progress import Silent
from robustreid.benchmark.runtime import Settings
from robustreid.benchmark.training.recipe import read_recipe, shipped
from robustreid.benchmark.training.universal import fit_recipe
from robustreid.benchmark.training.universal_recipe import PerturbationRecipe, resolve_perturbation
from robustreid.models.architectures.two_stream import AGWTiny, agw_tiny
from robustreid.models.base import Modality
from safetensors.torch import save_file

Write = Callable[..., Path]


def network(flipped: Modality | None = None) -> AGWTiny:
    """An untrained one, always the same; the sign of one stem's convolution may be flipped."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        found = agw_tiny()
    if flipped:
        for parameter in found.stem(flipped).parameters():
            if parameter.ndim == 4:
                parameter.data.mul_(-1)
    return found


@pytest.fixture
def write_cmps(write_fit: Write, workshop: Path) -> Callable[..., PerturbationRecipe]:
    """A function that gives a recipe of CMPS on a few drawn people, for a small untrained model with two streams."""
    save_file(network().state_dict(), workshop / "streams.safetensors")

    def write(**parts: Any) -> PerturbationRecipe:
        usual = {
            "model": "model: {name: streams, architecture: agw_tiny, weights: streams.safetensors}",
            "data": "data: {name: synthetic, protocol: sysu-all, identities: 6, shots: 1}",
            "attack": "attack: cmps",
            "epochs": "epochs: 3",
        }
        return resolve_perturbation(read_recipe(write_fit(**{**usual, **parts})))

    return write


def test_from_the_recipe_to_the_file(write_cmps: Callable[..., PerturbationRecipe], workshop: Path) -> None:
    """An interrupted fit goes on to the same bytes; file and card say who fitted it, and on what."""
    recipe, settings = write_cmps(), Settings(device="cpu")
    whole = fit_recipe(recipe, workshop / "whole", settings, Silent())

    class Stops(Silent):
        """Interrupts when the second epoch is told."""

        def note(self, text: str) -> None:
            if text.startswith("epoch 2/"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_recipe(recipe, workshop / "broken", settings, Stops())
    broken = fit_recipe(recipe, workshop / "broken", settings, Silent())
    assert broken.directory.weights.read_bytes() == whole.directory.weights.read_bytes()
    found, card = read_perturbation(whole.directory.weights), json.loads(whole.directory.card.read_text())
    assert 0 < float(found.delta.abs().max()) <= 8 / 255 + 1e-6
    assert found.procedure == card["attack"] == "cmps"
    assert card["parameters"] == {"momentum": 1.0, "clusters": None, "margin": 0.5, "step": 1 / 12, "gray": 0.2}
    assert "infrared" in card["data"]


def test_streams_decide(write_cmps: Callable[..., PerturbationRecipe], workshop: Path) -> None:
    """Another infrared stem gives another perturbation, though visible images pass what they passed."""
    settings = Settings(device="cpu")
    before = fit_recipe(write_cmps(epochs="epochs: 1"), workshop / "before", settings, Silent())
    save_file(network(flipped="infrared").state_dict(), workshop / "streams.safetensors")
    recipe = resolve_perturbation(read_recipe(workshop / "recipe.yml"))
    after = fit_recipe(recipe, workshop / "after", settings, Silent())
    assert not torch.equal(*(read_perturbation(each.directory.weights).delta for each in (before, after)))


def test_drawn_people_of_one_modality_are_refused(
    write_cmps: Callable[..., PerturbationRecipe], workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a sentence with what to give, before anything is written."""
    write_cmps(data="data: {name: synthetic, identities: 6, shots: 1}")
    assert main(["train", "recipe.yml", "--device", "cpu"]) == 2
    assert "'synthetic' has no infrared ones" in capsys.readouterr().err
    assert not (workshop / "runs").exists()


@pytest.mark.parametrize("name", [name for name in shipped(perturbations=True) if name.startswith("cmps-")])
def test_shipped_recipes(name: str, workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs ask for folders that only their user knows, and for nothing else."""
    for variable in ("DATA", "WEIGHTS"):
        monkeypatch.setenv(variable, str(workshop))
    monkeypatch.setenv("TRIAL", "3")
    for suffix in ("sysu", "llcm", "regdb_3"):
        save_file({"x": torch.zeros(1)}, workshop / f"agw_{suffix}.safetensors")
    recipe = resolve_perturbation(read_recipe(name))
    assert recipe.attack == "cmps"
    assert recipe.model.input_size == (288, 144)
    assert recipe.model.architecture == "agw_resnet50"
    assert recipe.data.options == ({"trial": 3} if name == "cmps-regdb" else {})


def test_a_model_a_split_is_refused(write_cmps: Callable[..., PerturbationRecipe], workshop: Path) -> None:
    """One fit is to one model; a recipe names it."""
    for number in range(1, 11):
        save_file({"x": torch.tensor([float(number)])}, workshop / f"w_{number}.safetensors")
    with pytest.raises(UserError, match=r"recipe.yml:6: model: .* without {trial}"):
        write_cmps(model='model: {name: agw, architecture: agw_tiny, weights: "w_{trial}.safetensors"}')
