"""What a training is asked to do, and what it is given to do it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .augment import Augment
from .metric_losses import MetricLoss

if TYPE_CHECKING:
    from torch import Tensor

#: The network of a moment, as what makes a batch harder sees it: `embed(images)` or `embed(images, modalities=...)`,
#: images (M, 3, H, W) in [0, 1] to features (M, D) as they are ranked, differentiable in the images. Modalities (M,)
#: int64 are left out where the images are the batch's, one for one, and where the batch has none.
Embed = Callable[..., "Tensor"]

OptimiserName = Literal["adam", "adamw"]
Precision = Literal["float32", "bfloat16"]


class TrainingSet(Protocol):
    """Labelled images that a model may learn from."""

    @property
    def identities(self) -> NDArray[np.int64]:
        """(N,) who is on the image."""
        ...

    @property
    def cameras(self) -> NDArray[np.int64]:
        """(N,) from which camera it is."""
        ...

    @property
    def modalities(self) -> NDArray[np.int64]:
        """(N,) what it was taken by, places in `MODALITIES`; all 0 where everything is visible."""
        ...

    def __len__(self) -> int: ...

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images (B, 3, H, W) uint8 RGB, all of one size."""
        ...


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images that are about to be learnt from."""

    #: (B, 3, H, W) float in [0, 1], augmented.
    images: Tensor
    #: (B,) int64, from 0: who is on them.
    classes: Tensor
    #: (B,) int64: which images of the training set they are.
    places: NDArray[np.int64]
    #: (B,) int64, what they were taken by; None stands for visible images.
    modalities: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Hardened:
    """What an adversary made of a batch."""

    #: (M, 3, H, W) in [0, 1].
    images: Tensor
    #: (M,) int64: the image of the batch that each was made of.
    sources: Tensor
    #: Whether these are a positive for every image of the batch, and then a negative for every one (M = 2 B): the
    #: triplet loss is then over those, the clean images being the anchors.
    is_triplets: bool = False


class Perturb(Protocol):
    """What makes a batch harder before it is learnt from."""

    def __call__(self, embed: Embed, batch: Batch, step: int) -> Hardened:
        """Changed images, as a pure function of the arguments.

        Args:
            embed: the network in evaluation mode, its normalisation inside, its weights frozen.
            batch: what is to be learnt from.
            step: from 0 over all epochs.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a network is trained. Every number is checked by who reads it from a file."""

    seed: int = 0
    epochs: int = 40
    #: P, identities a batch.
    identities: int = 16
    #: K, images of each; half of each modality where the set has two.
    images: int = 4
    #: How often an epoch goes over all identities.
    rounds: int = 1
    optimiser: OptimiserName = "adamw"
    #: The highest learning rate: reached linearly over the warm-up, left along a cosine down to 0.
    learning_rate: float = 2e-3
    weight_decay: float = 5e-4
    #: In epochs; a part of one counts.
    warmup_epochs: float = 2.0
    #: Weight of the softmax loss over the training identities.
    softmax: float = 1.0
    label_smoothing: float = 0.1
    #: Weight of the batch-hard triplet loss.
    triplet: float = 1.0
    #: Its margin in units of distance; None is the soft margin.
    margin: float | None = 0.3
    #: BNNeck (Luo et al., CVPRW 2019): softmax behind the batch norm that the network ends in, the triplet loss before
    #: it, by unnormalised Euclidean distance; that batch norm has no shift.
    bnneck: bool = False
    #: Weight of AGW's weighted regularised triplet loss.
    weighted: float = 0.0
    #: A loss of pytorch-metric-learning beside those.
    metric_loss: MetricLoss | None = None
    augment: Augment = field(default_factory=Augment)
    #: With a `Perturb`: the loss is (1 - share) of the clean batch's and share of the perturbed one's.
    share: float = 1.0
    #: With a `Perturb`: weight of the mean of ||f(perturbed) - f(clean)||^2, f(clean) held fixed.
    preserve: float = 0.0
    #: Decay a step of the running average of the weights that is handed out; None hands out the last weights.
    average: float | None = None
    #: What the network's passes are computed in; weights, losses and steps are float32 either way. bfloat16 nearly
    #: halves the time on a CPU or GPU that has it.
    precision: Precision = "float32"


@dataclass(frozen=True, kw_only=True)
class EpochSummary:
    """Means over the steps of one epoch; what was not computed is None."""

    #: From 1.
    epoch: int
    loss: float
    softmax_clean: float | None
    triplet_clean: float | None
    accuracy_clean: float | None
    softmax_perturbed: float | None
    triplet_perturbed: float | None
    accuracy_perturbed: float | None
    preserve: float | None
    #: Of the last step.
    learning_rate: float
    seconds: float
    images_per_second: float
    #: The loss of pytorch-metric-learning.
    metric_clean: float | None = None
    metric_perturbed: float | None = None
    #: AGW's weighted triplet loss.
    weighted_clean: float | None = None
    weighted_perturbed: float | None = None
    #: Of people who are kept out of training, fractions; attacked: the least over the attacks.
    mAP_clean: float | None = None  # noqa: N815 (the column's name)
    mAP_attacked: float | None = None  # noqa: N815
