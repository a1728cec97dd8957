"""Parts of a training: the classifier on top, the neck below it, standing still for an adversary, the learning rate."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ... import UserError


def head(n_features: int, n_identities: int, seed: int) -> nn.Linear:
    """The classifier over the training identities: (B, n_features) to (B, n_identities), the same for a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(n_features, n_identities, bias=False)


def watch_neck(network: nn.Module, seen: list[Tensor]) -> None:
    """Fix the shift of the batch norm that a network ends in at 0, and keep what it was given last in `seen`.

    Raises:
        UserError: the network has none.
    """
    neck = getattr(network, "bottleneck", None)
    if not isinstance(neck, nn.BatchNorm1d):
        raise UserError(
            f"{type(network).__name__} does not end in a batch norm called `bottleneck`, which `bnneck` is about; "
            f"leave it out, or take an architecture that does, such as resnet50."
        )
    nn.init.zeros_(neck.bias)
    neck.bias.requires_grad = False

    def keep(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        del module
        seen[:] = given

    neck.register_forward_pre_hook(keep)


def copied(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A network of its own with these weights, on the CPU, which no training watches."""
    found = copy.deepcopy(network)
    neck = getattr(found, "bottleneck", None)
    if isinstance(neck, nn.BatchNorm1d):
        # A copied hook would still write into the training's list, and torch has no other way to take it off.
        neck._forward_pre_hooks.clear()  # noqa: SLF001
    found.load_state_dict(weights)
    return found.cpu()


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode without gradients of its weights, while this lasts."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.eval()
    for parameter in learning:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad = True
        network.train()


def schedule(step: int, *, total: int, warmup: float) -> float:
    """The share of the highest learning rate at a step: up linearly over `warmup` steps, then a cosine down to 0.

    >>> [round(schedule(step, total=6, warmup=2), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step + 1 <= warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
