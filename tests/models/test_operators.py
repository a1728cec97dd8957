"""Each supported operator against onnxruntime, and its gradient against a finite difference."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import NodeProto, helper, numpy_helper
from robustreid.models.program.network import OnnxNetwork
from robustreid.models.program.operators import OPERATORS, SPLITTERS
from robustreid.models.program.reader import read_program
from robustreid.models.program.supported import MANY_OUTPUTS, SUPPORTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from robustreid.models.program.reader import Node

DRAW = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return DRAW.uniform(-1, 1, shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@dataclass(frozen=True)
class Case:
    """A small graph from `x` (2, 3, 8, 6) to `y` that contains the operator it is named for."""

    operator: str
    nodes: list[NodeProto]
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    opset: int = 17
    positive: bool = False


def one(operator: str, *others: Any, opset: int = 17, positive: bool = False, **attributes: Any) -> Case:
    """A single node: `x` and then constants (None for an input left out)."""
    names = ["" if other is None else f"c{place}" for place, other in enumerate(others)]
    constants = {f"c{place}": other for place, other in enumerate(others) if other is not None}
    nodes = [helper.make_node(operator, ["x", *names], ["y"], **attributes)]
    return Case(operator, nodes, constants, opset, positive)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


SCALE, BIAS, MEAN, VARIANCE = draw(3), draw(3), draw(3), np.abs(draw(3)) + 0.1
MATRIX = [node("Flatten", "x", "m"), node("Gemm", "m w b", "y", transB=1, alpha=0.5, beta=2.0)]
TALL = [node("Flatten", "x", "m"), node("Gemm", "m w", "y")]
LARGE = np.iinfo(np.int64)
SIZE = [node("Shape", "x", "s"), node("Gather", "s last", "n")]
SCALED = [node("Cast", "r", "f", to=1), node("Mul", "x f", "y")]
POOL: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 2]}

CASES = [
    *(one(name) for name in ("Abs", "Elu", "Erf", "Exp", "HardSigmoid", "Identity", "LeakyRelu", "Neg", "Relu")),
    *(one(name) for name in ("Sigmoid", "Softplus", "Tanh", "GlobalAveragePool", "GlobalMaxPool", "HardSwish")),
    *(one(name, positive=True) for name in ("Log", "Reciprocal", "Sqrt")),
    *(one(name, draw(3, 1, 1)) for name in ("Add", "Sub", "Mul", "PRelu")),
    *(one(name, draw(6), draw(1, 3, 1, 1)) for name in ("Max", "Min")),
    one("Elu", alpha=0.3), one("LeakyRelu", alpha=0.3), one("HardSigmoid", alpha=0.4, beta=0.1),
    one("Div", np.abs(draw(8, 1)) + 0.5),
    one("Pow", np.array(2.0, dtype=np.float32)), one("Pow", np.array(0.7, dtype=np.float32), positive=True),
    one("Clip", np.array(-0.2, dtype=np.float32), np.array(0.3, dtype=np.float32)),
    one("Clip", None, np.array(0.3, dtype=np.float32)), one("Clip", opset=9, min=-0.1, max=0.4),
    one("Cast", to=1),
    Case("Cast", [node("Cast", "x", "i", to=7), node("Cast", "i", "j", to=9), node("Cast", "j", "k", to=1),
                  node("Add", "x k", "y")]),
    one("Conv", draw(4, 3, 3, 2), draw(4), pads=[1, 0, 1, 0], strides=[2, 1]),
    one("Conv", draw(4, 3, 3, 2), pads=[0, 2, 1, 3], dilations=[2, 1]),
    one("Conv", draw(6, 1, 3, 3), group=3, auto_pad="SAME_UPPER", strides=[2, 2]),
    one("Conv", draw(4, 3, 2, 2), auto_pad="SAME_LOWER"), one("Conv", draw(4, 3, 3, 3), auto_pad="VALID"),
    one("MaxPool", **POOL), one("MaxPool", **POOL, pads=[1, 0, 1, 1]), one("MaxPool", **POOL, ceil_mode=1),
    one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
    one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    one("AveragePool", **POOL), one("AveragePool", **POOL, pads=[1, 1, 1, 1]),
    one("AveragePool", **POOL, pads=[1, 0, 0, 1], count_include_pad=1),
    one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, opset=19),
    one("AveragePool", **POOL, pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1, opset=19),
    one("BatchNormalization", SCALE, BIAS, MEAN, VARIANCE, epsilon=1e-3),
    one("BatchNormalization", SCALE, BIAS, MEAN, VARIANCE, opset=9),
    one("InstanceNormalization", SCALE, BIAS, epsilon=1e-3),
    one("LayerNormalization", draw(6), draw(6)), one("LayerNormalization", draw(8, 6), axis=2, epsilon=1e-3),
    one("LayerNormalization", draw(6), axis=2), one("LayerNormalization", draw(6), draw(1), epsilon=1e-6),
    one("LpNormalization", axis=1), one("LpNormalization", axis=-1, p=1),
    *(one(name, axes=[2, 3], keepdims=0) for name in ("ReduceMean", "ReduceMax", "ReduceL2")),
    *(one(name, ints(2, 3), opset=18) for name in ("ReduceMean", "ReduceMax", "ReduceL2")),
    one("ReduceSum", ints(-1), keepdims=0), one("ReduceSum", axes=[1], opset=11),
    one("ReduceSum", noop_with_empty_axes=1),
    Case("Gemm", MATRIX, {"w": draw(5, 144), "b": draw(5)}), Case("Gemm", TALL, {"w": draw(144, 5)}),
    one("MatMul", draw(6, 4)),
    one("Softmax"), one("Softmax", axis=1), one("Softmax", axis=1, opset=11), one("Softmax", axis=2, opset=9),
    one("Dropout"), one("Dropout", opset=9, ratio=0.3),
    one("Reshape", ints(0, -1, 6)), one("Flatten", axis=2), one("Flatten", axis=-1),
    one("Transpose", perm=[0, 2, 3, 1]),
    one("Gather", ints(2, 0, -1), axis=1), one("Gather", np.array(1, dtype=np.int64), axis=2),
    one("Gather", ints(0, 1, 1, 0).reshape(2, 2), axis=1),
    one("Concat", draw(2, 1, 8, 6), axis=1),
    one("Slice", ints(-1), ints(LARGE.min), ints(1), ints(-1)),
    one("Slice", ints(1, 0), ints(7, -1), ints(2, 3), ints(3, 2)),
    one("Slice", ints(6), ints(0), ints(2), ints(-2)), one("Slice", ints(-3), ints(LARGE.max), ints(3)),
    one("Slice", opset=9, starts=[1], ends=[3], axes=[2]),
    one("Expand", ints(2, 2, 1, 1, 6).reshape(-1)[[0, 2, 3, 4]]),
    one("Pad", ints(0, 0, 1, 2, 0, 1, 3, 0), np.array(0.5, dtype=np.float32)),
    one("Pad", ints(0, 0, 1, 2, 0, 0, 3, 1), mode="reflect"), one("Pad", ints(0, 0, 1, 2, 0, 0, 3, 1), mode="edge"),
    one("Pad", ints(1, 2), None, ints(3), opset=18), one("Pad", opset=9, pads=[0, 0, 1, 2, 0, 0, 3, 1], value=2.0),
    one("Unsqueeze", ints(1, -1)), one("Unsqueeze", opset=11, axes=[0, 2]),
    Case("Squeeze", [node("GlobalAveragePool", "x", "p"), node("Squeeze", "p a", "y")], {"a": ints(2, -1)}),
    Case("Squeeze", [node("GlobalAveragePool", "x", "p"), node("Squeeze", "p", "y", axes=[3])], opset=11),
    Case("Split", [node("Split", "x s", "a b", axis=1), node("Mul", "b a", "y")], {"s": ints(1, 2)}),
    Case("Split", [node("Split", "x", "a b c", axis=1), node("Sub", "c b", "y")]),
    Case("Split", [node("Split", "x", "a b", axis=2, num_outputs=2), node("Sub", "b a", "y")], opset=18),
    Case("Shape", [node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Unsqueeze", "n first", "u"),
                   node("Concat", "u rest", "t", axis=0), node("Reshape", "x t", "y")],
         {"zero": np.array(0, dtype=np.int64), "first": ints(0), "rest": ints(-1)}),
    Case("Shape", [node("Shape", "x", "s", start=0, end=-2), node("Concat", "s rest", "t", axis=0),
                   node("Reshape", "x t", "y")], {"rest": ints(-1)}),
    Case("Shape", [node("Shape", "x", "s"), node("Gather", "s last", "n"), node("Div", "n two", "h"),
                   node("Cast", "h", "f", to=1), node("Mul", "x f", "y")], {"last": ints(3), "two": ints(4)}),
    Case("ConstantOfShape", [node("Shape", "x", "s"), node("ConstantOfShape", "s", "c", value=numpy_helper.from_array(
        np.array([2.5], dtype=np.float32))), node("Mul", "x c", "y")]),
    Case("Constant", [node("Constant", "", "c", value=numpy_helper.from_array(draw(6))),
                      node("Add", "x c", "y")]),
    Case("Constant", [node("Constant", "", "c", value_floats=[1.0, 2.0, 3.0]), node("Gather", "x i", "g", axis=3),
                      node("Mul", "g c", "y")], {"i": ints(0, 1, 2)}),
    Case("Equal", [node("Relu", "x", "r"), node("Equal", "x r", "e"), node("Where", "e x zero", "y")],
         {"zero": draw(1)}),
    *(Case(name, [node(name, "x c", "e"), node("Where", "e x zero", "y")], {"c": draw(3, 1, 1), "zero": draw(1)})
      for name in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    *(Case(name, [node("Greater", "x low", "a"), node("Less", "x high", "b"), node(name, "a b", "e"),
                  node("Where", "e x zero", "y")], {"low": draw(3, 1, 1), "high": draw(6), "zero": draw(1)})
      for name in ("And", "Or")),
    Case("Not", [node("Less", "x c", "a"), node("Not", "a", "e"), node("Where", "e x c", "y")], {"c": draw(1)}),
    Case("IsNaN", [node("Sqrt", "x", "r"), node("IsNaN", "r", "e"), node("Where", "e c x", "y")], {"c": draw(1)}),
    one("Gelu", opset=20), one("Gelu", opset=20, approximate="tanh"),
    one("Mod", draw(8, 1), fmod=1),
    *(Case("Mod", [*SIZE, node("Neg", "n", "m"), node("Mod", "m four", "r", fmod=fmod), *SCALED],
           {"last": ints(3), "four": ints(4)}) for fmod in (0, 1)),
    Case("Range", [*SIZE, node("Squeeze", "n", "l"), node("Range", "one l two", "r"),
                   node("Gather", "x r", "y", axis=3)],
         {"last": ints(3), "one": np.array(1), "two": np.array(2)}),
    Case("Range", [node("Range", "a b c", "r"), node("Gather", "x r", "y", axis=3)],
         {"a": np.array(5), "b": np.array(-1), "c": np.array(-2)}),
    Case("Range", [node("Range", "a b c", "r"), node("Mul", "x r", "y")],
         {name: np.array(value, dtype=np.float32) for name, value in (("a", 0.3), ("b", 3.2), ("c", 0.5))}),
    one("Tile", ints(1, 2, 1, 3)),
    one("Trilu"), one("Trilu", np.array(-1)), one("Trilu", np.array(1), upper=0),
    one("Einsum", draw(6, 4), equation="bchw,wk->bchk"), one("Einsum", draw(6, 2), equation="bchw, wa"),
    one("Einsum", equation="...hw->...wh"),
    Case("Einsum", [node("Einsum", "x x", "s", equation="bihd,bjhd->bhij"), node("Softmax", "s", "p"),
                    node("Einsum", "p x", "y", equation="bhij,bjhd->bihd")]),
    one("GatherND", ints(0, 2, 1, -1).reshape(2, 2)),
    one("GatherND", ints(0, 1, 2, -1, 1, 3, 0, 0, 2, 2, 1, 7).reshape(2, 3, 2), batch_dims=1),
    one("GatherND", ints(0, 5, 7, 1, 2, -8).reshape(2, 3, 1), batch_dims=2),
    Case("Where", [node("Where", "flag x other", "y")],
         {"flag": np.array([True, False, True]).reshape(3, 1, 1), "other": draw(6)}),
]  # fmt: skip
IDS = [f"{case.operator}-{place}" for place, case in enumerate(CASES)]


def images(*, positive: bool) -> np.ndarray:
    values = np.random.default_rng(1).uniform(-1, 1, (2, 3, 8, 6)).astype(np.float32)
    return np.abs(values) + 0.1 if positive else values


def gap(path: Path, x: np.ndarray) -> float:
    """The largest difference between onnxruntime and ours; infinite where the shapes differ."""
    expected = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    expected = expected.reshape(len(expected), -1) if expected.ndim > 2 else expected
    found = OnnxNetwork(read_program(path))(torch.from_numpy(x)).numpy()
    return float(np.abs(expected - found).max()) if expected.shape == found.shape else float("inf")


def write(write_program: Callable[..., Path], case: Case) -> Path:
    return write_program(case.nodes, case.constants, opset=case.opset)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_operator_equals_onnxruntime(case: Case, write_program: Callable[..., Path]) -> None:
    """Values and shapes are those of onnxruntime."""
    assert gap(write(write_program, case), images(positive=case.positive)) < 1e-5


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_gradient_equals_a_finite_difference(case: Case, write_program: Callable[..., Path]) -> None:
    """In float64 the gradient along a direction is the slope along it."""
    network = OnnxNetwork(read_program(write(write_program, case))).double()
    x = torch.from_numpy(images(positive=case.positive)).double()
    direction = torch.from_numpy(np.random.default_rng(2).normal(size=x.shape))
    weight = torch.from_numpy(np.random.default_rng(3).normal(size=network(x).shape))
    at = x.clone().requires_grad_()
    (network(at) * weight).sum().backward()
    assert at.grad is not None
    slope = ((network(x + 1e-6 * direction) - network(x - 1e-6 * direction)) * weight).sum() / 2e-6
    assert float(slope) == pytest.approx(float((at.grad * direction).sum()), rel=1e-5, abs=1e-6)


def test_every_supported_operator_has_a_case_and_a_function() -> None:
    """The list, the tables and the cases name the same operators."""
    assert {case.operator for case in CASES} == SUPPORTED
    assert OPERATORS.keys() | SPLITTERS.keys() == SUPPORTED
    assert SPLITTERS.keys() == MANY_OUTPUTS


def test_the_documentation_counts_them() -> None:
    """What `docs/models.md` says is the length of the list."""
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    assert f"only operators that are known here ({len(SUPPORTED)}; " in page


def test_planted_swapped_pads_are_rejected(write_program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A convolution that reads pads as torch orders them is caught by the comparison."""
    case = one("Conv", draw(4, 3, 3, 2), pads=[0, 2, 1, 3])
    path = write(write_program, case)
    right = OPERATORS["Conv"]

    def wrong(node: Node, value: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        top, left, bottom, end = node.attributes["pads"]
        return right(with_pads(node, (left, end, top, bottom)), value, *others)

    assert gap(path, images(positive=False)) < 1e-5
    monkeypatch.setitem(OPERATORS, "Conv", wrong)
    assert gap(path, images(positive=False)) > 1e-2


def with_pads(node: Node, pads: tuple[int, ...]) -> Node:
    return replace(node, attributes={**node.attributes, "pads": pads})
