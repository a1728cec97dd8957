"""Convolution and pooling layers of an IR, in ONNX's operators. Definitions: docs.openvino.ai. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .emitter import Emitter, Value, numbers, says
from .graph import Layer, Shape

_POLICIES = {"explicit": "NOTSET", "notset": "NOTSET", "same_upper": "SAME_UPPER", "same_lower": "SAME_LOWER",
             "valid": "VALID"}  # fmt: skip


def _window(emitter: Emitter, layer: Layer) -> dict[str, Any]:
    policy = layer.attributes.get("auto_pad", "explicit").lower()
    if policy not in _POLICIES:
        raise emitter.wrong(layer, f"has auto_pad {policy!r}")
    pads = (*numbers(emitter, layer, "pads_begin"), *numbers(emitter, layer, "pads_end"))
    window: dict[str, Any] = {"strides": tuple(numbers(emitter, layer, "strides")), "auto_pad": _POLICIES[policy]}
    if layer.attributes.get("dilations"):
        window["dilations"] = tuple(numbers(emitter, layer, "dilations"))
    return window if _POLICIES[policy] != "NOTSET" else {**window, "pads": pads}


def convolution(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """A convolution without groups."""
    value, weights = (value.name for value in inputs)
    return [emitter.node("Conv", [value, weights], **_window(emitter, layer))]


def group_convolution(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """Weights (groups, outputs a group, inputs a group, height, width), where ONNX has the first two as one."""
    shape = inputs[1].shape
    if len(shape) < 4 or None in shape:
        raise emitter.wrong(layer, f"has weights of shape {shape}, expected all sizes")
    sizes = [size for size in shape if size is not None]
    merged = [sizes[0] * sizes[1], *sizes[2:]]
    weights = emitter.constants.get(inputs[1].name)
    if weights is not None and weights.shape == tuple(sizes):
        name = emitter.constant(weights.reshape(merged))
    else:
        name = emitter.node("Reshape", [inputs[1].name, emitter.integers_constant(merged)])
    return [emitter.node("Conv", [inputs[0].name, name], group=sizes[0], **_window(emitter, layer))]


def _pooling(emitter: Emitter, layer: Layer, inputs: list[Value]) -> dict[str, Any]:
    kernel, rounding = tuple(numbers(emitter, layer, "kernel")), layer.attributes.get("rounding_type", "floor")
    window = _window(emitter, layer)
    if rounding not in {"floor", "ceil", "ceil_torch"}:
        raise emitter.wrong(layer, f"rounds sizes by {rounding!r}")
    if rounding == "ceil" and window["auto_pad"] == "NOTSET":
        _check_ceiling(emitter, layer, inputs[0].shape, kernel, window)
    return {**window, "kernel_shape": kernel, "ceil_mode": int(rounding != "floor")}


def _check_ceiling(
    emitter: Emitter, layer: Layer, shape: Shape, kernel: Sequence[int], window: Mapping[str, Any]
) -> None:
    """Refuse a last window that would start in the padding: IR's `ceil` keeps it, ONNX's drops it."""
    pads, strides = window["pads"], window["strides"]
    dilations = window.get("dilations", (1,) * len(kernel))
    for axis, (size, width, stride, dilation) in enumerate(zip(shape[2:], kernel, strides, dilations, strict=True)):
        if size is None:
            raise emitter.wrong(layer, "rounds up sizes that the file leaves open")
        spare = size + pads[axis] + pads[axis + len(kernel)] - ((width - 1) * dilation + 1)
        if -(-spare // stride) * stride >= size + pads[axis]:
            raise emitter.wrong(layer, "has a window that starts in the padding")


def max_pool(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """The largest entry of each window."""
    return [emitter.node("MaxPool", [inputs[0].name], **_pooling(emitter, layer, inputs))]


def average_pool(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """The mean of each window, with or without the padding."""
    counts = not (says(layer, "exclude-pad") or says(layer, "exclude_pad"))
    return [emitter.node("AveragePool", [inputs[0].name], count_include_pad=int(counts),
                         **_pooling(emitter, layer, inputs))]  # fmt: skip
