"""The loss of a batch against a plain loop and finite differences; planted bugs of adversarial training are seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from robustreid.models.training import batch_loss as module
from robustreid.models.training.batch_loss import Part, batch_loss
from robustreid.models.training.losses import triplets_loss
from robustreid.models.training.metric_losses import MetricLoss
from robustreid.models.training.plan import Plan
from torch import Tensor
from torch.nn import functional as F

Triplets = Callable[[Tensor, Tensor, Tensor, float | None], Tensor]


def _features(n: int = 6, seed: int = 0, dimension: int = 4) -> Tensor:
    return torch.randn(n, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_triplets(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float | None) -> float:
    """One triplet at a time."""
    losses = []
    for a, p, n in zip(anchor, positive, negative, strict=True):
        gap = (a - p).norm() - (a - n).norm()
        losses.append(float(F.softplus(gap) if margin is None else max(gap + margin, torch.tensor(0.0))))
    return sum(losses) / len(losses)


def check_triplets(loss: Triplets) -> None:
    """What a loss over given triplets must give."""
    for margin in (None, 0.0, 0.3, 2.0):
        a, p, n = (_features(seed=seed) for seed in (1, 2, 3))
        assert float(loss(a, p, n, margin)) == pytest.approx(plain_triplets(a, p, n, margin))


def test_given_triplets_are_the_plain_loop() -> None:
    """Hinge and soft margin."""
    check_triplets(triplets_loss)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda a, p, n, margin: triplets_loss(n, p, a, margin),
        lambda a, p, n, margin: triplets_loss(a, n, p, margin),
        lambda a, p, n, margin: triplets_loss(a, p, n, None if margin is None else -margin),
        lambda a, p, n, margin: triplets_loss(a**2, p**2, n**2, margin),
    ],
    ids=["anchor and negative exchanged", "positive and negative exchanged", "the margin's sign", "squares"],
)
def test_wrong_triplets_are_rejected(wrong: Triplets) -> None:
    """The check sees images exchanged and a margin with the wrong sign."""
    with pytest.raises(AssertionError):
        check_triplets(wrong)


@pytest.mark.parametrize("margin", [None, 0.3])
def test_given_triplets_have_the_right_slope(margin: float | None) -> None:
    """Finite differences agree in all three."""
    leaves = [_features(seed=seed).requires_grad_() for seed in (1, 2, 3)]
    assert torch.autograd.gradcheck(lambda a, p, n: triplets_loss(a, p, n, margin), leaves)


def _parts(names: tuple[str, ...], *, sizes: Mapping[str, int] | None = None, seed: int = 0) -> dict[str, Part]:
    found = {}
    for index, name in enumerate(names):
        n = (sizes or {}).get(name, 6)
        ranked = F.normalize(_features(n, seed + index), dim=1)
        compared = 2 * _features(n, seed + 10 + index)
        logits = _features(n, seed + 20 + index, dimension=3)
        found[name] = Part(logits=logits, ranked=ranked, compared=compared, classes=torch.arange(n) % 3)
    return found


def plain_batch(plan: Plan, parts: Mapping[str, Part], share: float) -> float:
    """(1 - share) of the clean loss, share of the perturbed one, and the distance that features moved."""
    total = 0.0
    for name, part in parts.items():
        log = torch.log_softmax(part.logits, 1)
        smooth = plan.label_smoothing
        softmax = sum(
            -(1 - smooth) * float(log[i, c]) - smooth * float(log[i].mean()) for i, c in enumerate(part.classes)
        ) / len(log)
        gaps = []
        for i, own in enumerate(part.classes.tolist()):
            d = [float((part.compared[i] - row).norm()) for row in part.compared]
            same = [d[j] for j, c in enumerate(part.classes.tolist()) if c == own and j != i]
            other = [d[j] for j, c in enumerate(part.classes.tolist()) if c != own]
            gaps.append(max(0.0, max(same) - min(other) + (plan.margin or 0.0)))
        weight = share if name == "perturbed" else 1 - share
        total += weight * (plan.softmax * softmax + plan.triplet * sum(gaps) / len(gaps))
    if "perturbed" in parts and "clean" in parts:
        moved = parts["perturbed"].ranked - parts["clean"].ranked
        total += plan.preserve * sum(float(row.square().sum()) for row in moved) / len(moved)
    return total


def test_a_further_loss_counts_with_its_weight() -> None:
    """On both parts, each with its share, on what triplets compare."""
    parts = _parts(("clean", "perturbed"))
    plain, _ = batch_loss(Plan(margin=0.3), parts, share=0.25)
    plan = Plan(margin=0.3, metric_loss=MetricLoss(name="CircleLoss", weight=3.0))
    loss, found = batch_loss(plan, parts, share=0.25, metric=lambda features, _: features.square().mean())
    clean, perturbed = (float(parts[name].compared.square().mean()) for name in ("clean", "perturbed"))
    assert float(found["metric_clean"]) == pytest.approx(clean)
    assert float(loss - plain) == pytest.approx(3 * (0.75 * clean + 0.25 * perturbed))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_loss_of_a_batch_is_the_plain_loop(share: float) -> None:
    """Softmax, triplets and what is preserved, each with its weight."""
    plan = Plan(softmax=1.5, triplet=0.5, margin=0.4, preserve=2.0, label_smoothing=0.1)
    parts = _parts(("clean", "perturbed"))
    loss, found = batch_loss(plan, parts, share=share)
    assert float(loss) == pytest.approx(plain_batch(plan, parts, share))
    other = plain_batch(plan, {"clean": parts["perturbed"], "perturbed": parts["clean"]}, share)
    assert (share == 0.5) == (float(loss) == pytest.approx(other))
    assert {"softmax_clean", "triplet_perturbed", "accuracy_clean", "preserve"} <= found.keys()


def test_clean_features_are_not_pulled_along() -> None:
    """What is preserved moves the perturbed features alone: the clean ones get no gradient of it."""
    plan = Plan(softmax=0.0, triplet=0.0, preserve=1.0)
    clean, perturbed = (_features(seed=seed).requires_grad_() for seed in (1, 2))
    parts = {
        name: Part(logits=torch.zeros(6, 3).double(), ranked=rows, compared=rows, classes=torch.arange(6) % 3)
        for name, rows in (("clean", clean), ("perturbed", perturbed))
    }
    batch_loss(plan, parts, share=0.5)[0].backward()  # type: ignore[no-untyped-call]
    assert clean.grad is None or not clean.grad.any()
    assert perturbed.grad is not None
    assert torch.allclose(perturbed.grad, 2 * (perturbed - clean).detach() / 6)


def test_collapse_compares_clean_anchors_with_what_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anchors are the clean images; the first half of the rest are positives. Exchanged halves are another loss."""
    plan = Plan(softmax=0.0, triplet=1.0, margin=0.3)
    parts = _parts(("clean", "perturbed"), sizes={"clean": 6, "perturbed": 12})
    made = parts["perturbed"].compared
    expected = plain_triplets(parts["clean"].compared, made[:6], made[6:], 0.3)
    loss, found = batch_loss(plan, parts, share=1.0, is_triplets=True)
    assert float(loss) == pytest.approx(expected) == float(found["triplet_perturbed"])
    monkeypatch.setattr(module, "triplets_loss", lambda a, p, n, margin: triplets_loss(a, n, p, margin))
    assert float(batch_loss(plan, parts, share=1.0, is_triplets=True)[0]) != pytest.approx(expected)
