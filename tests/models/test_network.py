"""Programs as torch modules: equal to onnxruntime on real models, differentiable, for any batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import helper
from robustreid import InvalidFileError
from robustreid.models.base import NORMALISATIONS
from robustreid.models.load import build, resolve
from robustreid.models.program import network as network_module
from robustreid.models.program.network import OnnxNetwork
from robustreid.models.program.reader import read_program
from robustreid.models.zoo import ZOO, forms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAMS = {form.name: form for entry in ZOO.values() for form in forms(entry) if form.architecture == "onnx"}
NAMES = sorted(PROGRAMS)
COLUMNS = np.random.default_rng(0).normal(size=(144, 5)).astype(np.float32)


def normalised(name: str, images: torch.Tensor) -> torch.Tensor:
    chosen = NORMALISATIONS[PROGRAMS[name].normalise]
    return (images - torch.tensor(chosen.mean).view(3, 1, 1)) / torch.tensor(chosen.std).view(3, 1, 1)


def gradient_of(images: torch.Tensor) -> torch.Tensor:
    assert images.grad is not None
    return images.grad


def run(path: Path, images: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_images", [1, 5])
def test_real_program_equals_onnxruntime(real_data: Path, name: str, n_images: int) -> None:
    """Features differ from onnxruntime's by at most 1e-4, also after normalisation to unit length."""
    path = real_data / "weights" / PROGRAMS[name].file
    program = read_program(path)
    images = normalised(
        name, torch.rand((n_images, 3, *(program.input_size or ())), generator=torch.Generator().manual_seed(1))
    )
    expected = run(path, images)
    found = OnnxNetwork(program)(images)
    assert expected.shape == found.shape
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    unit = torch.nn.functional.normalize
    torch.testing.assert_close(unit(found), unit(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_of_a_real_program_is_its_slope(real_data: Path, name: str) -> None:
    """In float64, at native size, the gradient reaches every pixel and agrees with a finite difference."""
    entry = PROGRAMS[name]
    embedder = build(
        resolve(label=name, weights=real_data / "weights" / entry.file, normalise=entry.normalise)
    ).double()
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(2, 3, 128, 64, dtype=torch.float64, generator=generator)
    direction = torch.randn(images.shape, dtype=torch.float64, generator=generator)
    weight = torch.randn(embedder(images).shape, dtype=torch.float64, generator=generator)
    at = images.clone().requires_grad_()
    (embedder(at) * weight).sum().backward()
    step = 1e-9  # a wider step crosses kinks of the rectifiers
    with torch.no_grad():
        ahead, behind = embedder(images + step * direction), embedder(images - step * direction)
    slope = float(((ahead - behind) * weight).sum() / (2 * step))
    gradient = gradient_of(at)
    assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-4)
    assert gradient.ne(0).flatten(1).double().mean(1).min() > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_features_and_gradients_do_not_know_their_place(real_data: Path, name: str) -> None:
    """With one batch shape, features and gradients of an image are the same bits at any place, among any others."""
    entry = PROGRAMS[name]
    embedder = build(resolve(label=name, weights=real_data / "weights" / entry.file, normalise=entry.normalise))
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(4, 3, 128, 64, generator=generator)
    others = torch.rand(4, 3, 128, 64, generator=generator)
    others[2] = images[0]

    def both(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        at = batch.clone().requires_grad_()
        features = embedder(at)
        features[:, :7].sum().backward()
        return features.detach(), gradient_of(at)

    features, gradients = both(images)
    moved_features, moved_gradients = both(others)
    assert torch.equal(features[0], moved_features[2])
    assert torch.equal(gradients[0], moved_gradients[2])
    with torch.no_grad():
        assert torch.equal(features, embedder(images))


def test_a_fixed_batch_of_one_takes_any_batch(write_program: Callable[..., Path]) -> None:
    """A shape that repeats the declared batch follows the real one."""
    nodes = [helper.make_node("Reshape", ["x", "s"], ["m"]), helper.make_node("MatMul", ["m", "w"], ["y"])]
    constants = {"s": np.array([1, 144], dtype=np.int64), "w": COLUMNS}
    path = write_program(nodes, constants, shape=(1, 3, 8, 6))
    images = torch.rand(4, 3, 8, 6, generator=torch.Generator().manual_seed(4))
    expected = torch.cat([run(path, image[None]) for image in images])
    torch.testing.assert_close(OnnxNetwork(read_program(path))(images), expected, atol=1e-5, rtol=1e-5)


def test_a_program_that_mixes_its_batch_is_refused(write_program: Callable[..., Path]) -> None:
    """With one declared image a mean over the batch is harmless; with more it would tie images together."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ]
    with pytest.raises(InvalidFileError, match=r"mixes the images of a batch.*dynamic batch axis"):
        OnnxNetwork(read_program(write_program(nodes, shape=(1, 3, 8, 6))))


def test_a_program_whose_batch_is_built_in_is_refused(write_program: Callable[..., Path]) -> None:
    """A constant shape that holds one image, without a place for the batch, cannot hold two."""
    nodes = [helper.make_node("Reshape", ["x", "s"], ["m"]), helper.make_node("Expand", ["m", "t"], ["y"])]
    constants = {"s": np.array([3, 8, 6], dtype=np.int64), "t": np.array([1, 3, 8, 6], dtype=np.int64)}
    with pytest.raises(InvalidFileError, match="cannot take another batch size"):
        OnnxNetwork(read_program(write_program(nodes, constants, shape=(1, 3, 8, 6))))


def test_a_program_that_does_not_run_names_the_operator(write_program: Callable[..., Path]) -> None:
    """Shapes that do not fit are the file's fault and are shown."""
    nodes = [helper.make_node("Flatten", ["x"], ["m"]), helper.make_node("MatMul", ["m", "w"], ["y"])]
    path = write_program(nodes, {"w": COLUMNS}, shape=("n", 3, "h", "w"))
    with pytest.raises(InvalidFileError, match=r"MatMul of shapes \(1, 192\), \(144, 5\)"):
        OnnxNetwork(read_program(path))(torch.zeros(1, 3, 8, 8))


def test_constants_are_folded_and_spent_values_dropped(write_program: Callable[..., Path]) -> None:
    """What depends on no image runs once, and nothing is kept longer than it is needed."""
    nodes = [
        helper.make_node("Exp", ["c"], ["e"]),
        helper.make_node("Add", ["x", "e"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Abs", ["b"], ["unused"]),
        helper.make_node("Neg", ["b"], ["y"]),
    ]
    network = OnnxNetwork(read_program(write_program(nodes, {"c": np.zeros(6, dtype=np.float32)})))
    assert [step.node.operator for step in network.steps] == ["Add", "Relu", "Neg"]
    assert [step.spent for step in network.steps] == [("x", "e"), ("a",), ("b",)]
    assert [parameter.requires_grad for parameter in network.parameters()] == [False]
    assert network.double()(torch.zeros(1, 3, 8, 6, dtype=torch.float64)).dtype == torch.float64


def test_a_small_file_may_not_ask_for_a_large_memory(
    write_program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folded constant beyond the limit is refused before anything is computed with it."""
    monkeypatch.setattr(network_module, "MAX_CONSTANT", 100)
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])]
    with pytest.raises(InvalidFileError, match="more than 100 entries"):
        OnnxNetwork(read_program(write_program(nodes, {"s": np.array([3, 8, 6], dtype=np.int64)})))


@pytest.mark.parametrize("name", ["osnet_x0_25_msmt17.onnx", "person-reidentification-retail-0288.onnx"])
def test_rectifiers_in_place_change_no_bit(name: str, real_data: Path) -> None:
    """Features and gradients of a real program are those of the same program with every value kept."""
    network = OnnxNetwork(read_program(real_data / "weights" / name))
    kept = OnnxNetwork(read_program(real_data / "weights" / name))
    kept.steps = tuple(replace(step, in_place=False) for step in kept.steps)
    images = torch.rand(2, 3, 256, 128, generator=torch.Generator().manual_seed(0))
    found = []
    for each in (network, kept):
        leaf = images.clone().requires_grad_()
        features = each(leaf)
        found.append((features.detach(), torch.autograd.grad(features[:, ::2].sum(), leaf)[0]))
    assert sum(step.in_place for step in network.steps) > 80
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
