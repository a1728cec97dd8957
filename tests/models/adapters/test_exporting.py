"""An exported program has the features of its module, or is not written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from robustreid import StorageError, UserError
from robustreid.models import exporting
from robustreid.models.adapters import export_onnx, from_fastreid, from_module, from_timm, from_torchreid
from robustreid.models.load import build, resolve
from torch import Tensor, nn
from torch.nn import functional as F


@pytest.mark.parametrize("kind", ["torchreid", "fastreid", "timm"])
def test_what_was_adapted_is_exported(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The benchmark's own features of the file are the adapted model's, of images of another size too."""
    adapt: dict[str, Callable[[Any], nn.Module]] = {
        "torchreid": from_torchreid,
        "fastreid": from_fastreid,
        "timm": from_timm,
    }
    adapted = adapt[kind](request.getfixturevalue(f"{kind}_model"))
    path = export_onnx(adapted, tmp_path / "model.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    model = build(resolve(label="m", weights=path, metric="euclidean"))
    images = torch.rand(5, 3, 100, 50)
    assert torch.allclose(model(images), adapted(images), rtol=1e-3, atol=1e-4)
    assert model.spec.input_size == adapted.get_submodule("").spec.input_size  # type: ignore[union-attr]
    own = torch.rand(3, 3, *(model.spec.input_size or ()))
    (found,) = onnxruntime.InferenceSession(path.read_bytes()).run(None, {"images": own.numpy()})
    assert torch.allclose(torch.from_numpy(found), adapted(own), rtol=1e-3, atol=1e-4)


def test_a_plain_module_is_exported_at_a_size(tmp_path: Path) -> None:
    """The size is the caller's to say, and a file that was there is replaced."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    path = tmp_path / "model.onnx"
    path.write_text("old")
    assert export_onnx(network, str(path), (32, 16)) == path
    assert resolve(label="m", weights=path).input_size == (32, 16)


class Sorting(nn.Module):
    """Uses what the reader does not know."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).sort(1).values[:, :8]


class ByBatch(nn.Module):
    """What is traced depends on how many images there are."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) + len(images)


class Forgetful(nn.Module):
    """Branches on what it sees, which a trace does not keep."""

    def forward(self, images: Tensor) -> Tensor:
        pooled = images.mean((2, 3))
        return pooled if len(images) == 2 else 2 * pooled


class Drawing(nn.Module):
    """Other features each time."""

    def forward(self, images: Tensor) -> Tensor:
        return F.dropout(images.mean((2, 3)), training=True)


@pytest.mark.parametrize(
    ("module", "path", "size", "message"),
    [
        (
            Sorting(),
            "m.onnx",
            (8, 4),
            r"\(torchscript: The program 'm\.onnx' needs operators that are not supported: TopK\); submit weights of",
        ),
        (Forgetful(), "m.onnx", (8, 4), r"^The Forgetful cannot be exported as a program with its features \(torchscr"),
        (Drawing(), "m.onnx", (8, 4), r"^The Drawing gives other features each time, which no program does; turn its"),
        (nn.Identity(), "m.onnx", (8, 4), r"^The Identity gave \(3, 3, 8, 4\) for 3 images; expected finite features"),
        (nn.Linear(3, 2), "m.onnx", (8, 4), r"^The Linear does not run on images of 8x4: RuntimeError: mat1 and mat2"),
        (Sorting(), "m.onnx", None, r"^export_onnx got input_size None; expected \(height, width\), two whole numbers"),
        (Sorting(), "m.onnx", (8, 0), r"^export_onnx got input_size \(8, 0\); expected \(height, width\)"),
        (Sorting(), "m.pt", (8, 4), r"^export_onnx got a Sorting and 'm\.pt'; expected a torch\.nn\.Module and a path"),
        (len, "m.onnx", (8, 4), r"^export_onnx got a builtin_function_or_method and '.*'; expected a torch\.nn"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_the_reason(
    module: Any, path: str, size: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no file is left behind; the newer exporter, which takes seconds to say the same, is left out."""
    monkeypatch.setattr(exporting, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=message):
        export_onnx(module, tmp_path / path if path == "m.onnx" else path, size)
    assert list(tmp_path.iterdir()) == []


def test_another_size_than_its_own_is_refused(tmp_path: Path) -> None:
    """The resize would be part of the program, which is resized to already."""
    adapted = from_module(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), input_size=(32, 16))
    with pytest.raises(UserError, match=r"^export_onnx got input_size 8x4 for a model that resizes to 32x16; adapt it"):
        export_onnx(adapted, tmp_path / "m.onnx", (8, 4))


def test_an_exporter_that_lies_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of slightly other features is refused; one within rounding is kept."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 4))

    def lying(by: float) -> Callable[[nn.Module, Tensor, Path], None]:
        def export(module: nn.Module, images: Tensor, path: Path) -> None:
            exporting._torchscript(nn.Sequential(module, Shifted(by)), images, path)

        return export

    monkeypatch.setattr(exporting, "_exporters", lambda: iter([("lying", lying(1e-3))]))
    with pytest.raises(UserError, match=r"\(lying: its features differ by \d\.\de-0\d of the largest entry\)"):
        export_onnx(network, tmp_path / "m.onnx", (8, 4))
    monkeypatch.setattr(exporting, "_exporters", lambda: iter([("lying", lying(1e-6))]))
    assert export_onnx(network, tmp_path / "m.onnx", (8, 4)).is_file()


class Shifted(nn.Module):
    """Adds a number."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, features: Tensor) -> Tensor:
        return features + self.by


@pytest.mark.slow
def test_the_newer_exporter_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the older one cannot write the newer one may; nothing of it reaches standard output."""

    def failing(*_: object) -> None:
        raise RuntimeError("it says no")

    monkeypatch.setattr(exporting, "_torchscript", failing)
    script = (
        "import sys, torch\nfrom robustreid.models import exporting\n"
        "def failing(*_):\n    raise RuntimeError('it says no')\n"
        "exporting._torchscript = failing\n"
        "network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())\n"
        f"exporting.export_onnx(network, {str(tmp_path / 'm.onnx')!r}, (8, 4))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / "m.onnx").is_file()
    monkeypatch.setattr(exporting, "find_spec", lambda _: None)
    with pytest.raises(
        UserError, match=r"\(torchscript: it says no\); submit weights .* it needs `pip install onnxscr"
    ):
        export_onnx(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), tmp_path / "n.onnx", (8, 4))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """What failed is the file system, not the model."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(StorageError, match=r"absent/m\.onnx' cannot be written: No such file or directory\."):
        export_onnx(network, tmp_path / "absent" / "m.onnx", (8, 4))
