"""Training on from a program whose batch norms were folded into its convolutions: they are put back.

A folded convolution y = W x + b says nothing of the batch norm that was in it, and any one that gives the same y will
do. The one that goes on best has seen the training images: with m and v the mean and variance of y over them, the
convolution becomes W without b, and the batch norm has running mean m - b, running variance v, gamma = sqrt(v + eps)
and beta = m. So its output is the same, and its statistics are those that training starts from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from ... import InvalidFileError
from ..engine import norm_pairs
from ..program.network import OnnxNetwork
from ..program.reader import Program, read_program

#: By how much of the largest entry a feature may differ from the program's.
TOLERANCE = 1e-4

_Layer = nn.Conv2d | nn.Linear
_Norm = nn.BatchNorm1d | nn.BatchNorm2d


@dataclass
class _Moments:
    """Mean and variance of the channels of what passes by, in float64."""

    n: int = 0
    total: Tensor | None = None
    squares: Tensor | None = None
    shift: Tensor | None = field(default=None, repr=False)

    def see(self, module: nn.Module, given: object, output: Tensor) -> None:
        """A forward hook."""
        del module, given
        channels = output.detach().transpose(0, 1).flatten(1).double()
        if self.shift is None:  # sums of small numbers lose nothing
            self.shift = channels.mean(1, keepdim=True)
            self.total = self.squares = torch.zeros_like(self.shift[:, 0])
        channels = channels - self.shift
        self.n += channels.shape[1]
        self.total = cast("Tensor", self.total) + channels.sum(1)
        self.squares = cast("Tensor", self.squares) + channels.square().sum(1)

    @property
    def mean(self) -> Tensor:
        return cast("Tensor", self.shift)[:, 0] + cast("Tensor", self.total) / self.n

    @property
    def variance(self) -> Tensor:
        return (cast("Tensor", self.squares) / self.n - (cast("Tensor", self.total) / self.n).square()).clamp_min(0)


@torch.no_grad()
def load_folded(network: nn.Module, path: Path, prepare: Callable[[Tensor], Tensor], images: Iterable[Tensor]) -> None:
    """Fill a network with the weights of its own program, batch norms folded, and put the batch norms back.

    Args:
        network: as it was written, in the architecture that the program was exported from.
        path: the ONNX file; its nodes are called after the modules, as PyTorch's exporter does it.
        prepare: images (B, 3, H, W) in [0, 1] to the network's inputs.
        images: batches of training images (B, 3, H, W) in [0, 1].

    Raises:
        UserError: there is no such file.
        InvalidFileError: the program is not of this network, or gives other features.
    """
    program = read_program(path)
    modules = dict(network.named_modules())
    for name, module in modules.items():
        has_own = next(module.parameters(recurse=False), None) is not None
        if has_own and not isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d):
            raise InvalidFileError(
                f"A program's weights can be trained on in a network of convolutions, linear layers and batch norms; "
                f"{type(network).__name__} has others{f' in {name}' if name else ''}: start from a safetensors file."
            )
    try:
        given, kept = _layers(program, modules), _norms(program, modules)
    except KeyError as error:
        raise _refusal(path, network, f"computes the weights {error} instead of holding them") from None
    batches = map(prepare, images)
    first = next(batches)
    training = network.training
    network.eval()
    pairs = norm_pairs(network, lambda: network(first[:2]))
    norms = {name: layer for name, layer in pairs.items() if name not in kept}
    for name, (weight, bias, mean, variance) in kept.items():
        norm = cast("_Norm", network.get_submodule(name))
        norm.load_state_dict(
            {"weight": weight, "bias": bias, "running_mean": mean, "running_var": variance}, strict=False
        )
    _fill(network, given, norms, set(norms) | set(kept), path)
    moments = {name: _Moments() for name in norms}
    hooks = [network.get_submodule(name).register_forward_hook(found.see) for name, found in moments.items()]
    before = network(first)
    for batch in batches:
        network(batch)
    for hook in hooks:
        hook.remove()
    _compare(before, OnnxNetwork(program)(first), path)
    for name, found in moments.items():
        norm = cast("_Norm", network.get_submodule(name))
        bias = norm.bias.detach().double()
        _set(norm, mean=found.mean - bias, variance=found.variance, shift=found.mean)
    _compare(network(first), before, path)
    network.train(training)


def _set(norm: _Norm, *, mean: Tensor, variance: Tensor, shift: Tensor) -> None:
    cast("Tensor", norm.running_mean).copy_(mean)
    cast("Tensor", norm.running_var).copy_(variance)
    norm.weight.copy_((cast("Tensor", norm.running_var).double() + norm.eps).sqrt())
    norm.bias.copy_(shift)


def _fill(
    network: nn.Module,
    given: Mapping[str, tuple[Tensor, Tensor | None]],
    norms: Mapping[str, str],
    known: Container[str],
    path: Path,
) -> None:
    """The layers as the program has them; every batch norm that it has not only adds its layer's bias."""
    norm_of = {layer: norm for norm, layer in norms.items()}
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    loose = [n for n, m in network.named_modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and n not in known]
    if layers.keys() != given.keys() or loose:
        odd = sorted(layers.keys() ^ given.keys()) or loose
        raise _refusal(path, network, f"differs in {', '.join(odd[:3])}{', ...' if len(odd) > 3 else ''}")
    for name, layer in layers.items():
        weight, bias = given[name]
        if weight.shape != layer.weight.shape:
            raise _refusal(path, network, f"has {name} of shape {tuple(weight.shape)}, not {tuple(layer.weight.shape)}")
        layer.weight.copy_(weight)
        if layer.bias is not None and name not in norm_of:
            layer.bias.copy_(torch.zeros_like(layer.bias) if bias is None else bias)
        elif name in norm_of:
            norm = cast("_Norm", network.get_submodule(norm_of[name]))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            nothing = torch.zeros_like(norm.bias)
            shift = nothing if bias is None else bias
            _set(norm, mean=nothing, variance=torch.full_like(nothing, 1 - norm.eps), shift=shift)
        elif bias is not None:
            raise _refusal(path, network, f"has a bias in {name}")


def _layers(program: Program, modules: Container[str]) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Weight and bias of every convolution and linear layer, by the name of its module; one may run several times."""
    found: dict[str, tuple[Tensor, Tensor | None]] = {}
    for node in program.nodes:
        if node.operator in {"Conv", "Gemm", "MatMul"} and node.inputs[1] in program.initialisers:
            weight, *bias = (torch.from_numpy(program.initialisers[name].copy()) for name in node.inputs[1:])
            if node.operator != "Conv" and not node.integer("transB", 0):
                weight = weight.T
            name = _module(node.name)
            again = re.sub(r"_[0-9]+$", "", name)
            found[again if name not in modules and again in modules else name] = (weight, bias[0] if bias else None)
    return found


def _norms(program: Program, modules: Container[str]) -> dict[str, tuple[Tensor, ...]]:
    """Scale, shift, mean and variance of every batch norm that the program still has, by the name of its module."""
    return {
        _module(node.name): tuple(torch.from_numpy(program.initialisers[name].copy()) for name in node.inputs[1:])
        for node in program.nodes
        if node.operator == "BatchNormalization" and _module(node.name) in modules
    }


def _module(name: str) -> str:
    """The module behind a node: `/conv2/conv2.0/conv1/Conv` is `conv2.0.conv1`; a list stands before its entry."""
    parts = name.split("/")[1:-1]
    kept = [part for part, after in zip(parts, [*parts[1:], ""], strict=True) if not after.startswith(f"{part}.")]
    return ".".join(kept)


def _compare(found: Tensor, wanted: Tensor, path: Path) -> None:
    gap = float((found - wanted).abs().max() / wanted.abs().max())
    if not gap <= TOLERANCE:
        raise InvalidFileError(
            f"The program {str(path)!r} gives other features than its weights in this architecture do ({gap:.1e} of "
            f"the largest entry, at most {TOLERANCE:g} is taken); name the architecture it was exported from."
        )


def _refusal(path: Path, network: nn.Module, what: str) -> InvalidFileError:
    return InvalidFileError(
        f"The program {str(path)!r} is not a {type(network).__name__} that can be trained on: it {what}; name the "
        f"architecture it was exported from, and export with node names (torch.onnx.export does)."
    )
