"""ONNX operators that act on each element, or reduce over axes. Definitions: onnx.ai/onnx/operators."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .reader import Node


def together(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both on one device: a value computed from shapes lives on the CPU until it meets the images."""
    if first.device == second.device:
        return first, second
    if first.device.type == "cpu":
        return first.to(second.device), second
    return first, second.to(first.device)


def pairwise(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Node, Tensor, Tensor], Tensor]:
    """An operator of two broadcast inputs."""

    def operator(_node: Node, first: Tensor, second: Tensor) -> Tensor:
        return function(*together(first, second))

    return operator


def single(function: Callable[[Tensor], Tensor]) -> Callable[[Node, Tensor], Tensor]:
    """An operator of one input without attributes."""

    def operator(_node: Node, value: Tensor) -> Tensor:
        return function(value)

    return operator


def folded(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """An operator of any number of broadcast inputs, applied from left to right."""

    def operator(_node: Node, *values: Tensor) -> Tensor:
        result = values[0]
        for value in values[1:]:
            result = function(*together(result, value))
        return result

    return operator


def divide(first: Tensor, second: Tensor) -> Tensor:
    """Quotient; that of integers is cut toward zero."""
    if first.is_floating_point() or second.is_floating_point():
        return first / second
    return torch.div(first, second, rounding_mode="trunc")


def modulo(node: Node, first: Tensor, second: Tensor) -> Tensor:
    """Remainder with the sign of the divisor, as Python's; with `fmod` that of the dividend, as C's."""
    first, second = together(first, second)
    if node.integer("fmod", 0):
        return torch.fmod(first, second)
    if first.is_floating_point():
        raise ValueError("a Mod of floating numbers without fmod is not defined; expected fmod=1")
    return torch.remainder(first, second)


def power(_node: Node, base: Tensor, exponent: Tensor) -> Tensor:
    """Base to the exponent, in the type of the base; squares exactly, without a logarithm."""
    base, exponent = together(base, exponent)
    return torch.pow(base, exponent).to(base.dtype)


def cast(node: Node, value: Tensor) -> Tensor:
    """The value in another type. A cast between floating types keeps the network's own precision."""
    target = node.integer("to", 1)
    # TensorProto: 1 float, 6 int32, 7 int64, 9 bool, 11 double.
    if target in {1, 11}:
        return value if value.is_floating_point() else value.to(torch.get_default_dtype())
    types = {6: torch.int32, 7: torch.int64, 9: torch.bool}
    if target not in types:
        raise ValueError(f"a cast to type {target} is not supported; expected float, double, int32, int64 or bool")
    return value.to(types[target])


def clip(node: Node, value: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """The value between two bounds: inputs since opset 11, attributes before."""
    if node.opset < 11:
        return value.clamp(node.number("min", float("-inf")), node.number("max", float("inf")))
    if low is not None:
        value = (
            torch.maximum(*together(value, low)) if not value.is_floating_point() else value.clamp(min=_on(low, value))
        )
    return value if high is None else value.clamp(max=_on(high, value))


def _on(bound: Tensor, value: Tensor) -> Tensor:
    return bound.to(device=value.device, dtype=value.dtype)


def elu(node: Node, value: Tensor) -> Tensor:
    """Exponential linear unit."""
    return F.elu(value, node.number("alpha", 1.0))


def gelu(node: Node, value: Tensor) -> Tensor:
    """The value times the share of a normal distribution below it, exact or by a hyperbolic tangent."""
    return F.gelu(value, approximate=node.text("approximate", "none"))


def leaky_relu(node: Node, value: Tensor) -> Tensor:
    """Rectifier with a fixed slope below zero."""
    return F.leaky_relu(value, node.number("alpha", 0.01))


def prelu(_node: Node, value: Tensor, slope: Tensor) -> Tensor:
    """Rectifier with a learnt slope, broadcast from the right as ONNX does."""
    return torch.where(value < 0, slope * value, value)


def hard_sigmoid(node: Node, value: Tensor) -> Tensor:
    """A line cut at 0 and 1."""
    return (value * node.number("alpha", 0.2) + node.number("beta", 0.5)).clamp(0.0, 1.0)


def hard_swish(_node: Node, value: Tensor) -> Tensor:
    """The value times a line cut at 0 and 1."""
    return value * (value / 6 + 0.5).clamp(0.0, 1.0)


def softmax(node: Node, value: Tensor) -> Tensor:
    """Exponentials that sum to one: along one axis since opset 13, over all axes from there on before."""
    if node.opset >= 13:
        return value.softmax(node.integer("axis", -1))
    axis = node.integer("axis", 1) % value.ndim
    return value.flatten(axis).softmax(-1).reshape(value.shape)


def where(_node: Node, condition: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The first value where the condition holds, else the second."""
    first, second = together(first, second)
    condition, first = together(condition, first)
    return torch.where(condition, first, second.to(first.device))


def reduction(function: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Callable[..., Tensor]:
    """An operator that reduces over axes, given by attribute or (in later operator sets) by a second input."""

    def operator(node: Node, value: Tensor, axes: Tensor | None = None) -> Tensor:
        wanted = node.integers("axes") if axes is None else tuple(int(axis) for axis in axes.tolist())
        if not wanted:
            if node.integer("noop_with_empty_axes", 0):
                return value
            wanted = tuple(range(value.ndim))
        return function(value, wanted, bool(node.integer("keepdims", 1)))

    return operator


reduce_mean = reduction(lambda value, axes, keep: value.mean(axes, keepdim=keep))
reduce_sum = reduction(lambda value, axes, keep: value.sum(axes, keepdim=keep))
reduce_max = reduction(lambda value, axes, keep: value.amax(axes, keepdim=keep))
reduce_l2 = reduction(lambda value, axes, keep: torch.linalg.vector_norm(value, dim=axes, keepdim=keep))
