"""The training loop: batches in, weights out; it can stop after any epoch and go on bit for bit."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ... import UserError
from ..base import ModelSpec
from ..pixels import resize
from .augment import augment
from .losses import softmax_loss, triplet_loss
from .plan import EpochSummary, Perturb, Plan, TrainingSet
from .sampling import batches, n_steps


class Trainer:
    """A network in training: everything that changes from step to step, and the step.

    The classifier over the training identities is the trainer's own; it is no part of the weights handed out.

    Args:
        network: a module with `feature_dim`: images (B, 3, H, W), normalised, to features (B, feature_dim).
        spec: input size, normalisation and metric that the network is to be used with.
        data: what it learns from.
        plan: how.
        perturb: adversarial training, where given.
        device: where; the network is moved there.
    """

    def __init__(
        self,
        network: nn.Module,
        spec: ModelSpec,
        data: TrainingSet,
        plan: Plan,
        *,
        perturb: Perturb | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.plan, self.spec, self.data, self.perturb = plan, spec, data, perturb
        self.device = device or torch.device("cpu")
        self.layout = torch.channels_last if getattr(network, "channels_last", False) else torch.contiguous_format
        network.to(device=self.device, memory_format=self.layout)  # type: ignore[call-overload]
        self.network = network
        people, classes = np.unique(data.identities, return_inverse=True)
        self._classes = classes.astype(np.int64)
        self.head = _head(cast("int", network.feature_dim), len(people), plan.seed).to(self.device)
        parameters = [*network.parameters(), *self.head.parameters()]
        kind = torch.optim.AdamW if plan.optimiser == "adamw" else torch.optim.Adam
        self.optimiser = kind(parameters, lr=plan.learning_rate, weight_decay=plan.weight_decay)
        self.average = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.steps_per_epoch = n_steps(data.identities, plan.identities)
        #: Epochs that are finished.
        self.epoch = 0
        mean, std = (
            torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in vars(spec.normalise).values()
        )
        self._scale, self._shift = 1 / std, -mean / std

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """What is handed out: the network's state, averaged where the plan says so."""
        return self.network.state_dict() if self.plan.average is None else self.average

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next epoch depends on, by name; nothing is copied."""
        parts = {"network": self.network.state_dict(), "head": self.head.state_dict()}
        if self.plan.average is not None:
            parts["average"] = self.average
        found = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
        for index, moments in self.optimiser.state_dict()["state"].items():
            found |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
        return found

    @torch.no_grad()
    def resume(self, state: Mapping[str, Tensor], epoch: int) -> None:
        """Take up what `state` gave after `epoch` epochs; every tensor keeps its place and memory layout.

        Raises:
            KeyError: a tensor is missing, or one is too many.
        """
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, value in state.items():
            part, _, rest = name.partition(".")
            if part == "optimiser":
                index, _, key = rest.partition(".")
                like = parameters[int(index)]
                moments[int(index)][key] = torch.empty_like(like) if value.ndim else value.clone()
                moments[int(index)][key].copy_(value)
        if moments.keys() != set(range(len(parameters))):
            raise KeyError("optimiser")
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": dict(moments)})
        own = self.state()
        if own.keys() != state.keys():
            raise KeyError(*sorted(own.keys() ^ state.keys()))
        for name, value in own.items():
            value.copy_(state[name])
        self.epoch = epoch

    def run_epoch(self, on_step: Callable[[], None] | None = None) -> EpochSummary:
        """One epoch.

        Args:
            on_step: called after every step.

        Raises:
            UserError: the loss is not a finite number.
        """
        started = time.perf_counter()
        plan, data = self.plan, self.data
        epoch = batches(
            data.identities,
            data.cameras,
            n_identities=plan.identities,
            n_images=plan.images,
            seed=plan.seed,
            epoch=self.epoch,
        )
        self.network.train()
        sums: dict[str, Tensor] = {}
        for index, chosen in enumerate(epoch):
            step = self.epoch * self.steps_per_epoch + index
            for name, value in self._step(step, chosen).items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value
            if on_step:
                on_step()
        self.epoch += 1
        seconds = time.perf_counter() - started
        means = {name: float(value) / len(epoch) for name, value in sums.items()}
        return EpochSummary(
            epoch=self.epoch,
            loss=means["loss"],
            softmax_clean=means.get("softmax_clean"),
            triplet_clean=means.get("triplet_clean"),
            accuracy_clean=means.get("accuracy_clean"),
            softmax_perturbed=means.get("softmax_perturbed"),
            triplet_perturbed=means.get("triplet_perturbed"),
            accuracy_perturbed=means.get("accuracy_perturbed"),
            preserve=means.get("preserve"),
            learning_rate=self.optimiser.param_groups[0]["lr"],
            seconds=seconds,
            images_per_second=epoch.size / seconds,
        )

    def _step(self, step: int, chosen: NDArray[np.int64]) -> dict[str, Tensor]:
        plan = self.plan
        images = augment(self.data.batch(chosen), plan.augment, seed=plan.seed, step=step)
        clean = torch.from_numpy(images).to(self.device)
        clean = (clean.float() / 255).contiguous(memory_format=self.layout)
        classes = torch.from_numpy(self._classes[chosen]).to(self.device)
        parts = {"clean": clean}
        if self.perturb:
            with _frozen(self.network):
                parts["perturbed"] = self.perturb(self.embed, clean, classes, step).detach()
            if plan.share == 1 and not plan.preserve:
                del parts["clean"]
        loss, found = self._loss(parts, classes)
        if not math.isfinite(float(loss.detach())):
            raise UserError(
                f"The loss is no finite number at step {step + 1} (epoch {self.epoch + 1}): the training diverged; "
                f"lower the learning rate or lengthen the warm-up. The last checkpoint stands."
            )
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate(step)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self._add_to_average(step)
        return {"loss": loss.detach(), **found}

    def _loss(self, parts: Mapping[str, Tensor], classes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, one forward for all its parts, and what it is made of."""
        plan = self.plan
        raw = self.network(
            self._inputs(torch.cat(list(parts.values())) if len(parts) > 1 else next(iter(parts.values())))
        )
        logits, ranked = self.head(raw), self._ranked(raw)
        total = raw.new_zeros(())
        found: dict[str, Tensor] = {}
        halves = dict(zip(parts, zip(logits.chunk(len(parts)), ranked.chunk(len(parts)), strict=True), strict=True))
        for name, (scores, features) in halves.items():
            share = 1.0 if not self.perturb else plan.share if name == "perturbed" else 1 - plan.share
            softmax = softmax_loss(scores, classes, plan.label_smoothing)
            triplet = triplet_loss(features, classes, plan.margin)
            total = total + share * (plan.softmax * softmax + plan.triplet * triplet)
            found[f"softmax_{name}"], found[f"triplet_{name}"] = softmax.detach(), triplet.detach()
            found[f"accuracy_{name}"] = (scores.detach().argmax(1) == classes).float().mean()
        if self.perturb and plan.preserve:
            moved = halves["perturbed"][1] - halves["clean"][1].detach()
            preserve = moved.square().sum(1).mean()
            total = total + plan.preserve * preserve
            found["preserve"] = preserve.detach()
        return total, found

    def embed(self, images: Tensor) -> Tensor:
        """Features (B, D) of images in [0, 1] as they are ranked, by the network as it is now."""
        return self._ranked(self.network(self._inputs(images)))

    def _inputs(self, images: Tensor) -> Tensor:
        # (x - mean) / std as one multiply and add, which a CPU feels.
        inputs = torch.addcmul(self._shift, resize(images, self.spec.input_size), self._scale)
        return inputs.contiguous(memory_format=self.layout)

    def _ranked(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=1) if self.spec.metric == "cosine" else features

    def _learning_rate(self, step: int) -> float:
        plan = self.plan
        return plan.learning_rate * schedule(
            step, total=plan.epochs * self.steps_per_epoch, warmup=plan.warmup_epochs * self.steps_per_epoch
        )

    @torch.no_grad()
    def _add_to_average(self, step: int) -> None:
        if self.plan.average is None:
            return
        # Early on a short memory, so that the random start is soon forgotten.
        decay = min(self.plan.average, (1 + step) / (10 + step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)


def schedule(step: int, *, total: int, warmup: float) -> float:
    """The share of the highest learning rate at a step: up linearly over `warmup` steps, then a cosine down to 0.

    >>> [round(schedule(step, total=6, warmup=2), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step + 1 <= warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def train(
    trainer: Trainer,
    *,
    on_epoch: Callable[[Trainer, EpochSummary], None],
    on_step: Callable[[], None] | None = None,
) -> None:
    """Run the epochs that are left; `on_epoch` keeps what should be kept. The network ends in evaluation mode."""
    while trainer.epoch < trainer.plan.epochs:
        on_epoch(trainer, trainer.run_epoch(on_step))
    trainer.network.eval()


def _head(n_features: int, n_identities: int, seed: int) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(n_features, n_identities, bias=False)


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
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
