"""What a right grid file means, and names that mean nothing."""

# A row of a table of messages stays one line.
# ruff: noqa: E501

from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from robustreid import InvalidFileError, UserError
from robustreid.attacks.threat import Threat
from robustreid.benchmark.config.grid import Exclusion, load_grid
from robustreid.benchmark.training.recipe import shipped
from robustreid.models import zoo
from robustreid.models.base import NORMALISATIONS, Normalise

if TYPE_CHECKING:
    from collections.abc import Callable

LIN = "{name: lin, weights: m.onnx"


def refusal(path: Path, kind: type[UserError] = UserError) -> str:
    """What is said about a grid, without the file's name."""
    with pytest.raises(UserError) as caught:
        load_grid(path)
    assert type(caught.value) is kind
    return str(caught.value).removeprefix(str(path))


def test_a_grid_is_resolved(bench: Path, write_grid: Callable[..., Path]) -> None:
    """Names become specifications, one-or-many keys lists, and equal entries one."""
    extra = "norm: linf\nseeds: 3\ngoal: [untargeted, targeted, targeted]\nexclude:\n  - {model: lin, epsilon: 1/51}"
    grid = load_grid(write_grid(extra, epsilons="epsilons: [0, 5/255, 1/51, 0.5]", side="side: [query, both, query]"))
    assert grid.name == "tiny"
    assert grid.text == (bench / "grid.yml").read_text()
    (model,), (dataset,), (attack,) = grid.models, grid.datasets, grid.attacks
    assert (model.label, model.architecture, model.input_size) == ("lin", "onnx", (8, 4))
    assert (dataset.label, dataset.format, dataset.root) == ("mini", "folder", bench / "mini")
    assert attack.name == "ama-ifgsm"
    assert [threat.epsilon for threat in grid.threats] == [0, Fraction(1, 51), Fraction(1, 2)]
    assert (grid.sides, grid.goals, grid.seeds) == (("query", "both"), ("untargeted", "targeted"), (3,))
    assert grid.perturb_at == "auto"
    (exclusion,) = grid.exclusions
    threat = Threat(norm="linf", epsilon=Fraction(5, 255))
    wanted = dict.fromkeys(("dataset", "attack", "side", "goal", "seed", "knowledge", "surrogate"))
    assert exclusion == Exclusion(model="lin", epsilon=threat, **wanted)
    assert str(exclusion) == "model: lin, epsilon: 5/255"


def test_relative_paths_start_at_the_file(
    bench: Path, write_grid: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file means the same wherever the command is issued."""
    path = write_grid()
    here = load_grid(path)
    (bench / "elsewhere").mkdir()
    monkeypatch.chdir(bench / "elsewhere")
    assert load_grid(path).models == here.models
    assert load_grid("../grid.yml").datasets[0].root == bench / "mini"


def test_variables_and_home_are_expanded(
    bench: Path, write_grid: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`${VAR}` and `~` in a path."""
    monkeypatch.setenv("MY_DATA", str(bench))
    monkeypatch.setenv("HOME", str(bench))
    models = 'models:\n  - {name: lin, weights: "~/m.onnx"}'
    datasets = 'datasets:\n  - {name: mini, format: folder, root: "${MY_DATA}/mini"}'
    grid = load_grid(write_grid(models=models, datasets=datasets))
    assert (grid.models[0].weights, grid.datasets[0].root) == (bench / "m.onnx", bench / "mini")


@pytest.mark.parametrize(
    ("setting", "field", "value"),
    [
        ("normalise: imagenet", "normalise", NORMALISATIONS["imagenet"]),
        ("normalise: none", "normalise", NORMALISATIONS["none"]),
        ("normalise: {mean: [0, 0.5, 1], std: [1, 2, 3]}", "normalise", Normalise(mean=(0, 0.5, 1), std=(1, 2, 3))),
        ("metric: euclidean", "metric", "euclidean"),
        ("input_size: [16, 8]", "input_size", (16, 8)),
    ],
)
def test_settings_of_a_model(write_grid: Callable[..., Path], setting: str, field: str, value: object) -> None:
    """Each setting reaches the specification, and decides its identity where it differs from the default."""
    plain = load_grid(write_grid()).models[0]
    given = load_grid(write_grid(models=f"models:\n  - {LIN}, {setting}}}")).models[0]
    assert getattr(given, field) == value
    assert (given.identity() != plain.identity()) == (getattr(plain, field) != value)


def test_a_format_defaults_to_a_known_name(write_grid: Callable[..., Path]) -> None:
    """`market1501` needs no format; another name does."""
    assert (
        load_grid(write_grid(datasets="datasets:\n  - {name: market1501, root: x}")).datasets[0].format == "market1501"
    )
    said = refusal(write_grid(datasets="datasets: [market1510]"))
    assert said.startswith(":4: datasets[0]: Unknown data set 'market1510'. Did you mean 'market1501'?")
    assert said.endswith("Or say which `format` its `root` has.")


@pytest.mark.parametrize(
    ("part", "text", "kind", "message"),
    [
        ("models", "models: [person-reidentification-retail-0030]", UserError, ":2: models[0]: Unknown zoo model 'person-reidentification-retail-0030'. Did you mean 'person-reidentification-retail-0031'?"),
        ("models", "models: [osnet_x0_25_msmt17]", UserError, ":2: models[0]: The weights of 'osnet_x0_25_msmt17' are not on this machine"),
        ("models", f"models:\n  - {LIN}, architecture: resnet5}}", UserError, ":3: models[0]: Unknown architecture 'resnet5'. Did you mean 'resnet50'?"),
        ("models", "models:\n  - {name: a, weights: nix.onnx}", UserError, ":3: models[0]: The weights file '"),
        ("models", "models:\n  - {name: a, plugin: evil}", UserError, ":3: models[0]: The model 'a' names the plugin 'evil'"),
        ("models", "models:\n  - {name: a, weights: w.pth}", InvalidFileError, ":3: models[0]: The weights file '"),
        ("models", f"models:\n  - {LIN}}}\n  - {LIN}}}", UserError, ":4: models[1]: the name 'lin' is taken above; give one of them another."),
        ("models", f"models:\n  - {LIN}}}\n  - {{name: lin2, weights: ./m.onnx}}", UserError, ":4: models[1]: 'lin2' has the weights and settings of 'lin'; remove one of the two."),
        ("datasets", "datasets:\n  - {name: mini, format: foldr, root: x}", UserError, ":5: datasets[0]: Unknown data set format 'foldr'. Did you mean 'folder'?"),
        ("datasets", "datasets:\n  - {name: mini, format: folder}", UserError, ":5: datasets[0]: Data set 'mini' needs a `root`: the folder that holds its images."),
        ("datasets", "datasets:\n  - {name: a, format: folder, root: x}\n  - {name: a, format: folder, root: y}", UserError, ":6: datasets[1]: the name 'a' is taken above; give one of them another."),
        ("datasets", f"datasets:\n  - {{name: a, format: folder, root: {'a' * 10000}}}", UserError, f":5: datasets[0]: the path '{'a' * 10000}' cannot be looked at: File name too long; give another."),
        ("datasets", "datasets:\n  - {name: a, format: folder, root: ~nobody-of-that-name/x}", UserError, ":5: datasets[0]: the path '~nobody-of-that-name/x' cannot be looked at: there is no such user; give another."),
        ("attacks", "attacks: [ama-ifgms]", UserError, ":6: attacks[0]: Unknown attack 'ama-ifgms'. Did you mean 'ama-ifgsm'?"),
        ("attacks", "attacks:\n  - {name: mine, objective: push}", UserError, ":7: attacks[0]: Unknown attack 'mine'."),
        ("", "exclude:\n  - {model: lim}", UserError, ":10: exclude[0]: Unknown model 'lim'. Did you mean 'lin'? Available: lin."),
        ("", "exclude:\n  - {attack: noise}", UserError, ":10: exclude[0]: Unknown attack 'noise'."),
        ("", "exclude:\n  - {dataset: maxi}", UserError, ":10: exclude[0]: Unknown dataset 'maxi'. Did you mean 'mini'?"),
        ("", "exclude:\n  - {}", UserError, ":10: exclude[0]: an exclusion without keys would leave no cell; give at least one of model, dataset,"),
    ],
)  # fmt: skip
def test_what_names_nothing(
    write_grid: Callable[..., Path], part: str, text: str, kind: type[UserError], message: str
) -> None:
    """The line, the path, what came, and the nearest name where there is one."""
    said = refusal(write_grid(**{part: text}) if part else write_grid(text), kind)
    assert said.startswith(message)
    assert "\n" not in said


def test_the_same_file_twice_with_other_settings_is_two_models(write_grid: Callable[..., Path]) -> None:
    """Only a model that is the other one in everything is refused."""
    grid = load_grid(write_grid(models=f"models:\n  - {LIN}}}\n  - {{name: raw, weights: m.onnx, metric: euclidean}}"))
    assert [model.label for model in grid.models] == ["lin", "raw"]


def test_a_twin_is_named_by_its_place_after_a_wrong_entry(write_grid: Callable[..., Path]) -> None:
    """An entry that does not resolve moves no other entry's line."""
    models = f"models:\n  - nobody\n  - {LIN}}}\n  - {{name: twin, weights: m.onnx}}"
    lines = refusal(write_grid(models=models)).splitlines()
    assert len(lines) == 2
    assert ":5: models[2]: 'twin' has the weights and settings of 'lin'" in lines[1]


def test_problems_of_two_kinds_exit_with_the_request(write_grid: Callable[..., Path]) -> None:
    """A wrong request beside a wrong file is a wrong request: 2, not 4."""
    said = refusal(write_grid(models="models:\n  - {name: a, weights: w.pth}", attacks="attacks: [nois]"))
    assert len(said.splitlines()) == 2


@pytest.mark.parametrize("content", [b"no program", b""])
def test_a_broken_program_is_an_invalid_file(write_grid: Callable[..., Path], bench: Path, content: bytes) -> None:
    """It is named with its place in the grid, as any other file that is not what it should be."""
    (bench / "m.onnx").write_bytes(content)
    with pytest.raises(InvalidFileError, match=r"grid\.yml:\d+: models\[0\].*The program '.*m\.onnx' "):
        load_grid(write_grid())


def test_a_zoo_model_is_found_and_checked(
    write_grid: Callable[..., Path], real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings are the entry's; a file with its name and other bytes is invalid."""
    name = "osnet_x0_25_msmt17"
    monkeypatch.setenv("ROBUSTREID_WEIGHTS", str(real_data / "weights"))
    (model,) = load_grid(write_grid(models=f"models: [{name}]")).models
    assert (model.label, model.sha256, model.normalise) == (name, zoo.ZOO[name].sha256, NORMALISATIONS["imagenet"])
    shutil.copy(tmp_path / "bench" / "m.onnx", tmp_path / zoo.ZOO[name].file)
    monkeypatch.setenv("ROBUSTREID_WEIGHTS", str(tmp_path))
    assert "has sha256" in refusal(write_grid(models=f"models: [{name}]"), InvalidFileError)


def test_every_shipped_grid_resolves(monkeypatch: pytest.MonkeyPatch, real_data: Path, tmp_path: Path) -> None:
    """Each recipe of the package is found by its name, and is called what its file is called."""
    monkeypatch.setenv("ROBUSTREID_TEST_DATA", str(real_data))
    monkeypatch.setenv("MODEL", str(real_data / "weights" / "osnet_x0_25_msmt17.onnx"))
    monkeypatch.setenv("DATA", str(real_data / "market1501-mini"))
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(name for name in shipped() if name.startswith("osnet-")):
        trained = tmp_path / "runs" / "train" / name / "weights.safetensors"
        trained.parent.mkdir(parents=True)
        trained.write_bytes(f"not read until it is needed {number}".encode())
    entries = [entry.name for entry in files("robustreid.benchmark.recipes").iterdir()]
    grids = {name: load_grid(name) for name in (e.removesuffix(".yml") for e in entries if e.endswith(".yml"))}
    assert {"ama-real", "demo"} <= grids.keys()
    assert [grid.name for grid in grids.values()] == list(grids)


def test_a_shipped_grid_with_an_unset_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which variable, and where."""
    monkeypatch.delenv("ROBUSTREID_TEST_DATA", raising=False)
    with pytest.raises(UserError, match=r"^ama-real\.yml:\d+: the variable ROBUSTREID_TEST_DATA is not set"):
        load_grid("ama-real")


def test_a_folder_does_not_hide_a_shipped_grid(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run directory called like a shipped grid is no grid file; the shipped one is meant."""
    (bench / "ama-real").mkdir()
    monkeypatch.setenv("ROBUSTREID_TEST_DATA", str(bench))
    with pytest.raises(UserError, match=r"osnet_x0_25_msmt17\.onnx"):
        load_grid("ama-real")


def test_keys_are_set_from_outside(write_grid: Callable[..., Path]) -> None:
    """Old keys get other values and new ones are added; the text that is kept is the changed one, comments included."""
    path = write_grid("seeds: [3]  # as it was")
    before = load_grid(path)
    grid = load_grid(path, ["precision=fast", "seeds=[0, 1]", "folding=false"])
    assert (before.precision, before.seeds) == ("exact", (3,))
    assert (grid.precision, grid.seeds) == ("fast", (0, 1))
    assert {model.folding for model in before.models} == {True}
    assert {model.folding for model in grid.models} == {False}
    kept = path.with_name("kept.yml")
    kept.write_text(grid.text)
    assert replace(load_grid(kept), text="") == replace(grid, text="")
    assert "# as it was" in grid.text


def test_a_variable_that_is_set_over_need_not_be_there(
    write_grid: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other models in place of `${NOWHERE}`, in a file of the user's and in a shipped grid; others still refuse."""
    for name in ("NOWHERE", "ROBUSTREID_TEST_DATA"):
        monkeypatch.delenv(name, raising=False)
    path = write_grid(models='models: [{name: lin, weights: "${NOWHERE}"}]')
    assert "the variable NOWHERE is not set" in refusal(path)
    models = "models=[{name: lin, weights: m.onnx}]"
    assert [model.label for model in load_grid(path, [models]).models] == ["lin"]
    with pytest.raises(UserError, match=r"ama-real\.yml:\d+: the variable ROBUSTREID_TEST_DATA is not set"):
        load_grid("ama-real", [models])
    data = "datasets=[{name: mini, format: folder, root: mini}]"
    assert load_grid("ama-real", [models, data, "exclude=[]"]).name == "ama-real"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("precision", r"--set 'precision' is not KEY=VALUE; write, for example, --set precision=fast\."),
        ("=fast", r"--set '=fast' is not KEY=VALUE"),
        ("precision=", r"--set 'precision=' is not KEY=VALUE"),
        ("seeds=[0", r"--set 'seeds=\[0' is not KEY=VALUE"),
        ("precison=fast", r"grid\.yml:\d+: precison: unknown key 'precison'.*'precision'"),
        ("precision=half", r"grid\.yml:\d+: precision: expected one of exact, fast, got 'half'"),
    ],
)
def test_what_cannot_be_set_is_refused(write_grid: Callable[..., Path], change: str, message: str) -> None:
    """In one sentence, as if it stood in the file."""
    with pytest.raises(UserError, match=message):
        load_grid(write_grid(), [change])
