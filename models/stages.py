"""Stages of a model that hide its gradient, and how an adversary who knows them goes through.

A stage that is not differentiable (JPEG, bit depth, a purifying loop) is passed straight through while gradients are
taken: forward it does what it does, backward it is the identity (BPDA; Athalye, Carlini, Wagner 2018, ICML, arXiv
1802.00420), or what its method `pull_back(images, gradient)` makes of a gradient, where it has one. A stage that draws
at random is met by the mean of several gradients (EOT; Athalye et al. 2018, ICML, arXiv 1707.07397). The author of a
model says which it has, as attributes of any module in it:

    bpda_stages = ("jpeg",)     # names of its own sub-modules
    is_random = True
    eot_samples = 20            # samples a gradient, where not `EOT_SAMPLES`

The model that is scored is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .. import UserError
from .defences.parameters import EOT_SAMPLES
from .passing import entered
from .pixels import PixelEmbedder
from .registry import nearest
from .streams import TwoStreamEmbedder, each_stream

#: What a stage makes of a gradient, given the images (B, ...) that went in.
PullBack = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """What an adversary does about stages that hide gradients; None is what the model itself asks for."""

    #: Names of the sub-modules that gradients pass straight through.
    bpda: tuple[str, ...] | None = None
    #: Gradients whose mean is taken, where the attack does not say it.
    eot: int | None = None

    @property
    def is_neutral(self) -> bool:
        """Whether nothing but the model decides."""
        return self == AUTO

    def samples(self, own: int, declared: int = 1) -> int:
        """Samples a gradient: the attack's own where it has any, else what the grid says, else what the model says."""
        return own if own > 1 else declared if self.eot is None else self.eot

    def parameters(self) -> dict[str, Any]:
        """What goes into a cell's id and the column `attack_params`; nothing where the model decides."""
        if self == OFF:
            return {"adaptive": "off"}
        found: dict[str, Any] = {} if self.bpda is None else {"bpda": "+".join(self.bpda)}
        return found if self.eot is None else {**found, "adaptive_eot": self.eot}


#: What the model declares; an adversary who looks for nothing.
AUTO = Adaptive()
OFF = Adaptive(bpda=(), eot=1)


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What the modules of a network say of themselves."""

    #: Names of sub-modules, from the network on.
    stages: tuple[str, ...] = ()
    #: Samples a gradient.
    samples: int = 1


def declared(network: object) -> Declared:
    """What a network says of itself: `bpda_stages`, `is_random` and `eot_samples` of any of its modules."""
    if not isinstance(network, nn.Module):
        return Declared()
    stages: list[str] = []
    samples = 1
    for name, module in network.named_modules():
        own = getattr(module, "bpda_stages", ())
        names = (own,) if isinstance(own, str) else tuple(own)
        stages += [f"{name}.{stage}" if name else str(stage) for stage in names]
        if getattr(module, "is_random", False) is True:
            samples = max(samples, int(getattr(module, "eot_samples", EOT_SAMPLES)))
    return Declared(stages=tuple(dict.fromkeys(stages)), samples=samples)


def declared_behind(embedder: PixelEmbedder) -> Declared:
    """What a model says of itself: its network, and its defences by their own names."""
    own, defences = declared(embedder.network), embedder.defences
    if defences is None:
        return own
    return Declared(stages=(*defences.hiding, *own.stages), samples=max(own.samples, declared(defences).samples))


def stages_of(embedder: PixelEmbedder) -> dict[str, nn.Module]:
    """What gradients can pass straight, by name: the sub-modules of its network, and its defences before them."""
    network = embedder.network
    found = {name: each for name, each in network.named_modules() if name} if isinstance(network, nn.Module) else {}
    return {**found, **dict(embedder.defences or {})}


def followed(embedder: PixelEmbedder, adaptive: Adaptive) -> PixelEmbedder:
    """The model whose gradients an adversary follows: the same one where gradients pass straight through nothing.

    Of one that has a stream for each modality each is followed; ask each for what a `StraightThrough` knows.

    Raises:
        UserError: it has no sub-module of a name that is asked for.
    """
    if embedder.has_streams:
        before, after = (
            each_stream(embedder, lambda one: one),
            each_stream(embedder, lambda one: followed(one, adaptive)),
        )
        return embedder if after == before else TwoStreamEmbedder(*after)
    names = declared_behind(embedder).stages if adaptive.bpda is None else adaptive.bpda
    have = list(stages_of(embedder))
    for name in names:
        if name not in have:
            some = ", ".join(have[:12]) or "none"
            raise UserError(
                f"The model {embedder.spec.label!r} has no stage {name!r}: `bpda` and `bpda_stages` take names of its "
                f"sub-modules and defences.{nearest(name, have)} It has: {some}{', ...' if len(have) > 12 else ''}."
            )
    return StraightThrough(embedder, names) if names else embedder


class StraightThrough(PixelEmbedder):
    """A model that shares its network with another one, and through whose stages gradients pass straight.

    Args:
        embedder: the other one.
        stages: names of its defences and of sub-modules of its network; each gives a tensor of the shape of its first
            input.
    """

    def __init__(self, embedder: PixelEmbedder, stages: tuple[str, ...]) -> None:
        super().__init__(embedder.network, embedder.spec, layout=embedder.layout, dtype=embedder.dtype)
        self.stages = stages
        self._is_open = False
        self.to(embedder.mean.device)

    @property
    def reaches_network(self) -> bool:
        """Whether a stage is part of the network itself."""
        return bool(set(self.stages) - set(self.defences or ()))

    def forward(self, images: Tensor) -> Tensor:
        """As the other one's, with other gradients."""
        with entered(self._hooks):
            return super().forward(images)

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        if self._is_open:  # what runs once more for the backward pass of a part of this very forward
            yield
            return
        handles = []
        known = stages_of(self)
        for name in self.stages:
            before, after = _straight(name)
            handles += [known[name].register_forward_pre_hook(before), known[name].register_forward_hook(after)]
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False
            for handle in handles:
                handle.remove()


def _straight(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Hooks before and after a stage: it sees its input without a graph, and its output gets the input's."""
    inputs: list[Tensor] = []

    def before(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        del module
        if not given or not isinstance(given[0], Tensor):
            raise ValueError(f"expected the stage {name!r} to be given a tensor first")
        inputs.append(given[0])
        return (given[0].detach(), *given[1:])

    def after(module: nn.Module, given: object, output: object) -> Tensor:
        del given
        first = inputs.pop()
        if not isinstance(output, Tensor) or output.shape != first.shape:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"gradients pass straight through stages that keep their input's shape; {name!r} gives {shape} for "
                f"{tuple(first.shape)}"
            )
        found: Tensor = _Straight.apply(  # type: ignore[no-untyped-call]
            first, output, getattr(module, "pull_back", None)
        )
        return found

    return before, after


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, output: Tensor, pull_back: PullBack | None) -> Tensor:
        ctx.pull_back = pull_back
        if pull_back is not None:
            ctx.save_for_backward(first)
        return output.detach().clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        return gradient if ctx.pull_back is None else ctx.pull_back(*ctx.saved_tensors, gradient), None, None
