"""`robustreid train` with a perturbation's recipe, and the run of a grid that asks for what it left."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import robustreid
import torch
from robustreid import UserError
from robustreid.attacks.universal import MUAP, UAPRetrieval
from robustreid.benchmark.cli import main
from robustreid.benchmark.perturbations import read_perturbation
from robustreid.benchmark.progress import Silent
from robustreid.benchmark.runtime import Settings
from robustreid.benchmark.training.recipe import load_recipe, read_recipe, shipped
from robustreid.benchmark.training.universal import fit_recipe
from robustreid.benchmark.training.universal_recipe import PerturbationRecipe, resolve_perturbation
from robustreid.models.zoo import ZOO

Write = Callable[..., Path]

FILES = ["card.json", "checkpoint", "log.csv", "perturbation.safetensors"]


def train(*words: str) -> int:
    """The exit code of `robustreid train`."""
    return main(["train", "recipe.yml", "--device", "cpu", *words])


def recipe_of(path: Path) -> PerturbationRecipe:
    """What is read from a file."""
    return resolve_perturbation(read_recipe(path))


def written(out: Path) -> list[str]:
    """What lies in a folder, but for its lock."""
    return sorted(path.name for path in out.iterdir() if path.name != ".lock")


def test_it_writes_a_perturbation_a_card_and_a_log(
    write_fit: Write, workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is small, within its ball, and says what it was fitted on; so does the card, with the recipe."""
    recipe = write_fit()
    assert train() == 0
    out = workshop / "runs" / "train" / "small"
    assert capsys.readouterr().out.strip() == str(Path("runs/train/small/perturbation.safetensors"))
    assert written(out) == FILES
    file = out / "perturbation.safetensors"
    assert file.stat().st_size < 10_000
    found, card = read_perturbation(file), json.loads((out / "card.json").read_text())
    assert found.delta.shape == (3, 32, 16)
    assert 0 < float(found.delta.abs().max()) <= 8 / 255 + 1e-6
    assert card["perturbation_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert card["model"] == found.model == "tiny"
    assert card["model_sha256"] == found.model_sha256 == ZOO["tiny"].sha256
    assert card["data_sha256"] == found.data_sha256
    assert card["data"] == "mini: 20 images of 5 identities from 2 cameras"
    assert (card["attack"], card["parameters"]["clusters"], card["epsilon"]) == ("uap-retrieval", 8, "8/255")
    assert (card["epochs"], card["seed"], card["size"], card["norm"]) == (3, 0, [32, 16], "linf")
    assert card["recipe"] == recipe.read_text()
    assert card["tool_version"] == robustreid.__version__
    with (out / "log.csv").open() as log:
        assert [line["epoch"] for line in csv.DictReader(log)] == ["1", "2", "3"]


def test_what_is_finished_stands(write_fit: Write, workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command does nothing; another recipe is refused until `--again`; comments change nothing."""
    write_fit()
    assert train("--out", "out") == 0
    before = {path: path.stat().st_mtime_ns for path in (workshop / "out").rglob("*.*") if path.name != ".lock"}
    write_fit("# a comment")
    assert train("--out", "out") == 0
    assert "nothing to do" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in before}
    write_fit(epsilon="epsilon: 4/255")
    assert train("--out", "out") == 2
    assert "another recipe" in capsys.readouterr().err
    assert train("--out", "out", "--again") == 0
    assert float(read_perturbation(workshop / "out" / "perturbation.safetensors").epsilon) == pytest.approx(4 / 255)


@pytest.mark.parametrize("attack", ["attack: {name: uap-retrieval, clusters: 8}", "attack: muap"])
def test_an_interrupted_fit_goes_on(
    write_fit: Write, workshop: Path, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any epoch, to the same bytes as one without a break."""
    recipe = recipe_of(write_fit(attack=attack))
    settings = Settings(device="cpu")
    whole = fit_recipe(recipe, workshop / "whole", settings, Silent()).directory.weights.read_bytes()

    class Stops(Silent):
        """Interrupts when the second epoch is told."""

        def note(self, text: str) -> None:
            if text.startswith("epoch 2/"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_recipe(recipe, workshop / "broken", settings, Stops())
    assert written(workshop / "broken") == ["checkpoint", "log.csv"]
    told: list[str] = []
    monkeypatch.setattr(Silent, "note", lambda self, text: told.append(text))
    fitted = fit_recipe(recipe, workshop / "broken", settings, Silent())
    assert told[0] == "going on after epoch 2 of 3"
    assert fitted.directory.weights.read_bytes() == whole
    assert len((workshop / "broken" / "log.csv").read_text().splitlines()) == 4


def test_the_digest_is_of_what_decides(write_fit: Write) -> None:
    """Names and comments are not part of it; everything else is."""
    first = recipe_of(write_fit()).sha256
    for same in (
        write_fit("# a comment", name="name: other"),
        write_fit(epsilon="epsilon: 16/510"),
        write_fit(attack="attack: {name: uap-retrieval, clusters: 8, margin: 0.8}"),
    ):
        assert first == recipe_of(same).sha256
    others: list[dict[str, str]] = [
        {"attack": "attack: {name: uap-retrieval, clusters: 9}"},
        {"attack": "attack: muap"},
        {"epsilon": "epsilon: 4/255"},
        {"epochs": "epochs: 4"},
        {"batch": "batch: {identities: 3, images: 3}"},
        {"model": "model: tiny-robust"},
        {"extra": "seed: 1"},
    ]
    assert first not in {recipe_of(write_fit(**other)).sha256 for other in others}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"model": None}, "recipe.yml:1: the key 'model' is missing"),
        ({"model": "model: tinny"}, "recipe.yml:6: model: Unknown zoo model 'tinny'. Did you mean 'tiny'?"),
        ({"model": "model: {name: x, weights: none.onnx}"}, "recipe.yml:6: model: "),
        ({"model": "model: {name: x, wieghts: none.onnx}"}, "recipe.yml:6: model.wieghts: unknown key 'wieghts'"),
        ({"attack": "attack: maup"}, "recipe.yml:7: attack: Unknown universal attack 'maup'. Did you mean 'muap'?"),
        ({"attack": "attack: pgd"}, "recipe.yml:7: attack: Unknown universal attack 'pgd'"),
        (
            {"attack": "attack: {name: muap, bin: 5}"},
            "recipe.yml:7: attack.bin: muap takes no parameter 'bin'",
        ),
        ({"attack": "attack: {name: muap, bins: 1}"}, "recipe.yml:7: attack: bins: expected 2 to 1000, got 1"),
        ({"attack": "attack: {name: muap, bins: many}"}, "recipe.yml:7: attack: bins: expected a number"),
        ({"epsilon": "epsilon: 8"}, "recipe.yml:8: epsilon: epsilon '8' is ambiguous"),
        ({"epsilon": "epsilon: 0"}, "recipe.yml:8: epsilon: a perturbation of no size"),
        ({"epochs": "epochs: 0"}, "recipe.yml:4: epochs: expected a whole number from 1"),
        ({"data": "data: {name: mni, format: foldr}"}, "recipe.yml:3: data: Unknown data set 'foldr'"),
        ({"batch": "batch: {identities: 9, images: 2}"}, "too few for batches of 9"),
        ({"attack": "attack: cmps"}, "data set 'mini' has no infrared ones; give `data` with both"),
        ({"attack": "attack: {name: cmps, gray: 2}"}, "recipe.yml:7: attack: gray: expected a share"),
        ({"extra": "losses: {}"}, "recipe.yml:9: losses: unknown key 'losses'"),
        ({"architecture": "kind: perturbaton"}, "expected one of network, perturbation, got 'perturbaton'"),
    ],
)
def test_refusals(
    write_fit: Write, workshop: Path, capsys: pytest.CaptureFixture[str], parts: dict[str, Any], said: str
) -> None:
    """Exit code 2, with the line and path of the key, before anything is written."""
    write_fit(**parts)
    assert train() == 2
    assert said in capsys.readouterr().err
    assert not (workshop / "runs").exists()


def test_half_is_for_networks(write_fit: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A perturbation is kept in float32."""
    write_fit()
    assert train("--half") == 2
    assert "--half" in capsys.readouterr().err


def test_a_network_is_asked_for_by_another_recipe(write_fit: Write) -> None:
    """Who wants a network's recipe is told that this is none."""
    with pytest.raises(UserError, match="recipe of a perturbation"):
        load_recipe(write_fit())


def test_shipped_recipes() -> None:
    """Those of the shipped models say what they say; others ask for folders that only their user knows."""
    names = shipped(perturbations=True)
    assert names == ["cmps-llcm", "cmps-regdb", "cmps-sysu", "tiny-cmps", "tiny-muap", "tiny-uap-retrieval"]
    muap, retrieval = (resolve_perturbation(read_recipe(name)) for name in names[-2:])
    assert (muap.procedure, retrieval.procedure) == (MUAP(variation=0.0), UAPRetrieval())
    assert muap.model.sha256 == retrieval.model.sha256 == ZOO["tiny"].sha256
    assert not set(names) & set(shipped())


GRID = """
name: uni
models: [tiny]
datasets: [{name: synthetic, identities: 24, cameras: 3, distractors: 12}]
attacks:
  - noise
  - {name: ATTACK, perturbation: folder/perturbation.safetensors}
epsilons: [0, 8/255]
side: [query, gallery]
"""

ONE = "name: g\nmodels: [tiny]\ndatasets: [synthetic]\nattacks:\n  - ENTRY\nepsilons: 0\nside: query\n"


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the tests below share, so that people are drawn once."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["uap-retrieval", "{name: muap, variation: 0}"])
def test_from_the_recipe_to_the_rows(
    write_fit: Write, workshop: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    """Fitted on drawn people, it lowers the score of others, who are in no training image, far more than noise does."""
    monkeypatch.setenv("ROBUSTREID_CACHE", str(shared_cache))
    name = "muap" if "muap" in attack else attack
    write_fit(
        data="data: {name: synthetic, identities: 48, cameras: 4, shots: 1}",
        attack=f"attack: {attack}",
        epochs="epochs: 12",
        batch="batch: {identities: 12, images: 4}",
    )
    assert train("--out", "folder") == 0
    (workshop / "grid.yml").write_text(GRID.replace("ATTACK", name))
    assert main(["run", "grid.yml", "--out", "out", "--device", "cpu"]) == 0
    rows = {
        (row["attack"], row["side"], row["epsilon_label"]): row for row in robustreid.load("out").to_dict("records")
    }
    card = json.loads((workshop / "folder" / "card.json").read_text())
    for side in ("query", "gallery"):
        attacked, nothing = (rows[name, side, label] for label in ("8/255", "0/255"))
        noise = rows["noise", side, "8/255"]
        assert nothing["mAP_attacked"] == nothing["mAP_clean"] == nothing["mAP_attacked_float"]
        assert attacked["mAP_drop"] > 0.05
        assert attacked["mAP_drop"] > 5 * noise["mAP_drop"]
        assert attacked["n_attacked"] == noise["n_attacked"]
        assert (attacked["attacker_data"], attacked["references"]) == ("train", "train")
        assert (attacked["backwards"], attacked["backwards_spent"]) == (0, 0)
        assert json.loads(attacked["attack_params"])["perturbation"] == card["perturbation_sha256"]
        assert attacked["linf_max"] <= 8 / 255 + 1e-6
        assert attacked["model_sha256"] == card["model_sha256"]
        # The people of the fit are in no image of the test.
        assert attacked["dataset_sha256"] != card["data_sha256"]


@pytest.mark.parametrize(
    ("entry", "code", "said"),
    [
        ("muap", 2, "grid.yml:5: attacks[0]: muap needs the key `perturbation`"),
        ("{name: muap, perturbation: none.safetensors}", 2, "attacks[0]: There is no file"),
        ("{name: muap, perturbation: recipe.yml}", 4, "attacks[0]: "),
        ("{name: muap, perturbation: [1]}", 2, "expected the path of a .safetensors file"),
        ("{name: muap, perturbation: out/perturbation.safetensors}", 2, "was fitted by uap-retrieval"),
        ("{name: pgd, perturbation: out/perturbation.safetensors}", 2, "takes no parameter 'perturbation'"),
    ],
)
def test_a_grid_with_a_wrong_file(
    write_fit: Write, workshop: Path, capsys: pytest.CaptureFixture[str], entry: str, code: int, said: str
) -> None:
    """Paths start at the grid's folder; a missing file is a wrong request, what is no perturbation an invalid file."""
    write_fit(epochs="epochs: 1")
    if "out/" in entry:
        assert train("--out", "out") == 0
    grid = workshop / "grid.yml"
    grid.write_text(ONE.replace("ENTRY", entry))
    capsys.readouterr()
    assert main(["plan", "grid.yml"]) == code
    assert said in capsys.readouterr().err


def test_a_file_of_another_folder(write_fit: Write, workshop: Path) -> None:
    """A moved file is the same attack: its place is in no cell's identity."""
    from robustreid.benchmark.config.grid import load_grid

    write_fit(epochs="epochs: 1")
    assert train("--out", "out") == 0
    (workshop / "moved.safetensors").write_bytes((workshop / "out" / "perturbation.safetensors").read_bytes())
    specs = []
    for place in ("out/perturbation.safetensors", str(workshop / "moved.safetensors")):
        grid = workshop / "grid.yml"
        attack = f"{{name: uap-retrieval, perturbation: {place}}}"
        grid.write_text(ONE.replace("ENTRY", attack))
        specs.append(load_grid(grid).attacks[0])
    assert specs[0] == specs[1]
    assert specs[0].parameters() == specs[1].parameters()
    assert str(workshop) not in json.dumps(specs[1].parameters())
    assert torch.equal(specs[0].perturbation.delta, specs[1].perturbation.delta)  # type: ignore[union-attr]
