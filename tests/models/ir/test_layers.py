"""Each layer of an IR against torch, and against OpenVINO where it is installed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from robustreid import InvalidFileError
from robustreid.models.program.ir.layers import LAYERS
from robustreid.models.program.ir.reader import read_ir
from robustreid.models.program.network import OnnxNetwork
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DRAW = np.random.default_rng(0)
IMAGES = torch.from_numpy(DRAW.uniform(-1, 1, (2, 3, 8, 6)).astype(np.float32))


def draw(*shape: int) -> np.ndarray:
    return DRAW.uniform(-1, 1, shape).astype(np.float32)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)


WEIGHT, DEPTH, FEW = draw(4, 3, 3, 3), draw(3, 1, 1, 3, 3), draw(3, 1, 1)
MATRIX, SLOPES, FOUR = draw(6, 5), draw(3), [draw(3) for _ in range(4)]
SPREAD = np.abs(FOUR[3]) + np.float32(0.5)
EXPLICIT = {"strides": "1,1", "pads_begin": "1,1", "pads_end": "1,1", "dilations": "1,1", "auto_pad": "explicit"}
POOL = {"strides": "2,2", "pads_begin": "0,0", "pads_end": "0,0", "kernel": "3,3"}


@dataclass(frozen=True)
class Case:
    """One layer after the images, and what torch says of it."""

    kind: str
    #: Draft and its input to the layer's output.
    build: Callable[[Any, Any], Any]
    reference: Callable[[torch.Tensor], torch.Tensor]
    opset: str = "opset1"


def plain(kind: str, reference: Callable[[torch.Tensor], torch.Tensor], opset: str = "opset1", **data: Any) -> Case:
    """A layer of the images alone."""
    return Case(kind, lambda d, x: d.layer(kind, x, opset=opset, **data), reference)


def paired(kind: str, reference: Callable[..., torch.Tensor]) -> Case:
    """A layer of the images and a constant for each channel."""
    return Case(kind, lambda d, x: d.layer(kind, x, d.const(FEW)), lambda x: reference(x, tensor(FEW)))


def reduced(kind: str, reference: Callable[[torch.Tensor], torch.Tensor], opset: str = "opset1") -> Case:
    """A layer that reduces over height and width."""
    return Case(kind, lambda d, x: d.layer(kind, x, d.ints(2, 3), opset=opset, keep_dims="true"), reference)


def normalised(x: torch.Tensor, eps: float, axes: tuple[int, ...], *, outside: bool = False) -> torch.Tensor:
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) / (variance.sqrt() + eps if outside else (variance + eps).sqrt())


def positive(d: Any, x: Any) -> Any:
    return d.layer("Exp", x)


CASES = [
    plain("Abs", torch.abs),
    paired("Add", torch.add),
    Case("Add", lambda d, x: d.layer("Add", d.layer("Convolution", x, d.const(WEIGHT), shape=(-1, 4, 8, 6), **EXPLICIT),
                                     d.const(np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1))),
         lambda x: F.conv2d(x, tensor(WEIGHT), torch.arange(4.0), padding=1)),
    Case("AvgPool", lambda d, x: d.layer("AvgPool", x, **POOL | {"pads_begin": "1,1", "pads_end": "1,1",
                                         "exclude-pad": "true", "rounding_type": "floor"}),
         lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    Case("AvgPool", lambda d, x: d.layer("AvgPool", x, **POOL | {"pads_begin": "1,1", "pads_end": "1,1",
                                         "exclude-pad": "false", "rounding_type": "floor"}),
         lambda x: F.avg_pool2d(x, 3, 2, 1)),
    Case("AvgPool", lambda d, x: d.layer("AvgPool", x, **POOL | {"exclude-pad": "true", "rounding_type": "ceil"}),
         lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=False)),
    Case("BatchNormInference", lambda d, x: d.layer("BatchNormInference", x, *map(d.const, (*FOUR[:3], SPREAD)),
                                                    opset="opset5", epsilon="0.001"),
         lambda x: F.batch_norm(x, tensor(FOUR[2]), tensor(SPREAD), tensor(FOUR[0]), tensor(FOUR[1]), eps=1e-3)),
    Case("BatchNormInference", lambda d, x: d.layer("BatchNormInference", *map(d.const, FOUR[:2]), x,
                                                    *map(d.const, (FOUR[2], SPREAD)), shape=x.shape, epsilon="0.001"),
         lambda x: F.batch_norm(x, tensor(FOUR[2]), tensor(SPREAD), tensor(FOUR[0]), tensor(FOUR[1]), eps=1e-3)),
    Case("Broadcast", lambda d, x: d.layer("Add", x, d.layer("Broadcast", d.const(FEW), d.ints(1, 3, 8, 6),
                                                             shape=(1, 3, 8, 6), opset="opset3", mode="numpy")),
         lambda x: x + tensor(FEW)),
    plain("Clamp", lambda x: x.clamp(-0.25, 0.5), min="-0.25", max="0.5"),
    Case("Concat", lambda d, x: d.layer("Concat", x, d.layer("Negative", x), _axis=1), lambda x: torch.cat([x, -x], 1)),
    Case("Convert", lambda d, x: d.layer("Multiply", x, d.layer("Convert", d.const(FEW.astype(np.float16)),
                                                                destination_type="f32")),
         lambda x: x * tensor(FEW.astype(np.float16)).float()),
    Case("Convert", lambda d, x: d.layer("Multiply", x, d.layer("Convert", d.const(np.array([[[2]], [[3]], [[4]]])),
                                                                destination_type="f32")),
         lambda x: x * torch.tensor([2.0, 3.0, 4.0]).view(3, 1, 1)),
    Case("Convolution", lambda d, x: d.layer("Convolution", x, d.const(WEIGHT), **EXPLICIT | {"strides": "2,1",
                                             "pads_end": "2,0", "dilations": "1,2"}),
         lambda x: F.conv2d(F.pad(x, (1, 0, 1, 2)), tensor(WEIGHT), stride=(2, 1), dilation=(1, 2))),
    Case("Convolution", lambda d, x: d.layer("Convolution", x, d.const(WEIGHT), **EXPLICIT | {"strides": "2,2",
                                             "pads_begin": "0,0", "pads_end": "0,0", "auto_pad": "same_upper"}),
         lambda x: F.conv2d(F.pad(x, (0, 1, 0, 1)), tensor(WEIGHT), stride=2)),
    paired("Divide", torch.div),
    plain("Elu", lambda x: F.elu(x, 0.5), alpha="0.5"),
    plain("Erf", torch.erf),
    plain("Exp", torch.exp),
    Case("Gather", lambda d, x: d.layer("Gather", x, d.ints(2, 1, 0), d.const(np.array(1)), opset="opset8",
                                        batch_dims=0), lambda x: x.flip(1)),
    plain("Gelu", F.gelu, opset="opset7", approximation_mode="ERF"),
    Case("GroupConvolution", lambda d, x: d.layer("GroupConvolution", x, d.const(DEPTH), **EXPLICIT),
         lambda x: F.conv2d(x, tensor(DEPTH).flatten(0, 1), padding=1, groups=3)),
    Case("GroupConvolution", lambda d, x: d.layer("GroupConvolution", x, d.layer("Convert", d.const(
        (DEPTH * 10).astype(np.int64)), destination_type="f32"), **EXPLICIT),
         lambda x: F.conv2d(x, tensor(DEPTH * 10).trunc().flatten(0, 1), padding=1, groups=3)),
    plain("HSigmoid", F.hardsigmoid, opset="opset5"),
    plain("HSwish", F.hardswish, opset="opset4"),
    Case("Log", lambda d, x: d.layer("Log", positive(d, x)), lambda x: x),
    Case("MVN", lambda d, x: d.layer("MVN", x, d.ints(1, 2, 3), opset="opset6", normalize_variance="true", eps="0.1",
                                     eps_mode="inside_sqrt"), lambda x: normalised(x, 0.1, (1, 2, 3))),
    Case("MVN", lambda d, x: d.layer("MVN", x, d.ints(2, 3), opset="opset6", normalize_variance="true", eps="0.1",
                                     eps_mode="outside_sqrt"), lambda x: normalised(x, 0.1, (2, 3), outside=True)),
    Case("MVN", lambda d, x: d.layer("MVN", x, d.ints(3), opset="opset6", normalize_variance="false", eps="0.1",
                                     eps_mode="inside_sqrt"), lambda x: x - x.mean(3, keepdim=True)),
    plain("MVN", lambda x: normalised(x, 0.1, (2, 3)), opset="opset2", across_channels="false",
          normalize_variance="true", eps="0.1"),
    Case("MatMul", lambda d, x: d.layer("MatMul", x, d.const(MATRIX), transpose_a="false", transpose_b="false"),
         lambda x: x @ tensor(MATRIX)),
    Case("MatMul", lambda d, x: d.layer("MatMul", x, d.const(MATRIX.T.copy()),
                                        transpose_a="false", transpose_b="true"), lambda x: x @ tensor(MATRIX)),
    Case("MatMul", lambda d, x: d.layer("MatMul", x, x, transpose_a="true", transpose_b="false"),
         lambda x: x.transpose(2, 3) @ x),
    Case("MaxPool", lambda d, x: d.layer("MaxPool", x, **POOL | {"rounding_type": "ceil"}),
         lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)),
    Case("MaxPool", lambda d, x: d.split("MaxPool", x, shapes=[(-1, 3, 4, 3)] * 2, opset="opset8", dilations="1,1",
                                         axis=0, index_element_type="i64", **POOL | {"pads_begin": "1,1",
                                         "pads_end": "1,1", "rounding_type": "floor"})[0],
         lambda x: F.max_pool2d(x, 3, 2, 1)),
    paired("Maximum", torch.maximum),
    paired("Minimum", torch.minimum),
    paired("Multiply", torch.mul),
    plain("Negative", torch.neg),
    Case("NormalizeL2", lambda d, x: d.layer("NormalizeL2", x, d.ints(1), eps="0.01", eps_mode="add"),
         lambda x: x / (x.square().sum(1, keepdim=True) + 0.01).sqrt()),
    Case("NormalizeL2", lambda d, x: d.layer("NormalizeL2", x, d.ints(1), eps="0.5", eps_mode="max"),
         lambda x: x / x.square().sum(1, keepdim=True).clamp(min=0.5).sqrt()),
    Case("PReLU", lambda d, x: d.layer("PReLU", x, d.const(SLOPES)), lambda x: F.prelu(x, tensor(SLOPES))),
    Case("PReLU", lambda d, x: d.layer("PReLU", x, d.const(SLOPES[:1])), lambda x: F.prelu(x, tensor(SLOPES[:1]))),
    Case("Pad", lambda d, x: d.layer("Pad", x, d.ints(0, 0, 1, 2), d.ints(0, 0, 3, 0), d.const(np.float32(0.5).reshape(
        ())), pad_mode="constant"), lambda x: F.pad(x, (2, 0, 1, 3), value=0.5)),
    Case("Pad", lambda d, x: d.layer("Pad", x, d.ints(0, 0, 1, 2), d.ints(0, 0, 3, 0), pad_mode="reflect"),
         lambda x: F.pad(x, (2, 0, 1, 3), mode="reflect")),
    Case("Power", lambda d, x: d.layer("Power", x, d.const(np.float32(2).reshape(()))), torch.square),
    plain("ReLU", torch.relu),
    reduced("ReduceL2", lambda x: x.square().sum((2, 3), keepdim=True).sqrt(), "opset4"),
    reduced("ReduceMax", lambda x: x.amax((2, 3), keepdim=True)),
    reduced("ReduceMean", lambda x: x.mean((2, 3), keepdim=True)),
    Case("ReduceSum", lambda d, x: d.layer("ReduceSum", x, d.ints(2, 3), keep_dims="false"), lambda x: x.sum((2, 3))),
    Case("Reshape", lambda d, x: d.layer("Reshape", x, d.ints(0, 6, -1), special_zero="true", shape=(-1, 6, 24)),
         lambda x: x.reshape(2, 6, 24)),
    Case("ShapeOf", lambda d, x: d.layer("Reshape", d.layer("Transpose", x, d.ints(0, 1, 3, 2)),
                                         d.layer("ShapeOf", x, opset="opset3", output_type="i64", shape=(4,)),
                                         special_zero="false"), lambda x: x.transpose(2, 3).reshape(x.shape)),
    plain("Sigmoid", torch.sigmoid),
    Case("Slice", lambda d, x: d.layer("Slice", x, d.ints(-1, 1), d.ints(-100, 5), d.ints(-1, 2), d.ints(1, 3),
                                       opset="opset8"), lambda x: x.flip(1)[..., 1:5:2]),
    plain("SoftMax", lambda x: x.softmax(1), _axis=1),
    plain("SoftPlus", F.softplus, opset="opset4"),
    plain("Softmax", lambda x: x.softmax(-1), opset="opset8", _axis=-1),
    Case("Split", lambda d, x: d.split("Split", x, d.const(np.array(1)), shapes=[(-1, 1, 8, 6)] * 3, num_splits=3)[2],
         lambda x: x[:, 2:]),
    Case("Sqrt", lambda d, x: d.layer("Sqrt", positive(d, x)), lambda x: x.exp().sqrt()),
    paired("SquaredDifference", lambda x, y: (x - y).square()),
    Case("Squeeze", lambda d, x: d.layer("Squeeze", d.layer("ReduceMean", x, d.ints(2, 3), keep_dims="true",
                                                            shape=(-1, 3, 1, 1)), d.ints(2, 3), shape=(-1, 3)),
         lambda x: x.mean((2, 3))),
    Case("StridedSlice", lambda d, x: d.layer("StridedSlice", x, d.ints(0, 2, 9, 1), d.ints(0, 9, 9, 5),
                                              d.ints(1, 1, 1, 2), begin_mask="1,0,1,0", end_mask="1,0,1,0",
                                              new_axis_mask="0,0,0,0", shrink_axis_mask="0,1,0,0",
                                              ellipsis_mask="0,0,0,0"), lambda x: x[:, 2, :, 1:5:2]),
    paired("Subtract", torch.sub),
    plain("Swish", F.silu, opset="opset4"),
    Case("Swish", lambda d, x: d.layer("Swish", x, d.const(np.float32(1.5).reshape(())), opset="opset4"),
         lambda x: x * torch.sigmoid(1.5 * x)),
    plain("Tanh", torch.tanh),
    Case("Transpose", lambda d, x: d.layer("Transpose", x, d.ints(0, 2, 3, 1)), lambda x: x.permute(0, 2, 3, 1)),
    Case("Unsqueeze", lambda d, x: d.layer("Unsqueeze", x, d.ints(1, -1)), lambda x: x[:, None, ..., None]),
    Case("VariadicSplit", lambda d, x: d.split("VariadicSplit", x, d.const(np.array(3)), d.ints(4, -1),
                                               shapes=[(-1, 3, 8, 4), (-1, 3, 8, 2)])[0], lambda x: x[..., :4]),
]  # fmt: skip
IDS = [f"{case.kind} {place}" for place, case in enumerate(CASES)]


def rows(value: torch.Tensor) -> torch.Tensor:
    """As a program gives it: one row an image."""
    return value.flatten(1) if value.ndim > 2 else value


def test_every_layer_has_a_case() -> None:
    """What is in the table is tested here; what is tested is in the table."""
    assert {case.kind for case in CASES} == set(LAYERS)


@pytest.mark.parametrize("version", [10, 11])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_layer_is_what_torch_says(draft: Any, case: Case, version: int) -> None:
    """The same numbers within float32's rounding, in files of both versions, at two batch sizes."""
    network = OnnxNetwork(read_ir(draft.write(case.build(draft, draft.x), version=version)))
    expected = rows(case.reference(IMAGES))
    torch.testing.assert_close(network(IMAGES), expected, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(network(IMAGES[:1]), expected[:1], atol=2e-6, rtol=1e-5)


def test_every_layer_is_what_openvino_says(draft: Any) -> None:
    """The same files, run by the runtime that the format belongs to."""
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    core = openvino.Core()
    for place, case in enumerate(CASES):
        one = type(draft)(draft.folder)
        path: Path = one.write(case.build(one, one.x), name=f"{place}.xml")
        run = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        expected = rows(torch.from_numpy(run(IMAGES.numpy())[0]))
        found = OnnxNetwork(read_ir(path))(IMAGES)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4, msg=f"{case.kind}, case {place}")


@pytest.mark.parametrize("wrong", [torch.relu, partial(F.elu, alpha=1.0), lambda x: F.prelu(x, torch.tensor([0.25]))])
def test_another_meaning_is_seen(draft: Any, wrong: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Planted: an Elu read with another meaning than its alpha of 0.5 gives other numbers."""
    found = OnnxNetwork(read_ir(draft.write(draft.layer("Elu", draft.x, alpha="0.5"))))(IMAGES)
    assert not torch.allclose(found, rows(wrong(IMAGES)), atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (
            "MaxPool",
            POOL | {"strides": "4,4", "kernel": "2,2", "pads_end": "1,3", "rounding_type": "ceil"},
            "starts in",
        ),
        ("MaxPool", POOL | {"rounding_type": "round"}, "rounds sizes by 'round'"),
        ("Gelu", {"approximation_mode": "TANH"}, "approximates by tanh"),
        ("MaxPool", POOL | {"strides": "x"}, "has strides 'x', expected whole numbers"),
        ("Elu", {"alpha": "much"}, "has alpha 'much', expected a number"),
        ("Clamp", {"min": "0"}, "has max ''"),
        ("Convolution", EXPLICIT, "has 1 inputs"),
        ("Add", {}, "has 1 inputs"),
        ("Transpose", {}, "has 1 inputs"),
    ],
)
def test_what_a_layer_cannot_be_is_one_sentence(draft: Any, kind: str, data: dict[str, str], said: str) -> None:
    """It names the layer and the file, and says to take ONNX where a meaning is not supported."""
    path = draft.write(draft.layer(kind, draft.x, **data))
    with pytest.raises(InvalidFileError, match=said) as caught:
        read_ir(path)
    assert f"{kind} 1" in str(caught.value)
    assert str(path) in str(caught.value)
