"""The table of operators: what each name in `SUPPORTED` computes, as a differentiable torch function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from . import layers, pointwise, shapes
from .reader import Node


def identity(_node: Node, value: Tensor, *_: Any) -> Tensor:
    """The value itself; a Dropout is one at inference."""
    return value


#: Operator -> function of the node and its inputs (None for one left out), giving one value.
OPERATORS: Mapping[str, Callable[..., Tensor]] = {
    "Abs": pointwise.single(torch.abs),
    "Add": pointwise.pairwise(torch.add),
    "And": pointwise.pairwise(torch.logical_and),
    "AveragePool": layers.average_pool,
    "BatchNormalization": layers.batch_normalization,
    "Cast": pointwise.cast,
    "Clip": pointwise.clip,
    "Concat": shapes.concat,
    "Constant": shapes.constant,
    "ConstantOfShape": shapes.constant_of_shape,
    "Conv": layers.conv,
    "Div": pointwise.pairwise(pointwise.divide),
    "Dropout": identity,
    "Einsum": layers.einsum,
    "Elu": pointwise.elu,
    "Equal": pointwise.pairwise(torch.eq),
    "Erf": pointwise.single(torch.erf),
    "Exp": pointwise.single(torch.exp),
    "Expand": shapes.expand,
    "Flatten": shapes.flatten,
    "Gather": shapes.gather,
    "GatherND": shapes.gather_nd,
    "Gelu": pointwise.gelu,
    "Gemm": layers.gemm,
    "GlobalAveragePool": layers.global_average_pool,
    "GlobalMaxPool": layers.global_max_pool,
    "Greater": pointwise.pairwise(torch.gt),
    "GreaterOrEqual": pointwise.pairwise(torch.ge),
    "HardSigmoid": pointwise.hard_sigmoid,
    "HardSwish": pointwise.hard_swish,
    "Identity": identity,
    "InstanceNormalization": layers.instance_normalization,
    "IsNaN": pointwise.single(torch.isnan),
    "LayerNormalization": layers.layer_normalization,
    "LeakyRelu": pointwise.leaky_relu,
    "Less": pointwise.pairwise(torch.lt),
    "LessOrEqual": pointwise.pairwise(torch.le),
    "Log": pointwise.single(torch.log),
    "LpNormalization": layers.lp_normalization,
    "MatMul": pointwise.pairwise(torch.matmul),
    "Max": pointwise.folded(torch.maximum),
    "MaxPool": layers.max_pool,
    "Min": pointwise.folded(torch.minimum),
    "Mod": pointwise.modulo,
    "Mul": pointwise.pairwise(torch.mul),
    "Neg": pointwise.single(torch.neg),
    "Not": pointwise.single(torch.logical_not),
    "Or": pointwise.pairwise(torch.logical_or),
    "PRelu": pointwise.prelu,
    "Pad": shapes.pad,
    "Pow": pointwise.power,
    "Range": shapes.range_,
    "Reciprocal": pointwise.single(torch.reciprocal),
    "ReduceL2": pointwise.reduce_l2,
    "ReduceMax": pointwise.reduce_max,
    "ReduceMean": pointwise.reduce_mean,
    "ReduceSum": pointwise.reduce_sum,
    "Relu": pointwise.single(torch.relu),
    "Reshape": shapes.reshape,
    "Shape": shapes.shape,
    "Sigmoid": pointwise.single(torch.sigmoid),
    "Slice": shapes.slice_,
    "Softmax": pointwise.softmax,
    "Softplus": pointwise.single(torch.nn.functional.softplus),
    "Sqrt": pointwise.single(torch.sqrt),
    "Squeeze": shapes.squeeze,
    "Sub": pointwise.pairwise(torch.sub),
    "Tanh": pointwise.single(torch.tanh),
    "Tile": shapes.tile,
    "Transpose": shapes.transpose,
    "Trilu": shapes.trilu,
    "Unsqueeze": shapes.unsqueeze,
    "Where": pointwise.where,
}

#: The same for operators that give several values.
SPLITTERS: Mapping[str, Callable[..., tuple[Tensor, ...]]] = {"Split": shapes.split}
