"""Requests that are wrong: one sentence, the right exit code, and nothing written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from onnx import helper
from PIL import Image
from robustreid.benchmark.cli import COMMANDS
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONG = "a" * 10_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("foo",),
            f"Unknown command 'foo'. Available: {', '.join(COMMANDS)}.",
        ),
        (("rum",), "Unknown command 'rum'. Did you mean 'run'? Available: "),
        (("\u202e",), r"Unknown command '\u202e'."),
        ((LONG,), f"Unknown command '{LONG[:119]}... (10003 characters) Available: "),
        (("run",), "Missing argument 'GRID'; see `robustreid run --help`."),
        (("run", "grid.yml", "--foo"), "No such option '--foo'. Did you mean '--out'? See `robustreid run --help`."),
        (("--foo",), "No such option '--foo'; see `robustreid --help`."),
        (("run", "grid.yml", "x"), "Got unexpected extra argument (x); see"),
        (("run", "grid.yml", "--limit", "-1"), "Invalid value for '--limit': -1 is not in the range x>=0; see"),
        (("run", "grid.yml", "--batch-size", "0"), "Invalid value for '--batch-size': 0 is not in the range x>=1; see"),
        (
            ("run", "grid.yml", "--again", "ever"),
            "Invalid value for '--again': 'ever' is not one of 'never', 'failed',",
        ),
        (("run", "grid.yml", "--device", "gpu"), "Unknown device 'gpu'; expected auto, cpu, cuda, cuda:1 or mps."),
        (("run", "grid.yml", "--device", "cpu:1"), "Unknown device 'cpu:1'; expected"),
        (("run", "grid.yml", "--device", "cuda:99"), "Device 'cuda:99' is not there: PyTorch sees "),
        (("run", "grid.yml", "-k", "a and"), "-k 'a and' does not parse at 'its end'; expected words joined with"),
        (("plan", "grid.yml", "-k", "(a"), "-k '(a' does not parse at 'its end'; expected words joined with"),
        (("run", "grid.yml", "--out", "m.onnx"), "'m.onnx' is a file; give a folder for the run."),
        (("plan", "grid.yml", "--out", "m.onnx"), "'m.onnx' is a file; give a folder for the run."),
        (("run", "grid.yml", "--out", LONG), "Invalid value for '--out': "),
        (
            ("run", "nope.yml"),
            "There is no file 'nope.yml'; give the path of a grid file (see `robustreid run --help`).",
        ),
        (("run", "ama-rael"), "Unknown grid 'ama-rael'. Did you mean 'ama-real'? Available: "),
        (
            ("run", "mini"),
            "Unknown grid 'mini'. Available: ama-real, auto, cross-modality/drawn, cross-modality/llcm-i2v, ",
        ),
        (("run", LONG), "Unknown grid '"),
        (("status", "nowhere"), "'nowhere' is no run directory; give a folder that `robustreid run` wrote."),
        (("status", "mini"), "'mini' is no run directory; give a folder that `robustreid run` wrote."),
        (("status", "m.onnx"), "'m.onnx' is a file; give a folder for the run."),
        (
            ("ls", "model"),
            "Invalid value for 'KIND': 'model' is not one of 'models', 'attacks', 'datasets', 'defences',",
        ),
        (
            ("ls",),
            "Missing argument 'KIND'. Choose from: models, attacks, datasets, defences, tracks; see ",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_command_line(
    refused: Callable[..., str], write_grid: Callable[..., Path], arguments: tuple[str, ...], said: str
) -> None:
    """Exit code 2, with what was wrong first."""
    write_grid()
    assert refused(2, *arguments).startswith(said)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"epsilons": "epsilons: 8"}, "grid.yml:7: epsilons[0]: epsilon '8' is ambiguous"),
        ({"models": "models: [qq]"}, "grid.yml:2: models[0]: Unknown zoo model 'qq'. Available: "),
        ({"side": "side: galery"}, "grid.yml:8: side: expected one of query, gallery, both, got 'galery'"),
        ({"epsilons": "epsilons: [0.5/255]"}, "ama-ifgsm has no step below 1/255 (epsilon 0.50/255): "),
        ({"extra": "norm: l2"}, "ama-ifgsm is defined for L-inf only, not l2; use pgd for l2."),
        ({"extra": "exclude:\n  - {side: query}"}, "exclude[0] (side: query) matches no cell of the grid; "),
        ({"datasets": "datasets:\n  - {name: x, format: folder, root: nix}"}, "Data set 'x': there is no folder '"),
        ({"models": "models:\n  - {name: a, weights: nix.onnx}"}, "grid.yml:3: models[0]: The weights file '"),
    ],
)
@pytest.mark.parametrize("by", ["run", "plan"])
def test_a_wrong_grid(
    refused: Callable[..., str], write_grid: Callable[..., Path], parts: dict[str, str], said: str, by: str
) -> None:
    """Both commands refuse it with 2 and the same sentence; only a missing set may be planned."""
    write_grid(**parts)
    if by == "plan" and "nix}" in parts.get("datasets", ""):
        pytest.skip("plan needs no data")
    assert refused(2, by, "grid.yml").startswith(said)


def cut_off(path: Path) -> None:
    """A JPEG with a good header and half of its pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


#: By what is done to a new image of the set: the exit code, and a part of what is said.
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (
        lambda path: path.write_bytes(b"hello"),
        "is not a readable image (no image format that is known); restore",
    ),
    "nothing in it": (lambda path: path.touch(), "is not a readable image (no image format that is known); restore it"),
    "cut off": (cut_off, "is not a readable image (OSError: "),
    "vanished": (lambda path: path.symlink_to("nowhere"), "cannot be read: No such file or directory; restore it or"),
    "a folder": (lambda path: path.mkdir(), "cannot be read: Is a directory; restore it or remove it from the set."),
}


@pytest.mark.parametrize("what", list(BROKEN))
def test_a_broken_image(
    refused: Callable[..., str], write_grid: Callable[..., Path], bench: Path, own_cache: Path, what: str
) -> None:
    """Exit code 4, the file's name, before anything is run, and no pixel is kept."""
    make, said = BROKEN[what]
    image = bench / "mini/query/0001_c1s1_000009_00.jpg"
    make(image)
    write_grid()
    sentence = refused(4, "run", "grid.yml")
    assert repr(str(image)) in sentence
    assert said in sentence
    assert list(own_cache.glob("decoded/*.rgb")) == []


@pytest.mark.parametrize(
    ("code", "change", "said"),
    [
        (
            4,
            lambda root: (root / "query/foo.jpg").touch(),
            "foo.jpg' does not say who is on it; expected a name such as",
        ),
        (
            2,
            lambda root: (root / "query").rename(root / "probe"),
            "has no folder 'query'; expected Market-1501's layout",
        ),
        (
            2,
            lambda root: [path.unlink() for path in (root / "query").iterdir()],
            "query' holds no images; expected files",
        ),
    ],
)
@pytest.mark.parametrize("by", ["run", "plan"])
def test_a_broken_data_set(
    refused: Callable[..., str],
    write_grid: Callable[..., Path],
    bench: Path,
    by: str,
    code: int,
    change: Callable[[Path], object],
    said: str,
) -> None:
    """A wrong layout is a wrong request, a file that cannot belong there an invalid set; a plan says so as well."""
    change(bench / "mini")
    write_grid()
    assert said in refused(code, by, "grid.yml")


def write_unsupported(path: Path) -> None:
    """A program with an operator that is not read."""
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 1, ("batch", 3, 8, 4))],
        [helper.make_tensor_value_info("y", 7, None)],
    )
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("architecture: osnet_x0_25, weights: other.safetensors", "other.safetensors' does not fit OSNet: 4"),
        (
            "architecture: osnet_x0_25, weights: pickle.pth",
            "is not read; only safetensors, ONNX and IR files are read, because",
        ),
        (
            "architecture: osnet_x0_25, weights: pickle.safetensors",
            "is not a safetensors file; only safetensors, ONNX",
        ),
        ("weights: pickle.onnx", "is not an ONNX file or is cut off; export or download it again."),
        ("weights: unsupported.onnx", "needs operators that are not supported: NonZero; supported are: Abs, Add,"),
    ],
)
def test_weights_that_are_not_what_they_should_be(
    refused: Callable[..., str], write_grid: Callable[..., Path], bench: Path, entry: str, said: str
) -> None:
    """Exit code 4; no pickle is ever loaded."""
    save_file({"a": torch.zeros(2)}, bench / "other.safetensors")
    for name in ("pickle.pth", "pickle.safetensors", "pickle.onnx"):
        torch.save({"a": torch.zeros(2)}, bench / name)
    write_unsupported(bench / "unsupported.onnx")
    write_grid(models=f"models:\n  - {{name: a, {entry}}}")
    assert said in refused(4, "run", "grid.yml")


def test_code_runs_only_when_it_is_trusted(
    refused: Callable[..., str],
    call: Callable[..., object],
    write_grid: Callable[..., Path],
    bench: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`plan` imports no plug-in, `run` needs --trust-code, and says so with exit code 2."""
    code = "open('ran', 'w').close()\nfrom torch.nn import Flatten\n"
    (bench / "a_plugin_of_mine.py").write_text(code)
    monkeypatch.syspath_prepend(bench)
    write_grid(models="models:\n  - {name: mine, plugin: 'a_plugin_of_mine:Flatten'}")
    assert getattr(call("plan", "grid.yml"), "returncode", None) == 0
    sentence = refused(2, "run", "grid.yml")
    assert sentence.startswith("The plugin 'a_plugin_of_mine:Flatten' of model 'mine' runs with your rights")
    assert "so it needs --trust-code." in sentence
    assert not (bench / "ran").exists()
    assert getattr(call("run", "grid.yml", "--trust-code"), "returncode", None) == 0
    assert (bench / "ran").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes and reads everything")
def test_permissions(refused: Callable[..., str], write_grid: Callable[..., Path], bench: Path) -> None:
    """A folder that may not be read is 2, one that may not be written 74."""
    write_grid()
    for code, folder in ((2, bench / "mini/query"), (74, bench)):
        folder.chmod(0o500 if code == 74 else 0)
        try:
            assert "ermission" in refused(code, "run", "grid.yml")
        finally:
            folder.chmod(0o755)
