"""The losses of both procedures against plain loops written from their equations, one image and one pair at a time."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, log, log2, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from robustreid.attacks.universal import MUAP, UAPRetrieval
from robustreid.attacks.universal.average_precision import histogram_precision, saturated, total_variation
from robustreid.attacks.universal.retrieval import label_loss, list_loss, pair_loss
from torch import Tensor

Array = NDArray[np.float64]


def drawn(*shape: int, seed: int = 0, unit: bool = True) -> Tensor:
    """Features, of unit length where asked."""
    found = torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))
    return torch.nn.functional.normalize(found, dim=1) if unit else found


@pytest.fixture(params=[True, False], ids=["cosine", "euclidean"])
def space(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Perturbed features, clean ones, centroids, and the order of the centroids from each clean feature."""
    clean, centroids = drawn(5, 4, seed=1, unit=request.param), drawn(9, 4, seed=2, unit=request.param)
    features = clean + 0.7 * drawn(5, 4, seed=3, unit=request.param)
    order = torch.cdist(clean, centroids).argsort(1)
    return features, clean, centroids, order


def distance(one: Array, other: Array) -> float:
    """Euclidean."""
    return sqrt(sum((a - b) ** 2 for a, b in zip(one.tolist(), other.tolist(), strict=True)))


def ranking(feature: Array, centroids: Array) -> list[int]:
    """Centroids from the nearest to the furthest."""
    return sorted(range(len(centroids)), key=lambda k: distance(feature, centroids[k]))


def plain_pair(features: Array, clean: Array, centroids: Array, margin: float, scale: float) -> float:
    """[d(f, far) - d(f, near) + m]_+, features times the scale."""
    total = 0.0
    for f, x in zip(features, clean, strict=True):
        order = ranking(x, centroids)
        near, far = (distance(scale * f, scale * centroids[order[place]]) for place in (0, -1))
        total += max(0.0, far - near + margin)
    return total / len(features)


def plain_label(features: Array, clean: Array, centroids: Array) -> float:
    """[z(own) - best other]_+."""
    total = 0.0
    for f, x in zip(features, clean, strict=True):
        own = ranking(x, centroids)[0]
        logits = [-(distance(f, centroid) ** 2) for centroid in centroids]
        total += max(0.0, logits[own] - max(z for k, z in enumerate(logits) if k != own))
    return total / len(features)


def plain_list(features: Array, clean: Array, centroids: Array, length: int) -> float:
    """LambdaRank on the reversed list, pair by pair."""
    total = 0.0
    for f, x in zip(features, clean, strict=True):
        order = ranking(x, centroids)
        listed = [order[round(place)] for place in np.linspace(0, len(order) - 1, length)]
        scores = [-distance(f, centroids[k]) for k in listed]
        gains = [place / (length - 1) for place in range(length)]
        ranks = [sum(other > score for other in scores) for score in scores]
        best = sum(gain / log2(2 + rank) for rank, gain in enumerate(reversed(gains)))
        for i in range(length):
            for j in range(length):
                if gains[i] > gains[j]:
                    before = gains[i] / log2(2 + ranks[i]) + gains[j] / log2(2 + ranks[j])
                    swapped = gains[i] / log2(2 + ranks[j]) + gains[j] / log2(2 + ranks[i])
                    total += abs(before - swapped) / best * log(1 + exp(scores[j] - scores[i]))
    return total / len(features)


def plain_precision(queries: Array, gallery: Array, identities: list[int], bins: int) -> float:
    """Sum over bins of the recall that a bin adds, times the precision up to it."""
    total = 0.0
    for q, own in zip(queries, identities, strict=True):
        n_right = sum(identity == own for identity in identities)
        right_so_far = all_so_far = precision = 0.0
        for m in range(bins):
            right_here = 0.0
            for g, identity in zip(gallery, identities, strict=True):
                d = distance(q / np.linalg.norm(q), g / np.linalg.norm(g))
                share = max(0.0, 1 - abs(d - 2 * m / (bins - 1)) / (2 / (bins - 1)))
                all_so_far += share
                right_here += share * (identity == own)
            right_so_far += right_here
            precision += right_here / n_right * (right_so_far / all_so_far if all_so_far else 0)
        total += precision
    return total / len(queries)


def plain_variation(images: Array) -> float:
    """Twice the squared differences of neighbours, in standard deviations, over how many a channel has."""
    _, _, height, width = images.shape
    total = 0.0
    for image in images:
        down = across = 0.0
        for channel, std in zip(image, (0.229, 0.224, 0.225), strict=True):
            for y in range(height):
                for x in range(width):
                    if y + 1 < height:
                        down += ((channel[y + 1, x] - channel[y, x]) / std) ** 2
                    if x + 1 < width:
                        across += ((channel[y, x + 1] - channel[y, x]) / std) ** 2
        total += 2 * (down / ((height - 1) * width) + across / (height * (width - 1)))
    return total / len(images)


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
Plain = Callable[[Array, Array, Array], float]


def ours(name: str, features: Tensor, centroids: Tensor, order: Tensor) -> Tensor:
    """One of the three losses."""
    if name == "pair":
        return pair_loss(features, centroids, order, margin=0.8, scale=10)
    if name == "label":
        return label_loss(features, centroids, order)
    return list_loss(features, centroids, order, 6)


PLAIN: dict[str, Plain] = {
    "pair": lambda f, x, c: plain_pair(f, x, c, 0.8, 10),
    "label": plain_label,
    "list": lambda f, x, c: plain_list(f, x, c, 6),
}


def assert_equal(name: str, space: tuple[Tensor, ...], order: Tensor) -> None:
    """The check: the value of the plain loop."""
    features, clean, centroids, _ = space
    expected = PLAIN[name](features.numpy(), clean.numpy(), centroids.numpy())
    assert float(ours(name, features, centroids, order)) == pytest.approx(expected, rel=1e-6)
    assert expected > 0


@pytest.mark.parametrize("name", PLAIN)
def test_the_three_losses(space: tuple[Tensor, ...], name: str) -> None:
    """Pair-wise, label-wise and list-wise, for unit features and others."""
    assert_equal(name, space, space[3])


@pytest.mark.parametrize("name", PLAIN)
def test_a_ranking_the_wrong_way_round_is_rejected(space: tuple[Tensor, ...], name: str) -> None:
    """The wrong twin: nearest and furthest exchanged, which would make retrieval better."""
    with pytest.raises(AssertionError):
        assert_equal(name, space, space[3].flip(1))


@pytest.mark.parametrize("name", PLAIN)
def test_descending_a_loss_reverses_the_neighbourhood(space: tuple[Tensor, ...], name: str) -> None:
    """Free features that follow the gradient end nearer to the furthest centroid, or out of the nearest one's reach."""
    _, clean, centroids, order = space
    features = clean.clone()
    for _ in range(300):
        leaf = features.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(ours(name, leaf, centroids, order), leaf)
        features = features - 0.05 * gradient
    before, after = torch.cdist(clean, centroids), torch.cdist(features, centroids)
    near = order[:, :1]
    assert (before.argmin(1) == near[:, 0]).all()
    if name == "label":
        # A hinge without a margin ends where the two are equally near.
        best_other = after.scatter(1, near, inf).amin(1)
        assert (best_other <= after.gather(1, near)[:, 0] + 0.05).all()
    else:
        assert (after.argmin(1) != near[:, 0]).all()


@pytest.mark.parametrize("bins", [2, 5, 25])
def test_histogram_precision(bins: int) -> None:
    """Against the plain loop, whatever the lengths of the features."""
    queries, gallery = drawn(7, 5, seed=4, unit=False), drawn(7, 5, seed=5, unit=False)
    identities = [3, 3, 8, 8, 8, 1, 1]
    found = float(histogram_precision(queries, gallery, torch.tensor(identities), bins))
    assert found == pytest.approx(plain_precision(queries.numpy(), gallery.numpy(), identities, bins), rel=1e-6)


def test_histogram_precision_is_that_of_the_ranking() -> None:
    """With many bins: 1 where all right images come first, small where they come last."""
    identities = torch.tensor([1, 1, 2, 2])
    apart = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]], dtype=torch.float64)
    assert float(histogram_precision(apart, apart, identities, 101)) == pytest.approx(1, abs=1e-4)
    assert float(histogram_precision(-apart, apart, identities, 101)) == pytest.approx(0.5, abs=1e-4)


def test_total_variation() -> None:
    """Against the plain loop; nothing for images of one colour."""
    images = torch.from_numpy(np.random.default_rng(0).random((2, 3, 5, 4)))
    assert float(total_variation(images)) == pytest.approx(plain_variation(images.numpy()), rel=1e-9)
    assert float(total_variation(torch.full((2, 3, 5, 4), 0.3))) == 0


def assert_saturates(rescale: Callable[[Tensor, float, float], Tensor]) -> None:
    """The check: the wanted share on the ball, no sign changed, nobody beyond it, order of sizes kept."""
    delta = 0.01 * torch.from_numpy(np.random.default_rng(1).standard_normal((3, 10, 10)))
    found = rescale(delta, 0.03, 0.8)
    assert float((found.abs() >= 0.03 * (1 - 1e-6)).double().mean()) == pytest.approx(0.8, abs=0.01)
    assert float(found.abs().max()) <= 0.03
    assert (found.sign() == delta.sign()).all()
    inside = found.abs() < 0.03 * (1 - 1e-6)
    ratio = found[inside] / delta[inside]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))


def test_saturation_is_rescaled() -> None:
    """One factor for all entries, so that 80 % of them end on the ball."""
    assert_saturates(saturated)


def test_saturation_by_the_largest_entry_is_rejected() -> None:
    """The wrong twin: scaled until the largest entry touches the ball."""
    with pytest.raises(AssertionError):
        assert_saturates(lambda delta, radius, _: delta * radius / delta.abs().max())


def test_what_is_saturated_or_empty_stays() -> None:
    """Enough entries on the ball, or hardly any that is not zero: nothing is to be scaled."""
    full = torch.full((3, 2, 2), 0.5)
    assert saturated(full, 0.5, 0.8) is full
    empty = torch.zeros(3, 2, 2)
    empty[0, 0, 0] = 0.1
    assert torch.equal(saturated(empty, 0.5, 0.8), empty)


@pytest.mark.parametrize(
    "procedure", [UAPRetrieval(clusters=5), MUAP()], ids=lambda procedure: type(procedure).__name__
)
def test_gradients(procedure: Any, make_people: Callable[..., Any], smooth_embedder: Any) -> None:
    """Of the whole loss in the perturbation, against finite differences."""
    people = make_people(3)
    known = procedure.prepare(people, smooth_embedder, 0, lambda _: None)
    batch = next(iter(people.epoch(0)))
    clean = smooth_embedder(batch.images)
    random = np.random.default_rng(0)
    delta = torch.from_numpy(0.05 * random.standard_normal((3, 9, 6))).requires_grad_()

    def value(delta: Tensor) -> Tensor:
        found: Tensor = procedure.value(batch, clean, batch.images + delta, smooth_embedder, known, 0.5)
        return found

    (gradient,) = torch.autograd.grad(value(delta), delta)
    for _ in range(5):
        way = torch.from_numpy(random.standard_normal((3, 9, 6)))
        with torch.no_grad():
            slope = float(value(delta + 1e-6 * way) - value(delta - 1e-6 * way)) / 2e-6
        assert float((gradient * way).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-7)
