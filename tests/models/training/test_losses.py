"""The triplet loss against a plain loop, a known answer and its own slope; softmax against its definition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from robustreid import UserError
from robustreid.models.training.losses import hardest, softmax_loss, triplet_loss, weighted_loss
from robustreid.models.training.metric_losses import LOSSES, MINERS, MetricLoss
from torch import Tensor
from torch.nn import functional as F


def plain_triplet(features: Tensor, identities: Tensor, margin: float | None) -> float:
    """Hermans et al.'s equation 5, one anchor and one pair at a time, in float64."""
    rows, who = features.double(), identities.tolist()
    losses = []
    for a in range(len(who)):
        positives = [float((rows[a] - rows[p]).norm()) for p in range(len(who)) if p != a and who[p] == who[a]]
        negatives = [float((rows[a] - rows[n]).norm()) for n in range(len(who)) if who[n] != who[a]]
        if positives and negatives:
            gap = torch.tensor(max(positives) - min(negatives))
            losses.append(float(F.softplus(gap) if margin is None else (gap + margin).clamp_min(0)))
    return sum(losses) / max(1, len(losses))


def _batch(seed: int, *, unit: bool) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    features = 3 * torch.randn(20, 5, generator=random)
    identities = torch.randint(0, 6, (20,), generator=random)
    return F.normalize(features, dim=1) if unit else features, identities


def check_triplet(loss: Callable[[Tensor, Tensor, float | None], Tensor]) -> None:
    """What any batch-hard triplet loss must give."""
    for seed in range(6):
        features, identities = _batch(seed, unit=seed % 2 == 0)
        for margin in (None, 0.0, 0.3, 5.0):
            expected = plain_triplet(features, identities, margin)
            assert float(loss(features, identities, margin)) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def easiest_triplet(features: Tensor, identities: Tensor, margin: float | None) -> Tensor:
    """The planted bug: the nearest positive and the furthest negative."""
    distances = torch.cdist(features, features)
    same = identities[:, None] == identities[None, :]
    others = same & ~torch.eye(len(features), dtype=torch.bool)
    gap = distances.masked_fill(~others, torch.inf).amin(1) - distances.masked_fill(same, -torch.inf).amax(1)
    gap = gap[others.any(1)]
    return (F.softplus(gap) if margin is None else (gap + margin).clamp_min(0)).mean()


def squared_triplet(features: Tensor, identities: Tensor, margin: float | None) -> Tensor:
    """The planted bug: squared distances."""
    positive, negative, counts = hardest(features, identities)
    gap = (features - features[positive]).square().sum(1) - (features - features[negative]).square().sum(1)
    gap = gap[counts]
    return (F.softplus(gap) if margin is None else (gap + margin).clamp_min(0)).mean()


def test_triplet_is_the_plain_loop() -> None:
    """Hard pairs, margins and anchors without a positive are those of the definition."""
    check_triplet(triplet_loss)


@pytest.mark.parametrize("wrong", [easiest_triplet, squared_triplet])
def test_a_wrong_triplet_is_rejected(wrong: Callable[[Tensor, Tensor, float | None], Tensor]) -> None:
    """The check above sees the easiest pairs in place of the hardest, and squared distances."""
    with pytest.raises(AssertionError):
        check_triplet(wrong)


def plain_weighted(features: Tensor, identities: Tensor) -> float:
    """AGW's equation 5, one anchor at a time, in float64."""
    rows, who = features.double(), identities.tolist()
    losses = []
    for a in range(len(who)):
        to = torch.stack([(rows[a] - row).norm() for row in rows])
        near = torch.tensor([p != a and who[p] == who[a] for p in range(len(who))])
        far = torch.tensor([other != who[a] for other in who])
        if near.any() and far.any():
            positive = (to[near].exp() / to[near].exp().sum() * to[near]).sum()
            negative = ((-to[far]).exp() / (-to[far]).exp().sum() * to[far]).sum()
            losses.append(float(torch.log1p((positive - negative).exp())))
    return sum(losses) / max(1, len(losses))


def check_weighted(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """What AGW's weighted triplet loss must give."""
    for seed in range(6):
        features, identities = _batch(seed, unit=seed % 2 == 0)
        assert float(loss(features, identities)) == pytest.approx(plain_weighted(features, identities), rel=1e-5)


def unweighted(features: Tensor, identities: Tensor) -> Tensor:
    """The planted bug: plain means."""
    distances = torch.cdist(features, features)
    same = identities[:, None] == identities[None, :]
    others = same & ~torch.eye(len(features), dtype=torch.bool)
    gap = (distances * others).sum(1) / others.sum(1) - (distances * ~same).sum(1) / (~same).sum(1)
    return F.softplus(gap[others.any(1)]).mean()


def batch_hard(features: Tensor, identities: Tensor) -> Tensor:
    """The planted bug: only the hardest pair counts."""
    return triplet_loss(features, identities, None)


def test_weighted_is_the_plain_loop() -> None:
    """Weights, and anchors without a positive, are those of the definition; its slope is that of its values."""
    check_weighted(weighted_loss)
    for wrong in (unweighted, batch_hard):
        with pytest.raises(AssertionError):
            check_weighted(wrong)
    features, identities = _batch(0, unit=False)
    assert torch.autograd.gradcheck(lambda f: weighted_loss(f, identities), features.double().requires_grad_())


def test_weighted_counts_nobody_where_there_is_nobody() -> None:
    """A batch of one identity, and one of strangers, is 0 and has a slope of 0; so have images that are the same."""
    features = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for identities in (torch.zeros(4), torch.arange(4)):
        loss = weighted_loss(features, identities)
        assert loss.detach() == 0
        assert not torch.autograd.grad(loss, features)[0].any()
    twice = features.detach()[[0, 0, 1, 1]].requires_grad_()
    (slope,) = torch.autograd.grad(weighted_loss(twice, torch.tensor([0, 0, 1, 1])), twice)
    assert slope.isfinite().all()


def test_triplet_has_a_known_answer() -> None:
    """Four points on a line: 0 and 2 of one person, 3 and 7 of another, margin 1/2."""
    features = torch.tensor([[0.0], [2.0], [3.0], [7.0]])
    identities = torch.tensor([5, 5, 8, 8])
    # Hardest positive and negative: 2 and 3; 2 and 1; 4 and 1; 4 and 5.
    expected = (0 + 1.5 + 3.5 + 0) / 4
    assert expected == float(triplet_loss(features, identities, 0.5))


@pytest.mark.parametrize("margin", [None, 0.3])
def test_triplet_has_the_right_slope(margin: float | None) -> None:
    """Its gradient is that of finite differences, and finite where two images are one."""
    features, identities = _batch(1, unit=False)
    leaf = features.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: triplet_loss(rows, identities, margin), (leaf,))
    twins = torch.zeros(4, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(triplet_loss(twins, torch.tensor([0, 0, 1, 1]), margin), twins)
    assert torch.isfinite(slope).all()


def test_a_batch_of_one_person_teaches_nothing() -> None:
    """Without any negative there is no triplet and no NaN."""
    assert float(triplet_loss(torch.randn(4, 3), torch.zeros(4, dtype=torch.int64), 0.3)) == 0.0


def test_softmax_smooths_over_all_classes() -> None:
    """(1 - s) of the target's and s of the mean of all negative log-probabilities."""
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    negative = -torch.log_softmax(logits, 1)[0]
    expected = 0.9 * negative[0] + 0.1 * negative.mean()
    assert float(softmax_loss(logits, torch.tensor([0]), 0.1)) == pytest.approx(float(expected))


def _value(loss: MetricLoss, features: Tensor, identities: Tensor) -> float:
    return float(loss.build()(features, identities))


@pytest.mark.parametrize("name", LOSSES)
def test_every_named_loss_learns(name: str) -> None:
    """Each is made by its name, gives a finite number with a slope, and the same number twice."""
    pytest.importorskip("pytorch_metric_learning")
    features, _ = _batch(3, unit=True)
    identities = torch.arange(10).repeat(2)
    leaf = features.clone().requires_grad_()
    value = MetricLoss(name=name).build()(leaf, identities)
    (slope,) = torch.autograd.grad(value, leaf)
    assert torch.isfinite(value)
    assert torch.isfinite(slope).all()
    assert slope.any()
    assert float(value.detach()) == _value(MetricLoss(name=name), features, identities)


@pytest.mark.parametrize("name", MINERS)
def test_every_named_miner_chooses(name: str) -> None:
    """Each is made by its name and works with a loss of pairs or triplets."""
    pytest.importorskip("pytorch_metric_learning")
    features, identities = _batch(3, unit=True)
    value = _value(MetricLoss(name="TripletMarginLoss", miner=name), features, identities)
    assert value >= 0


def test_their_batch_hard_triplets_are_ours() -> None:
    """Two implementations of one definition agree, where every anchor has a positive; another margin does not."""
    pytest.importorskip("pytorch_metric_learning")
    features, _ = _batch(4, unit=True)
    identities = torch.arange(5).repeat(4)
    # Their mean leaves out triplets that are zero: with this margin there are none.
    theirs = MetricLoss(name="TripletMarginLoss", miner="BatchHardMiner", parameters={"margin": 3.0})
    assert _value(theirs, features, identities) == pytest.approx(float(triplet_loss(features, identities, 3.0)))
    other = MetricLoss(name="TripletMarginLoss", miner="BatchHardMiner", parameters={"margin": 2.9})
    assert _value(other, features, identities) != pytest.approx(float(triplet_loss(features, identities, 3.0)))


def test_a_wrong_parameter_is_said() -> None:
    """One sentence with the name and what was given."""
    pytest.importorskip("pytorch_metric_learning")
    with pytest.raises(UserError, match=r"CircleLoss .* does not take \{'marge': 1\}"):
        MetricLoss(name="CircleLoss", parameters={"marge": 1}).build()
    with pytest.raises(UserError, match="TripletMarginLoss draws its triplets at random"):
        MetricLoss(name="TripletMarginLoss", parameters={"triplets_per_anchor": 3}).build()
