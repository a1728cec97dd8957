"""ONNX operators of networks: convolution, pooling, normalisation, products. Definitions: onnx.ai/onnx/operators."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .reader import Node

_CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}


def torch_padding(pads: Sequence[int]) -> list[int]:
    """ONNX's (begin of each axis, then end of each axis) in torch's order: the last axis first, begin and end."""
    n_axes = len(pads) // 2
    return [pads[axis + side * n_axes] for axis in reversed(range(n_axes)) for side in (0, 1)]


def _window(
    node: Node, value: Tensor, kernel: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Strides, dilations and pads (ONNX's order) of a window over `value`, `auto_pad` worked out."""
    n_axes = len(kernel)
    strides = node.integers("strides") or (1,) * n_axes
    dilations = node.integers("dilations") or (1,) * n_axes
    policy = node.text("auto_pad", "NOTSET")
    if policy == "NOTSET":
        return strides, dilations, node.integers("pads") or (0,) * (2 * n_axes)
    if policy == "VALID":
        return strides, dilations, (0,) * (2 * n_axes)
    begins, ends = [], []
    for size, width, stride, dilation in zip(value.shape[2:], kernel, strides, dilations, strict=True):
        n_outputs = -(-size // stride)
        total = max((n_outputs - 1) * stride + (width - 1) * dilation + 1 - size, 0)
        less, more = total // 2, total - total // 2
        begins.append(less if policy == "SAME_UPPER" else more)
        ends.append(more if policy == "SAME_UPPER" else less)
    return strides, dilations, (*begins, *ends)


def conv(node: Node, value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolution in one to three dimensions, with groups, dilations and padding on either side."""
    strides, dilations, pads = _window(node, value, weight.shape[2:])
    half = len(pads) // 2
    padding = pads[:half]
    if padding != pads[half:]:
        value, padding = F.pad(value, torch_padding(pads)), (0,) * half
    function = _CONVOLUTIONS[value.ndim]
    return function(value, weight, bias, strides, padding, dilations, node.integer("group", 1))


def _ceiling(node: Node, value: Tensor, pads: tuple[int, ...]) -> list[int]:
    """How much further each axis must be padded at its end for `ceil_mode`: the last window starts inside the image."""
    kernel = node.integers("kernel_shape") or ()
    strides, dilations, _ = _window(node, value, kernel)
    extra = []
    for axis, (size, width, stride, dilation) in enumerate(
        zip(value.shape[2:], kernel, strides, dilations, strict=True)
    ):
        begin, end = pads[axis], pads[axis + len(kernel)]
        reach = (width - 1) * dilation + 1
        n_outputs = 1 + max(-(-(size + begin + end - reach) // stride), 0)
        if (n_outputs - 1) * stride >= size + begin:
            n_outputs -= 1
        extra.append(max((n_outputs - 1) * stride + reach - size - begin - end, 0))
    return extra


def _pooling(node: Node, value: Tensor) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], list[int]]:
    """Kernel, strides, pads and the further padding at the ends of a pooling window over an image."""
    kernel = node.integers("kernel_shape") or ()
    if len(kernel) != 2 or value.ndim != 4:
        raise ValueError(f"pooling over {value.ndim - 2} axes is not supported; expected images (N, C, H, W)")
    strides, _, pads = _window(node, value, kernel)
    extra = _ceiling(node, value, pads) if node.integer("ceil_mode", 0) else [0, 0]
    return kernel, strides, pads, extra


def max_pool(node: Node, value: Tensor) -> Tensor:
    """The largest entry of each window; padding never wins."""
    kernel, strides, pads, extra = _pooling(node, value)
    if any(pads) or any(extra):
        widened = torch_padding([*pads[:2], pads[2] + extra[0], pads[3] + extra[1]])
        value = F.pad(value, widened, value=float("-inf"))
    return F.max_pool2d(value, kernel, strides, 0, node.integers("dilations") or (1, 1))


def average_pool(node: Node, value: Tensor) -> Tensor:
    """The mean of each window, over the pixels inside the image or (`count_include_pad`) inside image and pads."""
    if any(dilation != 1 for dilation in node.integers("dilations") or ()):
        raise ValueError("a dilated AveragePool is not supported; expected dilations of 1")
    kernel, strides, pads, extra = _pooling(node, value)
    if not any(pads) and not any(extra):
        return F.avg_pool2d(value, kernel, strides)
    inside = torch.ones((1, 1, *value.shape[2:]), dtype=value.dtype, device=value.device)
    includes_pads = bool(node.integer("count_include_pad", 0))
    inside = F.pad(inside, torch_padding(pads), value=1.0 if includes_pads else 0.0)
    beyond = [0, extra[1], 0, extra[0]]
    total = F.avg_pool2d(F.pad(F.pad(value, torch_padding(pads)), beyond), kernel, strides)
    return total / F.avg_pool2d(F.pad(inside, beyond), kernel, strides)


def global_average_pool(_node: Node, value: Tensor) -> Tensor:
    """The mean over all positions, (N, C, 1, 1)."""
    return value.mean(tuple(range(2, value.ndim)), keepdim=True)


def global_max_pool(_node: Node, value: Tensor) -> Tensor:
    """The largest entry over all positions, (N, C, 1, 1)."""
    return value.amax(tuple(range(2, value.ndim)), keepdim=True)


def batch_normalization(node: Node, value: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """Normalisation by stored statistics."""
    if node.integer("training_mode", 0):
        raise ValueError("a BatchNormalization in training mode is not supported; export in inference mode")
    return F.batch_norm(value, mean, var, scale, bias, training=False, eps=node.number("epsilon", 1e-5))


def instance_normalization(node: Node, value: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Normalisation of each channel of each image by its own mean and (biased) variance."""
    axes = tuple(range(2, value.ndim))
    shape = (1, -1) + (1,) * len(axes)
    variance, mean = torch.var_mean(value, axes, correction=0, keepdim=True)
    normalised = (value - mean) / torch.sqrt(variance + node.number("epsilon", 1e-5))
    return normalised * scale.view(shape) + bias.view(shape)


def layer_normalization(node: Node, value: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """Normalisation over all axes from `axis` on."""
    axis = node.integer("axis", -1) % value.ndim
    shape, eps = value.shape[axis:], node.number("epsilon", 1e-5)
    if scale.shape == shape and (bias is None or bias.shape == shape):
        return F.layer_norm(value, shape, scale, bias, eps)
    normalised = F.layer_norm(value, shape, eps=eps) * scale
    return normalised if bias is None else normalised + bias


def lp_normalization(node: Node, value: Tensor) -> Tensor:
    """The value divided by its norm (1 or 2) along an axis; zero stays zero."""
    return F.normalize(value, p=float(node.integer("p", 2)), dim=node.integer("axis", -1))


def einsum(node: Node, *values: Tensor) -> Tensor:
    """Products summed over the letters that the equation's result leaves out (Einstein's notation)."""
    return torch.einsum(node.text("equation", ""), *values)


def gemm(node: Node, first: Tensor, second: Tensor, addend: Tensor | None = None) -> Tensor:
    """The product alpha A B + beta C, either matrix transposed on demand."""
    first = first.t() if node.integer("transA", 0) else first
    second = second.t() if node.integer("transB", 0) else second
    product = first @ second
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    product = product if alpha == 1.0 else product * alpha
    if addend is None:
        return product
    return product + (addend if beta == 1.0 else addend * beta)
