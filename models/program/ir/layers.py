"""What each layer of OpenVINO's IR is in ONNX's operators. Definitions: docs.openvino.ai. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from . import shapes, windows
from .emitter import Emitter, Translate, Value, number, says
from .graph import Layer


def _same(operator: str, at_most: int = 1, **attributes: Any) -> Translate:
    """A layer that is one operator on the same one input, or on up to `at_most`."""

    def translate(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
        if not 1 <= len(inputs) <= at_most:
            raise emitter.wrong(layer, f"has {len(inputs)} inputs, expected {at_most}")
        return [emitter.node(operator, [value.name for value in inputs], **attributes)]

    return translate


def _pairwise(operator: str) -> Translate:
    """An operator of two inputs that are broadcast as numpy does."""

    def translate(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
        if layer.attributes.get("auto_broadcast", "numpy") not in {"numpy", "none"}:
            raise emitter.wrong(layer, f"broadcasts as {layer.attributes['auto_broadcast']!r}, expected numpy")
        first, second = (value.name for value in inputs)
        return [emitter.node(operator, [first, second])]

    return translate


def _with_number(operator: str, **names: tuple[str, float | None]) -> Translate:
    """One operator with numbers as attributes: ONNX's name = (IR's name, default)."""

    def translate(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
        given = {name: number(emitter, layer, *known) for name, known in names.items()}
        return [emitter.node(operator, [inputs[0].name], **given)]

    return translate


def _matmul(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    names = []
    for value, flag in zip(inputs, ("transpose_a", "transpose_b"), strict=True):
        rank = len(value.shape)
        if says(layer, flag) and rank > 1:
            order = (*range(rank - 2), rank - 1, rank - 2)
            names.append(emitter.node("Transpose", [value.name], perm=order))
        else:
            names.append(value.name)
    return [emitter.node("MatMul", names)]


def _prelu(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """A slope of one axis belongs to the channels, the second axis of the data."""
    data, slope = inputs
    name = slope.name
    if len(slope.shape) == 1 and slope.shape[0] != 1 and len(data.shape) > 2:
        if slope.shape[0] != data.shape[1]:
            raise emitter.wrong(layer, f"has {slope.shape[0]} slopes for {data.shape[1]} channels")
        name = emitter.node("Reshape", [name, emitter.integers_constant([-1, *[1] * (len(data.shape) - 2)])])
    return [emitter.node("PRelu", [data.name, name])]


def _clamp(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    bounds = [emitter.number(number(emitter, layer, name)) for name in ("min", "max")]
    return [emitter.node("Clip", [inputs[0].name, *bounds])]


def _softmax(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    return [emitter.node("Softmax", [inputs[0].name], axis=int(number(emitter, layer, "axis", 1)))]


def _mvn(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """(x - mean) / sqrt(variance + eps) over axes: an input since the sixth set, told by `across_channels` before."""
    data, rank = inputs[0].name, len(inputs[0].shape)
    if len(inputs) > 1:
        axes = tuple(emitter.integers(layer, inputs[1]))
    else:
        axes = tuple(range(1 if says(layer, "across_channels") else 2, rank))
    centred = emitter.node("Sub", [data, emitter.node("ReduceMean", [data], axes=axes, keepdims=1)])
    if not says(layer, "normalize_variance", "true"):
        return [centred]
    squares = emitter.node("Mul", [centred, centred])
    variance = emitter.node("ReduceMean", [squares], axes=axes, keepdims=1)
    eps = emitter.number(number(emitter, layer, "eps", 1e-9))
    if layer.attributes.get("eps_mode", "inside_sqrt").lower() == "outside_sqrt":
        return [emitter.node("Div", [centred, emitter.node("Add", [emitter.node("Sqrt", [variance]), eps])])]
    return [emitter.node("Div", [centred, emitter.node("Sqrt", [emitter.node("Add", [variance, eps])])])]


def _batch_norm(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """The data come first since the fifth set, third before; they are the input of more than one axis."""
    names = [value.name for value in inputs]
    if len(inputs[0].shape) == 1:
        names = [names[2], names[0], names[1], *names[3:]]
    epsilon = number(emitter, layer, "epsilon", number(emitter, layer, "eps", 1e-5))
    return [emitter.node("BatchNormalization", names, epsilon=epsilon)]


def _normalize_l2(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """The value x / sqrt(sum of squares + eps), or with the sum no less than eps."""
    axes, data = tuple(emitter.integers(layer, inputs[1])), inputs[0].name
    total = emitter.node("ReduceSum", [emitter.node("Mul", [data, data])], axes=axes, keepdims=1)
    bound = "Max" if layer.attributes.get("eps_mode", "add").lower() == "max" else "Add"
    bounded = emitter.node(bound, [total, emitter.number(number(emitter, layer, "eps"))])
    return [emitter.node("Div", [data, emitter.node("Sqrt", [bounded])])]


def _squared_difference(emitter: Emitter, _layer: Layer, inputs: list[Value]) -> list[str]:
    difference = emitter.node("Sub", [value.name for value in inputs])
    return [emitter.node("Mul", [difference, difference])]


def _swish(emitter: Emitter, _layer: Layer, inputs: list[Value]) -> list[str]:
    data = inputs[0].name
    scaled = emitter.node("Mul", [data, inputs[1].name]) if len(inputs) > 1 else data
    return [emitter.node("Mul", [data, emitter.node("Sigmoid", [scaled])])]


def _gelu(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """The value x / 2 (1 + erf(x / sqrt 2)), the exact form; the approximation by tanh is refused."""
    if layer.attributes.get("approximation_mode", "erf").lower() != "erf":
        raise emitter.wrong(layer, "approximates by tanh")
    data = inputs[0].name
    error = emitter.node("Erf", [emitter.node("Mul", [data, emitter.number(math.sqrt(0.5))])])
    half = emitter.node("Mul", [data, emitter.number(0.5)])
    return [emitter.node("Mul", [half, emitter.node("Add", [error, emitter.number(1.0)])])]


#: Layer -> how it is translated.
LAYERS: Mapping[str, Translate] = {
    "Abs": _same("Abs"),
    "Add": _pairwise("Add"),
    "AvgPool": windows.average_pool,
    "BatchNormInference": _batch_norm,
    "Broadcast": lambda emitter, _layer, inputs: [emitter.node("Expand", [value.name for value in inputs[:2]])],
    "Clamp": _clamp,
    "Concat": shapes.concat,
    "Convert": shapes.convert,
    "Convolution": windows.convolution,
    "Divide": _pairwise("Div"),
    "Elu": _with_number("Elu", alpha=("alpha", 1.0)),
    "Erf": _same("Erf"),
    "Exp": _same("Exp"),
    "Gather": shapes.gather,
    "Gelu": _gelu,
    "GroupConvolution": windows.group_convolution,
    "HSigmoid": _same("HardSigmoid", alpha=1 / 6, beta=0.5),
    "HSwish": _same("HardSwish"),
    "Log": _same("Log"),
    "MVN": _mvn,
    "MatMul": _matmul,
    "MaxPool": windows.max_pool,
    "Maximum": _pairwise("Max"),
    "Minimum": _pairwise("Min"),
    "Multiply": _pairwise("Mul"),
    "Negative": _same("Neg"),
    "NormalizeL2": _normalize_l2,
    "PReLU": _prelu,
    "Pad": shapes.pad,
    "Power": _pairwise("Pow"),
    "ReLU": _same("Relu"),
    "ReduceL2": shapes.reduction("ReduceL2"),
    "ReduceMax": shapes.reduction("ReduceMax"),
    "ReduceMean": shapes.reduction("ReduceMean"),
    "ReduceSum": shapes.reduction("ReduceSum"),
    "Reshape": shapes.reshape,
    "ShapeOf": _same("Shape"),
    "Sigmoid": _same("Sigmoid"),
    "Slice": shapes.slice_,
    "SoftMax": _softmax,
    "SoftPlus": _same("Softplus"),
    "Softmax": _softmax,
    "Split": shapes.split,
    "Sqrt": _same("Sqrt"),
    "SquaredDifference": _squared_difference,
    "Squeeze": _same("Squeeze", 2),
    "StridedSlice": shapes.strided_slice,
    "Subtract": _pairwise("Sub"),
    "Swish": _swish,
    "Tanh": _same("Tanh"),
    "Transpose": shapes.transpose,
    "Unsqueeze": _same("Unsqueeze", 2),
    "VariadicSplit": shapes.split,
}
