"""A network in its fastest form: batch norms folded, rectifiers in place, channels last, and the same features.

Each change is an offer. It is made to a copy, the copy is tried on a few images beside the network as it was written,
and kept only where the features agree. Whatever a network of others does then (look at its own modules, draw random
numbers, insist on a memory layout) costs speed and never a number.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from .base import ModelSpec
from .pixels import PixelEmbedder
from .stem import Stem, is_stem
from .streams import has_streams, of_streams

#: By how much of the largest entry a feature may differ from that of the network as it was written.
TOLERANCE = 1e-4
#: (height, width) of the images on which a network is tried that takes any size.
TRIAL_SIZE = (256, 128)

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def embedder(network: Callable[[Tensor], Tensor], spec: ModelSpec) -> PixelEmbedder:
    """The network behind pixels; with `spec.folding` in its fastest form, on the CPU, otherwise as it was written.

    Behind defences it takes the form that it takes without. A network with a stream for each modality takes one for
    each (see `streams`).
    """
    if has_streams(network):
        return of_streams(network, lambda stream: embedder(stream, spec))
    best = _fastest(network, replace(spec, defence=()))
    return PixelEmbedder(best.network, spec, layout=best.layout) if spec.defence else best


def _fastest(network: Callable[[Tensor], Tensor], spec: ModelSpec) -> PixelEmbedder:
    plain = PixelEmbedder(network, spec)
    if not (spec.folding and isinstance(network, nn.Module)):
        return plain
    images = trial_images(spec)
    try:
        with torch.random.fork_rng(devices=[]):
            wanted = _features(plain, images)
            folded = fold(network, lambda: _features(plain, images))
            best = _better(lambda: PixelEmbedder(folded, spec), plain, images, wanted)
            if best is not plain:
                _quicken_stem(best, images)
                _rectify_in_place(best, images)
            chosen = best.network
            best = _better(lambda: PixelEmbedder(chosen, spec, layout=torch.channels_last), best, images, wanted)
    except Exception:  # noqa: BLE001 (it will fail on the user's images just the same, and say so there)
        return plain
    return best


def trial_images(spec: ModelSpec) -> Tensor:
    """Two images (2, 3, H, W) in [0, 1] of the size that a network takes, the same every time."""
    height, width = spec.input_size or TRIAL_SIZE
    ramp = torch.arange(2 * 3 * height * width, dtype=torch.float64)
    return torch.frac(ramp * 0.6180339887498949).float().view(2, 3, height, width)


def _features(model: PixelEmbedder, images: Tensor) -> Tensor:
    with torch.no_grad():
        features: Tensor = model(images)
    return features


def _better(offer: Callable[[], PixelEmbedder], best: PixelEmbedder, images: Tensor, wanted: Tensor) -> PixelEmbedder:
    """What is offered where it runs and gives the wanted features, otherwise the best so far."""
    try:
        candidate = offer()
        found = _features(candidate, images)
        # A comparison with NaN is false, so a feature that is not finite refuses the offer too.
        agrees = found.shape == wanted.shape and bool((found - wanted).abs().max() <= TOLERANCE * wanted.abs().max())
    except Exception:  # noqa: BLE001 (an offer that a network does not take)
        agrees = False
    if agrees:
        return candidate
    if isinstance(best.network, nn.Module):
        best.network.to(memory_format=best.layout)  # type: ignore[call-overload]
    return best


def _seen(model: PixelEmbedder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features (B, D), and the gradient of a mixture of their entries."""
    leaf = images.clone().requires_grad_()
    features: Tensor = model(leaf)
    total = (features * torch.linspace(-1, 1, features.shape[1])).sum()
    return features.detach().clone(), torch.autograd.grad(total, leaf)[0]


def _quicken_stem(model: PixelEmbedder, images: Tensor) -> None:
    """Put `Stem` in the place of a first convolution that it can stand for, unless features or gradients change."""
    stems = {name: module for name, module in model.named_modules() if is_stem(module)}
    if not stems:
        return
    features, gradient = _seen(model, images)
    for name, layer in stems.items():
        _replace(model, name, Stem(cast("nn.Conv2d", layer)))
    found, other = _seen(model, images)
    if not (torch.equal(features, found) and bool((gradient - other).norm() <= TOLERANCE * gradient.norm())):
        for name, layer in stems.items():
            _replace(model, name, layer)


def _rectify_in_place(model: PixelEmbedder, images: Tensor) -> None:
    """Let rectifiers overwrite their inputs, unless a bit of a feature or a gradient changes."""
    rectifiers = [module for module in model.modules() if isinstance(module, nn.ReLU) and not module.inplace]
    before = _seen(model, images)
    for module in rectifiers:
        module.inplace = True
    try:
        agrees = all(torch.equal(one, other) for one, other in zip(before, _seen(model, images), strict=True))
    except RuntimeError:  # somebody else needs what was overwritten
        agrees = False
    for module in rectifiers:
        module.inplace = agrees


def fold(network: nn.Module, forward: Callable[[], object]) -> nn.Module:
    """A copy of a network in which every batch norm that always follows one and the same layer is part of that layer.

    Who follows whom is seen while `forward` runs `network` once; the network itself stays as it is. That a layer's
    output is used by its batch norm alone cannot be seen here: compare features afterwards.
    """
    pairs = norm_pairs(network, forward)
    folded = copy.deepcopy(network)
    for norm, layer in pairs.items():
        _replace(folded, layer, _fused(folded.get_submodule(layer), folded.get_submodule(norm)))
        _replace(folded, norm, nn.Identity())
    return folded


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)


@dataclass
class _Watch:
    """What is seen of a network while it runs: which layer made the input of which batch norm."""

    #: How often each layer ran.
    calls: Counter[str] = field(default_factory=Counter)
    #: What a layer gave, by the identity of the tensor; the tensor is kept so that no other takes its place.
    made: dict[int, tuple[str, Tensor]] = field(default_factory=dict)
    #: The layers that a batch norm followed, call by call; None where it followed something else.
    followed: dict[str, list[str | None]] = field(default_factory=lambda: defaultdict(list))

    def after_layer(self, name: str, module: nn.Module, inputs: object, output: Tensor) -> None:
        del module, inputs
        self.calls[name] += 1
        self.made[id(output)] = (name, output)

    def before_norm(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        del module
        layer, _ = self.made.get(id(inputs[0]), (None, None))
        self.followed[name].append(layer)

    def pairs(self) -> dict[str, str]:
        """Batch norms that always follow one layer, which they always follow; by name, each with that of its layer."""
        found = {}
        for norm, layers in self.followed.items():
            layer = layers[0]
            if layer is not None and set(layers) == {layer} and len(layers) == self.calls[layer]:
                found[norm] = layer
        return found


def norm_pairs(network: nn.Module, forward: Callable[[], object]) -> dict[str, str]:
    """The names of the batch norms that can be folded, each with that of its layer, as seen while `forward` runs."""
    watch = _Watch()
    handles = []
    for name, module in network.named_modules():
        if type(module) in _LAYERS and not nn.utils.parametrize.is_parametrized(module):
            handles.append(module.register_forward_hook(partial(watch.after_layer, name)))
        elif type(module) in _NORMS and not module.training and module.running_mean is not None:
            handles.append(module.register_forward_pre_hook(partial(watch.before_norm, name)))
    try:
        forward()
    finally:
        for handle in handles:
            handle.remove()
    return watch.pairs()


def _fused(layer: Any, norm: Any) -> nn.Module:
    """One layer that does what a layer and its batch norm do; made in float64, so that one rounding is left."""
    kind = layer.weight.dtype
    fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
    fused: nn.Module = fuse(layer.double(), norm.double()).to(kind)
    return fused
