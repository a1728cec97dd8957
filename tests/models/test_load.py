"""From a request to a specification to an embedder, and who may run code."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from onnx import helper
from robustreid import InvalidFileError, UserError
from robustreid.models import load
from robustreid.models.architectures.osnet import osnet_x0_25
from robustreid.models.base import NORMALISATIONS, Normalise
from robustreid.models.load import build, resolve
from safetensors.torch import save_file
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLUGIN = "torch.nn:Flatten"


@pytest.fixture
def program(write_program: Callable[..., Path]) -> Path:
    nodes = [helper.make_node("Flatten", ["x"], ["m"]), helper.make_node("MatMul", ["m", "w"], ["y"])]
    return write_program(nodes, {"w": np.ones((144, 5), dtype=np.float32)})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    save_file(osnet_x0_25().state_dict(), path)
    return path


def test_a_program_is_resolved_from_its_file(program: Path) -> None:
    """Architecture `onnx`, size from the graph, no normalisation, digest of the bytes."""
    spec = resolve(label="p", weights=str(program))
    assert (spec.architecture, spec.input_size, spec.metric) == ("onnx", (8, 6), "cosine")
    assert spec.normalise == NORMALISATIONS["none"]
    assert spec.sha256 == hashlib.sha256(program.read_bytes()).hexdigest()
    assert build(spec)(torch.rand(3, 3, 128, 64)).shape == (3, 5)


def test_an_architecture_is_built_with_its_weights(weights: Path) -> None:
    """ImageNet's normalisation and 256x128 by default; the file's numbers; the random state untouched."""
    spec = resolve(label="o", architecture="osnet_x0_25", weights=weights)
    assert (spec.normalise, spec.input_size) == (NORMALISATIONS["imagenet"], (256, 128))
    before = torch.get_rng_state()
    embedder = build(spec)
    assert torch.equal(before, torch.get_rng_state())
    twin = build(spec)
    images = torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(embedder(images), twin(images))


def test_weights_that_changed_are_refused(weights: Path) -> None:
    """What is built is what the specification identified."""
    spec = resolve(label="o", architecture="osnet_x0_25", weights=weights)
    save_file(osnet_x0_25().state_dict(), weights)
    with pytest.raises(InvalidFileError, match="changed after it was looked at"):
        build(spec)


def test_given_parts_win(program: Path) -> None:
    """Size, metric and normalisation follow the request in each of their forms."""
    given = {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    wanted = Normalise(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    for form in (given, wanted):
        spec = resolve(label="p", weights=program, normalise=form, metric="euclidean", input_size=[16, 8])
        assert (spec.normalise, spec.metric, spec.input_size) == (wanted, "euclidean", (16, 8))
    assert resolve(label="p", weights=program, normalise="imagenet").normalise == NORMALISATIONS["imagenet"]


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        (r"Unknown architecture 'osnet_x0_26'\. Did you mean 'osnet_x0_25'\?", {"architecture": "osnet_x0_26"}),
        (r"Unknown metric 'cosin'\. Did you mean 'cosine'\?", {"metric": "cosin"}),
        (r"Unknown normalisation 'imagnet'\. Did you mean 'imagenet'\?", {"normalise": "imagnet"}),
        (r"expected none, imagenet, or", {"normalise": {"mean": [0, 0, 0]}}),
        (r"expected none, imagenet, or", {"normalise": {"mean": [0, 0, 0], "std": [1, 0, 1]}}),
        (r"name an architecture beside it: agw_resnet50, agw_tiny, densenet121, ", {"architecture": None}),
        (r"has no weights; expected", {"weights": None}),
        (r"input_size \[0, 5\]; expected", {"input_size": (0, 5)}),
        (r"'m' names the plugin 'a:b' and the architecture 'resnet50'", {"plugin": "a:b"}),
        (r"expected `plugin: package:callable`", {"plugin": "nocolon", "architecture": None}),
        (r"does not exist", {"weights": "none.safetensors"}),
        (r"'resnet50' and the program 'p\.onnx', which brings its own", {"weights": "p.onnx"}),
        (r"only safetensors, ONNX", {"weights": "checkpoint.pth"}),
    ],
)
def test_a_wrong_request_is_named(weights: Path, message: str, changes: dict[str, Any]) -> None:
    """Unknown names have the nearest one; contradictions say what to leave out."""
    request: dict[str, Any] = {"label": "m", "architecture": "resnet50", "weights": weights, **changes}
    with pytest.raises(UserError, match=message):
        resolve(**request)


def test_a_plugin_needs_trust_or_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code runs only when it is installed as an entry point, or trusted in so many words."""
    spec = resolve(label="mine", plugin=PLUGIN)
    assert (spec.architecture, spec.normalise) == ("plugin", NORMALISATIONS["none"])
    assert spec.sha256 == hashlib.sha256(PLUGIN.encode()).hexdigest()
    with pytest.raises(UserError, match=r"'torch\.nn:Flatten' of model 'mine' runs with your rights.*--trust-code"):
        build(spec)
    assert build(spec, trust_code=True)(torch.rand(2, 3, 4, 4)).shape == (2, 48)
    point = EntryPoint("flat", PLUGIN, "robustreid.models")
    monkeypatch.setattr(load, "entry_points", lambda group: [point] if group == point.group else [])
    assert build(spec)(torch.rand(2, 3, 4, 4)).shape == (2, 48)
    with pytest.raises(UserError, match="needs --trust-code"):
        build(resolve(label="mine", plugin="torch.nn:Unflatten"))


def test_an_untrusted_plugin_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither `resolve` nor a refused `build` runs a line of it; with trust it is given the weights' path."""
    marker, path = tmp_path / "ran", tmp_path / "w.bin"
    path.write_bytes(b"abc")
    lines = [
        f"import pathlib; pathlib.Path({str(marker)!r}).touch()",
        "from torch.nn import Flatten",
        "def make(path):",
        "    return Flatten() if path.exists() else None",
    ]
    code = "\n".join(lines)
    (tmp_path / "hostile_plugin.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    spec = resolve(label="h", plugin="hostile_plugin:make", weights=path)
    assert spec.sha256 == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(UserError, match="--trust-code"):
        build(spec)
    assert not marker.exists()
    assert isinstance(build(spec, trust_code=True).network, nn.Flatten)
    assert marker.exists()


@pytest.mark.parametrize(
    ("message", "reference"),
    [("does not load: ModuleNotFoundError", "no_such:thing"), ("returned a float", "time:time")],
)
def test_a_plugins_fault_names_the_plugin(message: str, reference: str) -> None:
    """The message has the reference, the model and what happened."""
    with pytest.raises(UserError, match=f"'{reference}' of model 'm' {message}"):
        build(resolve(label="m", plugin=reference), trust_code=True)


def test_resolving_imports_no_torch(program: Path, weights: Path) -> None:
    """A plan with a program and an architecture is made without torch."""
    script = (
        "import sys\nfrom robustreid.models.load import resolve\n"
        f"resolve(label='p', weights={str(program)!r})\n"
        f"resolve(label='a', architecture='osnet_x0_25', weights={str(weights)!r})\n"
        "resolve(label='c', plugin='torch.nn:Flatten')\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
