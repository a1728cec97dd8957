"""The loss of one batch: what is clean, what an adversary made of it, and how the two are weighed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .losses import softmax_loss, triplet_loss, triplets_loss, weighted_loss
from .plan import Plan

#: What a loss may be made of, by the names of `EpochSummary`.
PARTS = (
    *("softmax_clean", "triplet_clean", "accuracy_clean", "metric_clean", "weighted_clean"),
    *("softmax_perturbed", "triplet_perturbed", "accuracy_perturbed", "metric_perturbed", "weighted_perturbed"),
    "preserve",
)

#: Features (M, D) and classes (M,) to a scalar.
Metric = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Part:
    """The images of a batch that are of one kind, passed through the network."""

    #: (M, C), one column a training identity.
    logits: Tensor
    #: (M, D), as they are ranked.
    ranked: Tensor
    #: (M, D), as the triplet losses compare them: those, or what stands before the neck.
    compared: Tensor
    #: (M,) int64.
    classes: Tensor


def batch_loss(
    plan: Plan,
    parts: Mapping[str, Part],
    *,
    share: float,
    is_triplets: bool = False,
    metric: Metric | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, a scalar, and what it is made of, by the names of `EpochSummary`.

    Args:
        plan: the weights.
        parts: `clean` (B images), `perturbed`, or both.
        share: of the loss that is the perturbed part's.
        is_triplets: the perturbed part is B positives and B negatives of the clean images (see `Hardened`).
        metric: the plan's loss of pytorch-metric-learning, made.
    """
    shares = {"clean": 1 - share, "perturbed": share}
    total = next(iter(parts.values())).logits.new_zeros(())
    found: dict[str, Tensor] = {}
    for name, part in parts.items():
        softmax = softmax_loss(part.logits, part.classes, plan.label_smoothing)
        total = total + shares[name] * plan.softmax * softmax
        found[f"softmax_{name}"] = softmax.detach()
        found[f"accuracy_{name}"] = (part.logits.detach().argmax(1) == part.classes).float().mean()
        if not is_triplets:
            triplet = triplet_loss(part.compared, part.classes, plan.margin)
            total = total + shares[name] * plan.triplet * triplet
            found[f"triplet_{name}"] = triplet.detach()
        if plan.weighted and not is_triplets:
            weighted = weighted_loss(part.compared, part.classes)
            total = total + shares[name] * plan.weighted * weighted
            found[f"weighted_{name}"] = weighted.detach()
        if metric and plan.metric_loss:
            value = metric(part.compared, part.classes)
            total = total + shares[name] * plan.metric_loss.weight * value
            found[f"metric_{name}"] = value.detach()
    if is_triplets:
        positive, negative = parts["perturbed"].compared.chunk(2)
        triplet = triplets_loss(parts["clean"].compared, positive, negative, plan.margin)
        total = total + plan.triplet * triplet
        found["triplet_perturbed"] = triplet.detach()
    if plan.preserve and "perturbed" in parts:
        moved = parts["perturbed"].ranked - parts["clean"].ranked.detach()
        preserve = moved.square().sum(1).mean()
        total = total + plan.preserve * preserve
        found["preserve"] = preserve.detach()
    return total, found
