"""A small real network, wrong twins of it, and an inspection that is quick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from robustreid.benchmark.inspection import following, sample
from robustreid.benchmark.inspection.findings import Inspection
from robustreid.benchmark.inspection.inspect import inspect_model
from robustreid.benchmark.progress import Silent
from robustreid.benchmark.runtime import Settings
from robustreid.models.base import ModelSpec, Normalise
from robustreid.models.load import PLUGIN, network, resolve
from robustreid.models.zoo import find
from torch import Tensor, nn
from torch.nn import functional as F

Function = Callable[[Tensor], Tensor]


class Twin(nn.Module):
    """A network with something before it and something after it."""

    def __init__(self, inner: nn.Module, before: Function | None = None, after: Function | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.before = before or (lambda images: images)
        self.after = after or (lambda features: features)

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.inner(self.before(images)))


class LeftOnBatchNorm(nn.Module):
    """A batch norm that puts itself in training mode."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, features: Tensor) -> Tensor:
        self.norm.train()
        found: Tensor = self.norm(features)
        return found


class Counting(nn.Module):
    """Moves its features a little with every forward."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        self.seen += 1
        return features + 1e-6 * self.seen


class CoinGradient(torch.autograd.Function):
    """Passes what it is given, and back a coin for every entry."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        coin = torch.Generator().manual_seed(0)
        return torch.randn(gradients[0].shape, generator=coin)


def smoothed(images: Tensor) -> Tensor:
    """Images after a gradient step that makes them smoother."""
    leaf = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(leaf.diff(dim=2).square().sum(), leaf)
    return images - 0.001 * slope


@pytest.fixture(scope="session")
def tiny() -> tuple[ModelSpec, nn.Module]:
    """The small network that ships, as a module in memory, and how it is fed."""
    known, weights = find("tiny")
    spec = resolve(label="twin", architecture=known.architecture, weights=weights, normalise=known.normalise)
    module = network(spec)
    assert isinstance(module, nn.Module)
    module.eval().requires_grad_(requires_grad=False)
    # At half its size it is four times as fast, and still knows people.
    spec = replace(spec, input_size=(64, 32), weights=None, sha256="")
    return replace(spec, architecture=PLUGIN, plugin="in:memory"), module


@pytest.fixture(scope="session")
def twins(tiny: tuple[ModelSpec, nn.Module]) -> Callable[[str], tuple[ModelSpec, nn.Module]]:
    """A function that gives a twin by name, and how it is fed."""
    spec, inner = tiny
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.normalise.mean, spec.normalise.std))
    raw = replace(spec, normalise=Normalise())
    makers: dict[str, Callable[[], nn.Module]] = {
        "good": lambda: inner,
        "dropout": lambda: Twin(inner, after=lambda f: F.dropout(f, 0.1, training=True)).eval(),
        "batch norm in training mode": lambda: nn.Sequential(inner, LeftOnBatchNorm(128)).eval(),
        "handed over in training mode": lambda: Twin(inner).train(),
        "no gradient": lambda: Twin(inner, before=lambda x: x.detach().clone()).eval(),
        "coin for a gradient": lambda: Twin(inner, before=CoinGradient.apply).eval(),
        "constant": lambda: Twin(inner, after=lambda f: 0 * f + 1).eval(),
        "not a number": lambda: Twin(inner, after=lambda f: f / 0).eval(),
        "a map": lambda: Twin(inner, after=lambda f: f[:, :, None, None]).eval(),
        "a tuple": lambda: Twin(inner, after=lambda f: (f, f)).eval(),  # type: ignore[arg-type, return-value]
        "float64 features": lambda: Twin(inner, after=lambda f: f.double()).eval(),
        "float64 weights": lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten()).double().eval(),
        "0 to 255": lambda: Twin(inner, before=lambda x: (x / 255 - mean) / std).eval(),
        "BGR": lambda: Twin(inner, before=lambda x: x.flip(1)).eval(),
        "counting": lambda: nn.Sequential(inner, Counting()).eval(),
        "smoothing": lambda: Twin(inner, before=smoothed).eval(),
        "raises": lambda: Twin(inner, before=lambda x: x.view(1, 2, 3)).eval(),
        "one size": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 128 * 64, 16)).eval(),
    }
    made: dict[str, nn.Module] = {}

    def give(name: str) -> tuple[ModelSpec, nn.Module]:
        if name not in made:
            made[name] = makers[name]()
        # How much a wrong channel costs shows at the network's own size.
        size = (128, 64) if name in {"0 to 255", "BGR"} else spec.input_size
        return replace(raw if name in {"0 to 255", "one size"} else spec, input_size=size), made[name]

    return give


@pytest.fixture(scope="session")
def look(twins: Callable[[str], tuple[ModelSpec, nn.Module]]) -> Callable[..., Inspection]:
    """A function that inspects a twin on half as many people, timing one round only; the same request once."""

    @cache
    def inspect(name: str, **changes: Any) -> Inspection:
        spec, module = twins(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(following, "_ROUNDS", 1)
            patch.setattr(sample, "PEOPLE", 6)
            torch.manual_seed(0)
            return inspect_model(replace(spec, **changes), None, Settings(device="cpu"), Silent(), module)

    return inspect
