"""What fitting a universal perturbation is: epochs of signed steps on one tensor, with momentum, inside a ball.

Source: Li, Ji, Liu, Hong, Gao, Tian 2019 (ICCV) for the step; each procedure says what else is taken from where.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from ...models.base import MODALITIES, Embedder, Modality, seen_as
from ..loss import NonFiniteGradientError

#: What a gradient costs, in forwards.
_GRADIENT = 3
#: A gradient is divided by its length; one of zero is left zero.
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Training images of one size with who they show."""

    #: (B, 3, H, W) in [0, 1], on the 8-bit grid.
    images: Tensor
    #: (B,) int64.
    identities: Tensor
    #: (B,) int64, places in `MODALITIES`; None where all of them are visible.
    modalities: Tensor | None = None

    @property
    def modality(self) -> Modality:
        """That of all its images. ValueError where they have several."""
        found = _places(self.modalities)
        if len(found) != 1:
            raise ValueError(f"expected a batch of one modality, got {', '.join(MODALITIES[place] for place in found)}")
        return MODALITIES[found[0]]

    def of(self, modality: Modality) -> Tensor:
        """Its images (n, 3, H, W) of one modality, in order; maybe none."""
        if self.modalities is None:
            return self.images if modality == MODALITIES[0] else self.images[:0]
        return self.images[self.modalities == MODALITIES.index(modality)]


class Loader(Protocol):
    """Training images by batch; the same every time it is asked."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every image, and of the perturbation."""
        ...

    @property
    def n_images(self) -> int:
        """How many images `everyone` gives."""
        ...

    @property
    def n_epoch(self) -> int:
        """How many images `epoch` gives."""
        ...

    def n_of(self, modality: Modality) -> int:
        """How many of those are of a modality."""
        ...

    def everyone(self) -> Iterable[Batch]:
        """Every training image once, in order."""
        ...

    def epoch(self, epoch: int) -> Iterable[Batch]:
        """The P x K batches of an epoch, counted from 0.

        Where the procedure alternates modalities each has one: visible, infrared, visible and so on, equally many.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a fit stands after an epoch: all that the next one depends on."""

    #: Finished epochs.
    epoch: int
    #: (3, H, W) float32 on the CPU, in [0, 1] pixel units.
    delta: Tensor
    #: Likewise, what the steps follow.
    velocity: Tensor
    #: The mean loss of the epoch; 0 before the first.
    loss: float = 0.0
    #: The share of entries that touch the ball.
    saturation: float = 0.0
    #: What it was one epoch before.
    saturation_before: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Procedure(ABC):
    """A way to fit one perturbation to many images; its fields are its parameters. Authors write `value`."""

    #: Whether it asks for batches of one modality each, by turns; it then needs images of both.
    alternates_modalities: ClassVar[bool] = False

    #: How much of the former steps is kept.
    momentum: float = 1.0

    def __post_init__(self) -> None:
        if self.momentum < 0:
            raise ValueError(f"momentum: expected at least 0, got {self.momentum}")

    def fit(
        self,
        loader: Loader,
        embedder: Embedder,
        *,
        epsilon: Fraction,
        epochs: int,
        seed: int = 0,
        state: State | None = None,
        advance: Callable[[float], None] = lambda units: None,  # noqa: ARG005
        on_epoch: Callable[[State], None] = lambda state: None,  # noqa: ARG005
    ) -> State:
        """Where the fit stands after `epochs`.

        Args:
            loader: training images.
            embedder: the model to mislead.
            epsilon: L-inf radius in [0, 1] pixel units.
            epochs: in all, those of `state` among them.
            seed: of every number that is drawn.
            state: go on from here; the result is that of a fit without a break.
            advance: told units of work (forwards of an image) as they are done; `work` says how many there are.
            on_epoch: told after each epoch.

        Raises:
            NonFiniteGradientError: a gradient with a NaN or an infinity.
        """
        now = state or self.begin(loader.size, seed)
        if now.epoch >= epochs:
            return now
        known = self.prepare(loader, embedder, seed, advance)
        while now.epoch < epochs:
            now = self._epoch(now, loader, embedder, known, epsilon, seed, advance)
            on_epoch(now)
        return now

    def work(self, loader: Loader, epochs: int) -> float:
        """Forwards of an image that so many epochs are worth."""
        return epochs * loader.n_epoch * (1 + _GRADIENT)

    def begin(self, size: tuple[int, int], seed: int) -> State:  # noqa: ARG002
        """The state before the first epoch: no perturbation."""
        zero = torch.zeros(3, *size)
        return State(epoch=0, delta=zero, velocity=zero)

    def prepare(
        self,
        loader: Loader,  # noqa: ARG002
        embedder: Embedder,  # noqa: ARG002
        seed: int,  # noqa: ARG002
        advance: Callable[[float], None],  # noqa: ARG002
    ) -> Any:
        """What `value` has to know of the training images beside its batch: a pure function of the arguments."""
        return None

    @abstractmethod
    def value(
        self, batch: Batch, clean: Tensor, perturbed: Tensor, embedder: Embedder, known: Any, lot: float
    ) -> Tensor:
        """What is minimised, a number, differentiable in the perturbed images.

        Args:
            batch: clean images, and who they show.
            clean: (B, D), their features.
            perturbed: (B, 3, H, W), the images with the perturbation, inside [0, 1].
            embedder: the model as it sees the batch, each row by the stream of its modality.
            known: from `prepare`.
            lot: a uniform number in [0, 1) of this step.
        """

    @abstractmethod
    def step_size(self, epsilon: Fraction, epoch: int) -> float:
        """The length of a step, in [0, 1] pixel units."""

    def normalised(self, gradient: Tensor) -> Tensor:
        """A gradient (3, H, W) over the sum of its absolute values, so that every batch counts alike."""
        return gradient / gradient.abs().sum().clamp_min(_TINY)

    def augmented(self, batch: Batch, seed: int, epoch: int, step: int) -> Batch:  # noqa: ARG002
        """The batch that a step is taken on: a pure function of the arguments."""
        return batch

    def before_epoch(self, state: State) -> Tensor:
        """The perturbation that an epoch starts with."""
        return state.delta

    def after_step(self, delta: Tensor, radius: float, epoch: int) -> Tensor:  # noqa: ARG002
        """The perturbation that the next step starts with."""
        return delta

    def _epoch(
        self,
        now: State,
        loader: Loader,
        embedder: Embedder,
        known: Any,
        epsilon: Fraction,
        seed: int,
        advance: Callable[[float], None],
    ) -> State:
        radius, size = float(epsilon), self.step_size(epsilon, now.epoch)
        delta, velocity = self.before_epoch(now), now.velocity
        total, n_steps = 0.0, 0
        for step, drawn in enumerate(loader.epoch(now.epoch)):
            batch = self.augmented(drawn, seed, now.epoch, step)
            delta, velocity = delta.to(batch.images), velocity.to(batch.images)
            view = seen_by(embedder, batch.modalities)
            with torch.no_grad():
                clean = view(batch.images)
            loss, gradient = self._slope(batch, clean, delta, view, known, lot_of(seed, now.epoch, step))
            velocity = self.momentum * velocity + self.normalised(gradient)
            delta = (delta - size * velocity.sign()).clamp(-radius, radius)
            delta = self.after_step(delta, radius, now.epoch)
            total, n_steps = total + loss, step + 1
            advance(len(batch.images) * (1 + _GRADIENT))
        return State(
            epoch=now.epoch + 1,
            delta=delta.cpu(),
            velocity=velocity.cpu(),
            loss=total / max(n_steps, 1),
            saturation=saturation(delta, radius),
            saturation_before=now.saturation,
        )

    def _slope(
        self, batch: Batch, clean: Tensor, delta: Tensor, embedder: Embedder, known: Any, lot: float
    ) -> tuple[float, Tensor]:
        leaf = delta.detach().clone().requires_grad_()
        with torch.enable_grad():
            loss = self.value(batch, clean, (batch.images + leaf).clamp(0, 1), embedder, known, lot)
        (gradient,) = torch.autograd.grad(loss, leaf)
        if not bool(torch.isfinite(gradient).all()):
            raise NonFiniteGradientError("the gradient of the perturbation is not finite")
        return float(loss.detach()), gradient


def seen_by(embedder: Embedder, modalities: Tensor | None) -> Embedder:
    """What a model is to the images of a batch: each row is embedded by the stream of its modality.

    A model without streams is handed back as it is.

    Args:
        embedder: the model.
        modalities: (B,) places in `MODALITIES`, in the order of the images; None where all of them are visible.
    """
    places = _places(modalities)
    streams = [seen_as(embedder, MODALITIES[place]) for place in places]
    if modalities is None or all(stream is streams[0] for stream in streams):
        return streams[0]
    rows = [(modalities == place).nonzero().flatten() for place in places]
    back = torch.cat(rows).argsort()

    def view(images: Tensor) -> Tensor:
        features = [stream(images[own]) for stream, own in zip(streams, rows, strict=True)]
        return torch.cat(features)[back]

    return view


def _places(modalities: Tensor | None) -> list[int]:
    """Which modalities there are, ascending."""
    return [0] if modalities is None else sorted({int(place) for place in modalities.tolist()})


def saturation(delta: Tensor, radius: float) -> float:
    """The share of entries that touch the ball."""
    return float((delta.abs() >= radius * (1 - _TOUCHES)).double().mean())


#: How near the ball is a touch, as a share of its radius.
_TOUCHES = 1e-6


def lot_of(seed: int, epoch: int, step: int) -> float:
    """A uniform number in [0, 1) of one step."""
    from ...models.training.chance import stream

    return float(stream(seed, "universal", epoch, step).random())
