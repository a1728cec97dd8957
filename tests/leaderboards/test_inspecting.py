"""`robustreid inspect`: what may stand for a model, what is printed, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from robustreid import InvalidFileError, UserError
from robustreid.benchmark import cli
from robustreid.benchmark.inspection import following, sample
from robustreid.leaderboards.inspecting import model_spec
from robustreid.models.base import NORMALISATIONS

#: A package of a user's.
PLUGIN = """
import torch
from torch import nn

class Histogram(nn.Module):
    def forward(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images, (8, 2)).flatten(1) / {divisor}

def build():
    return Histogram()
"""


@pytest.fixture(autouse=True)
def _quick(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half as many people, one round of timing, and a cache of these tests."""
    monkeypatch.setattr(following, "_ROUNDS", 1)
    monkeypatch.setattr(sample, "PEOPLE", 6)
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path_factory.getbasetemp() / "inspect-cache"))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """An ONNX program: eight random features of 16x8 images."""
    weights = np.random.default_rng(0).standard_normal((3 * 16 * 8, 8)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["m"]), helper.make_node("MatMul", ["m", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, 16, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 8))],
        [numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "my model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_what_may_stand_for_a_model(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zoo name with what the zoo says, whatever folder is called so; a file, an architecture, code; and options."""
    zoo = model_spec("tiny-bit-depth")
    assert (zoo.label, zoo.architecture, zoo.defence_title) == ("tiny-bit-depth", "tinynet", "bit-depth(bits=4)")
    assert zoo.normalise == NORMALISATIONS["imagenet"]
    file = model_spec(str(program), normalise="imagenet", metric="euclidean", defence=["jpeg", "blur"])
    assert (file.label, file.architecture, file.input_size) == ("my-model", "onnx", (16, 8))
    assert (file.normalise, file.metric, len(file.defence)) == (NORMALISATIONS["imagenet"], "euclidean", 2)
    assert zoo.weights is not None
    weights = model_spec(str(zoo.weights), architecture="tinynet", input_size=(64, 32))
    assert (weights.label, weights.architecture, weights.input_size) == ("tiny", "tinynet", (64, 32))
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert model_spec("tiny").weights == zoo.weights
    code = model_spec("my_package.models:build")
    assert (code.label, code.plugin, code.weights) == ("my_package.models-build", "my_package.models:build", None)


def test_the_folder_of_a_submission_stands_for_its_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By what its description says of it; an option changes that."""
    folder = tmp_path / "mine"
    assert cli.main(["submit", "init", str(folder), "--yes"]) == 0
    capsys.readouterr()
    description = folder / "submission.yaml"
    description.write_text(description.read_text().replace("architecture: resnet50", "architecture: tinynet"))
    zoo = model_spec("tiny")
    assert zoo.weights is not None
    (folder / "weights.safetensors").write_bytes(zoo.weights.read_bytes())
    found = model_spec(str(folder))
    assert (found.label, found.architecture, found.sha256) == ("mine", "tinynet", zoo.sha256)
    assert model_spec(str(folder), metric="euclidean").metric == "euclidean"


@pytest.mark.parametrize(
    ("argument", "options", "kind", "message"),
    [
        ("tinny", {}, UserError, r"^Unknown zoo model 'tinny'\. Did you mean 'tiny'\?"),
        (".", {}, UserError, r"^There is no submission.yaml in '\.'; give the folder of a submission"),
        ("absent.onnx", {}, UserError, r"^The weights file 'absent\.onnx' does not exist; check the path\.$"),
        ("absent.safetensors", {}, UserError, r"says nothing about its network; name an architecture beside it"),
        ("weights.pth", {}, InvalidFileError, r"^The weights file 'weights\.pth' of model 'weights' is not read; "),
        ("tiny", {"architecture": "resnet50"}, UserError, r"of the zoo, which brings its own architecture; leave one"),
        ("tiny", {"defence": ["jpg"]}, UserError, r"Unknown defence 'jpg'\. Did you mean 'jpeg'\?"),
    ],
)
def test_what_does_not_stand_for_a_model(
    argument: str, options: dict[str, Any], kind: type[UserError], message: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """One sentence, the exit code of the mistake."""
    monkeypatch.chdir(tmp_path)
    Path("weights.pth").touch()
    with pytest.raises(UserError, match=message) as caught:
        model_spec(argument, **options)
    assert type(caught.value).exit_code == kind.exit_code


def inspect(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code and both outputs of `robustreid inspect`."""
    code = cli.main(["inspect", *arguments])
    return code, *capsys.readouterr()


def test_a_model_of_the_zoo_is_inspected(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 with a flag; the flag, its reason and what to do are in the table."""
    code, out, _ = inspect(capsys, "tiny-bit-depth", "--device", "cpu", "--batch-size", "12")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("tiny-bit-depth (tinynet, sha256 35f852457334) on 12 queries and 24 gallery images of")
    assert any(line.startswith("gradient     FLAG    found by the benchmark's own checks") for line in lines)
    assert "  gradient (hides-gradients): believe these rows; numbers of the model from elsewhere may be of" in out
    assert lines[-1].startswith("tiny-bit-depth can be scored; its numbers will be doubted: hides-gradients (docs/fl")
    assert ", 12 images of 128x64 at once" in out


def test_code_is_run_only_when_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the option nothing is imported; with it the model is inspected, and one of NaN exits with 4."""
    for name, divisor in (("inspected_good", 1), ("inspected_bad", 0)):
        (tmp_path / f"{name}.py").write_text(PLUGIN.format(divisor=divisor))
    monkeypatch.syspath_prepend(tmp_path)
    code, out, err = inspect(capsys, "inspected_good:build")
    assert (code, out) == (2, "")
    assert "runs with your rights and is no installed entry point" in err
    code, out, _ = inspect(capsys, "inspected_good:build", "--trust-code", "--json", "--device", "cpu")
    found = json.loads(out)
    assert (code, found["name"], found["can_be_scored"]) == (0, "inspected_good-build", True)
    assert {"name": "mode", "verdict": "note"}.items() <= next(
        finding for finding in found["findings"] if finding["name"] == "mode"
    ).items()
    assert found["fgsm_mAP"] < found["clean_mAP"]
    code, out, _ = inspect(capsys, "inspected_bad:build", "--trust-code", "--device", "cpu")
    assert code == 4
    assert out.splitlines()[-1].startswith("inspected_bad-build cannot be scored: features.")
    assert "NaN or infinite in 8 of 8 features" in out


def test_people_of_a_folder_are_taken(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A set in Market-1501's layout in place of drawn people; the folder itself is not touched."""
    from PIL import Image

    root = tmp_path / "mine"
    rng = np.random.default_rng(0)
    for folder, camera in (("query", 1), ("bounding_box_test", 2)):
        (root / folder).mkdir(parents=True)
        for person in range(1, 4):
            coat = np.random.default_rng(person).integers(0, 250, (16, 8, 3))
            pixels = (coat + rng.integers(0, 6, coat.shape)).astype(np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{person:04d}_c{camera}s1_000001_00.png")
    before = sorted(root.rglob("*"))
    code, out, _ = inspect(capsys, str(program), "--data", str(root), "--device", "cpu", "--json")
    found = json.loads(out)
    assert (code, found["dataset"], found["n_query"], found["n_gallery"]) == (0, "mine", 3, 3)
    assert found["clean_mAP"] == 1
    assert sorted(root.rglob("*")) == before
    code, _, err = inspect(capsys, str(program), "--data", str(tmp_path / "absent"))
    assert (code, len(err.splitlines())) == (2, 1)


@pytest.mark.parametrize("size", ["256", "x128", "0x4", "256x128x3", "²x2"])
def test_a_size_is_two_numbers(capsys: pytest.CaptureFixture[str], size: str) -> None:
    """Anything else is refused with an example."""
    code, _, err = inspect(capsys, "tiny", "--input-size", size)
    assert code == 2
    assert "expected HEIGHTxWIDTH in pixels, such as 256x128" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "normalise", "flags"),
    [
        ("person-reidentification-retail-0031.onnx", "none", []),
        ("person-reidentification-retail-0288.onnx", "none", []),
        ("osnet_x0_25_msmt17.onnx", "imagenet", []),
        ("osnet_x0_25_msmt17.onnx", "none", ["better-fed-otherwise"]),
        ("person-reidentification-retail-0031.onnx", "imagenet", ["better-fed-otherwise"]),
    ],
)
def test_real_models_keep_the_contract(
    real_data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    normalise: str,
    flags: list[str],
) -> None:
    """Fed as they were trained they raise nothing, on drawn people and on real ones; fed otherwise that is said."""
    monkeypatch.setattr(sample, "PEOPLE", 12)
    for data in ([], ["--data", str(real_data / "market1501-mini")], ["--data", str(real_data / "cuhk01-mini")]):
        code, out, _ = inspect(
            capsys, str(real_data / "weights" / name), "--normalise", normalise, "--json", "--device", "cpu", *data
        )
        found = json.loads(out)
        # No flag is no proof: 24 gallery images show too little of what a missing normalisation costs OSNet.
        unseen = name.startswith("osnet") and bool(flags) and "cuhk01-mini" in str(data)
        assert (code, found["flags"]) == (0, [] if unseen else flags), data
        assert all(finding["verdict"] in {"fine", "flag"} for finding in found["findings"])
        assert flags or found["fgsm_mAP"] < found["noise_mAP"] - 0.1
