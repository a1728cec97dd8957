"""Real networks as IR: what OpenVINO makes of their ONNX files is read as the same function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from robustreid.models.load import build, resolve
from robustreid.models.program.ir.reader import read_ir
from robustreid.models.program.network import OnnxNetwork
from robustreid.models.program.reader import read_program
from robustreid.models.zoo import ZOO, forms

if TYPE_CHECKING:
    from pathlib import Path

NAMES = sorted({form.file for entry in ZOO.values() for form in forms(entry) if form.architecture == "onnx"})


@pytest.fixture
def openvino() -> Any:
    """The runtime, or a skip: it is large, and needed for nothing else."""
    return pytest.importorskip("openvino", reason="openvino is not installed")


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_converted_network_is_the_same(
    openvino: Any, real_data: Path, tmp_path: Path, name: str, *, halves: bool
) -> None:
    """Features within 1e-4 of OpenVINO's; at 32 bits also of the ONNX file's, and gradients like its gradients."""
    source, path = real_data / "weights" / name, tmp_path / "model.xml"
    openvino.save_model(openvino.convert_model(str(source)), str(path), compress_to_fp16=halves)
    program = read_ir(path)
    network, original = OnnxNetwork(program), OnnxNetwork(read_program(source))
    size = program.input_size or (0, 0)
    images = torch.rand((3, 3, *size), generator=torch.Generator().manual_seed(0)).requires_grad_()
    run = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    features = network(images)
    torch.testing.assert_close(features, torch.from_numpy(run(images.detach().numpy())[0]), atol=1e-4, rtol=1e-5)
    if not halves:
        wanted = original(images)
        torch.testing.assert_close(features, wanted, atol=1e-4, rtol=1e-5)
        mine, its = (torch.autograd.grad(f.square().sum(), images)[0] for f in (features, wanted))
        assert (mine - its).norm() <= 2e-3 * its.norm()


def test_it_is_built_from_a_path(openvino: Any, real_data: Path, tmp_path: Path) -> None:
    """As `weights: model.xml` in a grid: size from the file, features as the ONNX file's."""
    source, path = real_data / "weights" / NAMES[0], tmp_path / "model.xml"
    openvino.save_model(openvino.convert_model(str(source)), str(path), compress_to_fp16=False)
    one, other = (resolve(label="m", weights=str(file), normalise="imagenet") for file in (path, source))
    assert (one.architecture, one.input_size) == ("ir", other.input_size)
    images = torch.rand((2, 3, 128, 64), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(build(one)(images), build(other)(images), atol=1e-5, rtol=1e-4)
