"""Model, objective and references bound into one function of the images, which never computes a thing twice.

Sharing between epsilons and attacks needs no bookkeeping in the optimisers: where two of them ask for the gradient at
the same images of the same batch, the second gets the first one's. Equal input, equal output: exact by construction.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..models.base import Embedder
from ..models.passing import sampled
from .draw import Draw
from .memo import Memo
from .objectives import Objective
from .references import References
from .transforms import Lens


class NonFiniteGradientError(ArithmeticError):
    """A gradient with a NaN or an infinity: no step can be taken from it."""


@dataclass(frozen=True)
class Passes:
    """Image passes: those an attack needs by itself (comparable between papers), and those spent after sharing.

    A gradient is a forward and a backward.
    """

    forwards: int = 0
    backwards: int = 0
    forwards_spent: int = 0
    backwards_spent: int = 0

    def __sub__(self, other: Passes) -> Passes:
        return Passes(
            self.forwards - other.forwards,
            self.backwards - other.backwards,
            self.forwards_spent - other.forwards_spent,
            self.backwards_spent - other.backwards_spent,
        )

    def __add__(self, other: Passes) -> Passes:
        return Passes(
            self.forwards + other.forwards,
            self.backwards + other.backwards,
            self.forwards_spent + other.forwards_spent,
            self.backwards_spent + other.backwards_spent,
        )


class FeatureMemo:
    """Features of one batch by its images; shared by every loss of the batch and by the scoring."""

    def __init__(self, embedder: Embedder, n_real: int) -> None:
        """Bind the model; `n_real` images of the batch count, the rest is padding."""
        self.embedder = embedder
        self.n_real = n_real
        #: What was asked for and spent so far on this batch.
        self.passes = Passes()
        #: What is known of the batch: features without a name, gradients under that of their loss.
        self.memo = Memo()
        self._names = itertools.count()

    def name(self) -> Hashable:
        """Another name at each call, for what a loss keeps."""
        return next(self._names)

    def features(self, images: Tensor) -> Tensor:
        """Features (B, D) without gradient; the images of an earlier call, or of a gradient, cost nothing."""
        known = self.memo.get(key := self.memo.key(images), images)
        self.passes += Passes(forwards=self.n_real, forwards_spent=self.n_real if known is None else 0)
        if known is not None:
            return known[0]
        with torch.no_grad():
            found = self.embedder(images)
        self.memo.put(key, images, found)
        return found

    def remember(self, key: int, images: Tensor, features: Tensor) -> None:
        """Keep features that a gradient pass computed; `key` is that of the images."""
        if self.memo.get(key, images) is None:
            self.memo.put(key, images, features)


#: Which step of which restart a gradient is taken for; it decides what is drawn, where anything is.
Moment = tuple[int, int]


class Loss:
    """`loss(images) -> (B,)`, maximised; differentiable, and with gradients that are shared."""

    def __init__(
        self,
        memo: FeatureMemo,
        objective: Objective,
        references: References,
        *,
        clean: Tensor | None = None,
        lens: Lens | None = None,
        draw: Draw | None = None,
    ) -> None:
        """Bind an objective and the references of a batch to a model.

        Args:
            memo: the model, and what is known of its features.
            objective: what is maximised.
            references: of the batch.
            clean: (B, 3, H, W), the images before the attack; for objectives that look at changed copies of them.
            lens: what stands between the images and the model while gradients are taken.
            draw: the batch's random numbers; for objectives and lenses that draw.
        """
        self._features = memo
        self._objective = objective
        self._references = references
        self._clean = clean
        self._lens = lens or Lens()
        self._draw = draw
        self._name = memo.name()

    @property
    def passes(self) -> Passes:
        """What was asked for and spent so far on this batch."""
        return self._features.passes

    @property
    def n_real(self) -> int:
        """How many images of the batch count, the first ones; the rest is padding."""
        return self._features.n_real

    @property
    def objective(self) -> Objective:
        """What is maximised."""
        return self._objective

    @property
    def references(self) -> References:
        """Those of the batch."""
        return self._references

    @property
    def is_random(self) -> bool:
        """Whether a gradient depends on the step that it is taken for."""
        return self._lens.is_random or self._objective.moves

    def __call__(self, images: Tensor) -> Tensor:
        """Values (B,), larger being better for the adversary; differentiable where `images` require a gradient."""
        if not images.requires_grad:
            return self._objective(self._features.features(images), self._references)
        return self._objective(self.embed(images, self.n_real), self._references)

    def embed(self, images: Tensor, count: int) -> Tensor:
        """Features (B, D) as they come, nothing shared or remembered; `count` of the images (B, 3, H, W) are counted.

        Differentiable where `images` require a gradient; each backward pass is counted as well.
        """
        self._features.passes += Passes(forwards=count, forwards_spent=count)
        features = self._features.embedder(images)

        def count_backward(gradient: Tensor) -> None:  # noqa: ARG001
            self._features.passes += Passes(backwards=count, backwards_spent=count)

        if features.requires_grad:
            features.register_hook(count_backward)  # type: ignore[no-untyped-call]
        return features

    def gradient(self, images: Tensor, moment: Moment = (0, 0)) -> Tensor:
        """The gradient (B, C, H, W) of the summed loss, zero on padding; the images of an earlier call cost nothing.

        Args:
            images: (B, 3, H, W) in [0, 1].
            moment: restart and step.

        Raises:
            NonFiniteGradientError: a NaN or an infinity.
        """
        return self.slope(images, moment)[1]

    def slope(self, images: Tensor, moment: Moment = (0, 0)) -> tuple[Tensor, Tensor]:
        """Values (B,) and gradient (B, C, H, W) in one pass; those of a lens are what was seen through it."""
        memo = self._features.memo
        key, name = memo.key(images), (self._name, moment if self.is_random else None)
        n_real, samples = self._features.n_real, self._lens.samples
        known = memo.get(key, images, name)
        asked = samples * n_real
        spent = asked if known is None else 0
        self._features.passes += Passes(asked, asked, spent, spent)
        references = self._references
        if self._objective.moves:
            view = self._objective.view(self._known_clean, self._uniform("view", moment))
            references = replace(references, clean=self._features.features(view))
        if known is not None:
            value, found = known
            return value, found
        value, found = self._sample(images, references, moment, 0)
        for sample in range(1, samples):
            other, more = self._sample(images, references, moment, sample)
            value, found = value + other, found + more
        if samples > 1:
            value, found = value / samples, found / samples
        found = self._lens.gradient(found)
        found[n_real:] = 0
        # A sum is one pass, and finite only where all is; a sum that merely overflows is looked at more closely.
        if not bool(torch.isfinite(found.sum())) and not bool(torch.isfinite(found).all()):
            raise NonFiniteGradientError("the gradient of the objective is not finite")
        memo.put(key, images, value, found, name=name)
        return value, found

    def _sample(self, images: Tensor, references: References, moment: Moment, sample: int) -> tuple[Tensor, Tensor]:
        leaf = images.detach().clone().requires_grad_()
        with torch.enable_grad():
            seen = leaf
            if self._lens.transforms:
                seen = self._lens.images(leaf, lambda place, shape: self._uniform(f"{place}.{sample}", moment)(shape))
            # One gradient is taken by the draws that score; several are those of an adversary who does not know them.
            with sampled(sample + 1 if self._lens.samples > 1 else 0):
                features = self._features.embedder(seen)
            values = self._objective(features, references)
            total = values.sum()
        # A model that cuts the graph (a decoder, rounding without a gradient) has the gradient that it hands out: none.
        (found,) = torch.autograd.grad(total, leaf, allow_unused=True) if total.requires_grad else (None,)
        if found is None:
            found = torch.zeros_like(leaf)
        if not self._lens.transforms and self._lens.samples == 1:
            self._features.remember(self._features.memo.key(images), images, features.detach())
        return values.detach(), found

    def _uniform(self, purpose: str, moment: Moment) -> Callable[[Sequence[int]], Tensor]:
        if self._draw is None:
            raise ValueError("expected a draw: the objective or the lens draws random numbers")
        draw, like = self._draw.meant_for(purpose), self._known_clean
        return lambda shape: draw.rows(*moment, shape).to(device=like.device)

    @property
    def _known_clean(self) -> Tensor:
        if self._clean is None:
            raise ValueError("expected the clean images: the objective or the lens looks at them")
        return self._clean
