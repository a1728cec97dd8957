"""The training loop: batches in, weights out; it can stop after any epoch and go on bit for bit."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ... import UserError
from ..base import ModelSpec
from ..pixels import resize
from ..streams import has_streams
from .augment import augment
from .batch_loss import PARTS, Part, batch_loss
from .parts import frozen, head, schedule, watch_neck
from .plan import Batch, Embed, EpochSummary, Hardened, Perturb, Plan, TrainingSet
from .sampling import batches, n_steps, refuse_odd


class Trainer:
    """A network in training: everything that changes from step to step, and the step.

    The classifier over the training identities is the trainer's own; it is no part of the weights handed out.

    Args:
        network: a module with `feature_dim`: images (B, 3, H, W), normalised, to features (B, feature_dim); one with
            streams is given the images' modalities too, (B,) int64, where the set has infrared ones.
        spec: input size, normalisation and metric that the network is to be used with.
        data: what it learns from.
        plan: how.
        perturb: adversarial training, where given.
        device: where; the network is moved there.
        is_compiled: compile the network's passes, which moves their last bits.
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
        is_compiled: bool = False,
    ) -> None:
        self.plan, self.spec, self.data, self.perturb = plan, spec, data, perturb
        self.device = device or torch.device("cpu")
        self.layout = torch.channels_last if getattr(network, "channels_last", False) else torch.contiguous_format
        network.to(device=self.device, memory_format=self.layout)  # type: ignore[call-overload]
        self.network = network
        #: The network's passes; it shares every weight with it.
        self._run = torch.compile(network) if is_compiled else network
        people, classes = np.unique(data.identities, return_inverse=True)
        self._classes = classes.astype(np.int64)
        self.head = head(cast("int", network.feature_dim), len(people), plan.seed).to(self.device)
        self._metric = plan.metric_loss.build() if plan.metric_loss else None
        self._before_neck: list[Tensor] = []
        if plan.bnneck:
            watch_neck(network, self._before_neck)
        parameters = [p for p in (*network.parameters(), *self.head.parameters()) if p.requires_grad]
        kind = torch.optim.AdamW if plan.optimiser == "adamw" else torch.optim.Adam
        self.optimiser = kind(parameters, lr=plan.learning_rate, weight_decay=plan.weight_decay)
        self.average = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self._modalities = data.modalities if data.modalities.any() else None
        refuse_odd(plan.images, self._modalities)
        self.steps_per_epoch = plan.rounds * n_steps(data.identities, plan.identities, self._modalities)
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

    def try_size(self) -> None:
        """One pass, so that images of a size that the network cannot take show before anything is kept.

        Raises:
            UserError: it cannot take them.
        """
        blank = torch.zeros(2, *self.data.batch(np.arange(1)).shape[1:], device=self.device)
        self.network.eval()
        try:
            with torch.no_grad():
                self.network(self._inputs(blank))
        except RuntimeError as error:
            height, width = self.spec.input_size or blank.shape[2:]
            raise UserError(
                f"{self.spec.architecture} takes no images of {height} x {width} ({str(error).splitlines()[0]}); give "
                f"another `input_size`."
            ) from error

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
            rounds=plan.rounds,
            modalities=self._modalities,
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
            **{name: means.get(name) for name in PARTS},
            learning_rate=self.optimiser.param_groups[0]["lr"],
            seconds=seconds,
            images_per_second=epoch.size / seconds,
        )

    def _step(self, step: int, chosen: NDArray[np.int64]) -> dict[str, Tensor]:
        plan = self.plan
        images = augment(self.data.batch(chosen), plan.augment, seed=plan.seed, step=step)
        clean = torch.from_numpy(images).to(self.device)
        clean = (clean.float() / 255).contiguous(memory_format=self.layout)
        batch = self._batch(clean, chosen)
        hard = None
        if self.perturb:
            with frozen(self.network):
                hard = self.perturb(self._embed_of(batch), batch, step)
        loss, found = self._loss(batch, hard)
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

    def _batch(self, images: Tensor, chosen: NDArray[np.int64]) -> Batch:
        classes = torch.from_numpy(self._classes[chosen]).to(self.device)
        modalities = None
        if self._modalities is not None and has_streams(self.network):
            modalities = torch.from_numpy(self._modalities[chosen]).to(self.device)
        return Batch(images=images, classes=classes, places=chosen, modalities=modalities)

    def _loss(self, batch: Batch, hard: Hardened | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, one forward for all its parts, and what it is made of."""
        plan = self.plan
        parts = {"clean": (batch.images, batch.classes, batch.modalities)}
        if hard is not None:
            if plan.share == 1 and not plan.preserve and not hard.is_triplets:
                del parts["clean"]
            seen_by = None if batch.modalities is None else batch.modalities[hard.sources]
            parts["perturbed"] = (hard.images.detach(), batch.classes[hard.sources], seen_by)
        sizes = [len(images) for images, _, _ in parts.values()]
        images = torch.cat([images for images, _, _ in parts.values()])
        modalities = [seen_by for _, _, seen_by in parts.values() if seen_by is not None]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=plan.precision == "bfloat16"):
            raw = self._passed(images, torch.cat(modalities) if modalities else None)
            logits = self.head(raw)
        raw, logits = raw.float(), logits.float()
        ranked = self._ranked(raw)
        compared = self._before_neck.pop().float() if plan.bnneck else ranked
        pieces = zip(*(values.split(sizes) for values in (logits, ranked, compared)), strict=True)
        found = {
            name: Part(logits=piece[0], ranked=piece[1], compared=piece[2], classes=parts[name][1])
            for name, piece in zip(parts, pieces, strict=True)
        }
        share = plan.share if hard is not None else 0.0
        is_triplets = hard is not None and hard.is_triplets
        return batch_loss(plan, found, share=share, is_triplets=is_triplets, metric=self._metric)

    def _embed_of(self, batch: Batch) -> Embed:
        """The network as what changes a batch sees it."""
        if batch.modalities is None:
            return self.embed

        def embed(images: Tensor, /, *, modalities: Tensor | None = None) -> Tensor:
            return self.embed(images, modalities=batch.modalities if modalities is None else modalities)

        return embed

    def embed(self, images: Tensor, /, *, modalities: Tensor | None = None) -> Tensor:
        """Features (B, D) of images in [0, 1] as they are ranked, by the network as it is now.

        Under autocast their norm is taken in the same half width: another order changes weights, so `TRAINING_VERSION`.
        """
        return self._ranked(self._passed(images, modalities))

    def _passed(self, images: Tensor, modalities: Tensor | None) -> Tensor:
        inputs = self._inputs(images)
        found: Tensor = self._run(inputs) if modalities is None else self._run(inputs, modalities)
        return found

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
