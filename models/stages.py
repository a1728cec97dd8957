"""Stages of a model that hide its gradient, and how an adversary who knows them goes through.

A stage that is not differentiable (JPEG, bit depth, a purifying loop) is passed straight through while gradients are
taken: forward it does what it does, backward it is the identity (BPDA; Athalye, Carlini, Wagner 2018, ICML, arXiv
1802.00420). A stage that draws at random is met by the mean of several gradients (EOT; Athalye et al. 2018, ICML,
arXiv 1707.07397). The author of a model says which it has, as attributes of any module in it:

    bpda_stages = ("jpeg",)     # names of its own sub-modules
    is_random = True

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
from .pixels import PixelEmbedder
from .registry import nearest

#: Gradients whose mean is taken of a model that says it is random: as many as AutoAttack's `rand` takes (Croce, Hein
#: 2020, ICML, arXiv 2003.01690).
EOT_SAMPLES = 20


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
    is_random: bool = False

    @property
    def samples(self) -> int:
        """Samples a gradient."""
        return EOT_SAMPLES if self.is_random else 1


def declared(network: object) -> Declared:
    """What a network says of itself: `bpda_stages` and `is_random` of any of its modules."""
    if not isinstance(network, nn.Module):
        return Declared()
    stages: list[str] = []
    is_random = False
    for name, module in network.named_modules():
        own = getattr(module, "bpda_stages", ())
        names = (own,) if isinstance(own, str) else tuple(own)
        stages += [f"{name}.{stage}" if name else str(stage) for stage in names]
        is_random = is_random or getattr(module, "is_random", False) is True
    return Declared(stages=tuple(dict.fromkeys(stages)), is_random=is_random)


def followed(embedder: PixelEmbedder, adaptive: Adaptive) -> PixelEmbedder:
    """The model whose gradients an adversary follows: the same one where gradients pass straight through nothing.

    Raises:
        UserError: it has no sub-module of a name that is asked for.
    """
    names = declared(embedder.network).stages if adaptive.bpda is None else adaptive.bpda
    known = dict(embedder.network.named_modules()) if isinstance(embedder.network, nn.Module) else {}
    for name in names:
        if not name or name not in known:
            have = [each for each in known if each]
            some = ", ".join(have[:12]) or "none"
            raise UserError(
                f"The model {embedder.spec.label!r} has no stage {name!r}: `bpda` and `bpda_stages` take names of its "
                f"sub-modules.{nearest(name, have)} It has: {some}{', ...' if len(have) > 12 else ''}."
            )
    return StraightThrough(embedder, names) if names else embedder


class StraightThrough(PixelEmbedder):
    """A model that shares its network with another one, and through whose stages gradients pass straight.

    Args:
        embedder: the other one.
        stages: names of sub-modules of its network; each gives a tensor of the shape of its first input.
    """

    def __init__(self, embedder: PixelEmbedder, stages: tuple[str, ...]) -> None:
        super().__init__(embedder.network, embedder.spec, layout=embedder.layout, dtype=embedder.dtype)
        self.stages = stages
        self.to(embedder.mean.device)

    def forward(self, images: Tensor) -> Tensor:
        """As the other one's, with other gradients."""
        with self._hooks():
            return super().forward(images)

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        if not isinstance(self.network, nn.Module):
            raise TypeError(f"expected a module with stages, got a {type(self.network).__name__}")
        handles = []
        for name in self.stages:
            module = self.network.get_submodule(name)
            before, after = _straight(name)
            handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
        try:
            yield
        finally:
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
        del module, given
        first = inputs.pop()
        if not isinstance(output, Tensor) or output.shape != first.shape:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"gradients pass straight through stages that keep their input's shape; {name!r} gives {shape} for "
                f"{tuple(first.shape)}"
            )
        found: Tensor = _Identity.apply(first, output)  # type: ignore[no-untyped-call]
        return found

    return before, after


class _Identity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, output: Tensor) -> Tensor:
        del ctx, first
        return output.detach().clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        del ctx
        return gradients[0], None
