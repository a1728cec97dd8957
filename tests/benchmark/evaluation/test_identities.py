"""Ranks among identities: expectations over tied orders against exact fractions, and what is refused."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from robustreid.benchmark.evaluation import CUTOFFS, PROTOCOLS, Labels, identities, rank
from robustreid.benchmark.evaluation.identities import IdentityRanks


def tied(positives: int, images: Sequence[int], nearer: int = 0) -> IdentityRanks:
    """One query, whose identity ties with others."""
    return IdentityRanks(
        nearer=np.array([nearer]),
        tied_positives=np.array([positives]),
        query=np.zeros(len(images), dtype=np.int64),
        tied_images=np.array(images, dtype=np.int64),
    )


def by_drawing(positives: int, images: tuple[int, ...]) -> list[Fraction]:
    """The chance of each rank of the own identity: the next new identity is drawn by the images that it has."""
    total = positives + sum(images)
    chances = [Fraction(positives, total)]
    chances += [Fraction(0)] * len(images)
    for place, count in enumerate(images):
        rest = by_drawing(positives, images[:place] + images[place + 1 :])
        for rank_before, chance in enumerate(rest):
            chances[rank_before + 1] += Fraction(count, total) * chance
    return chances


@pytest.mark.parametrize("nearer", [0, 1, 4, 19, 20])
@pytest.mark.parametrize(
    ("positives", "images"),
    [
        (1, ()),
        (2, (1,)),
        (1, (1, 1, 1, 1, 1, 1)),
        (3, (1, 2, 4)),
        (1, (9, 1, 5, 2, 2)),
        (40, (1, 60, 3)),
        (200, (1, 1)),
    ],
)
def test_expectations_are_those_of_drawing_one_by_one(positives: int, images: tuple[int, ...], nearer: int) -> None:
    """Ranks and hits of identities with any number of images, after none or some nearer ones."""
    chances = by_drawing(positives, images)
    found = tied(positives, images, nearer)
    expected = sum((place + 1 + nearer) * chance for place, chance in enumerate(chances))
    assert found.ranks().tolist() == pytest.approx([float(expected)], rel=1e-14)
    hits = [float(sum(chances[: max(0, cutoff - nearer)])) for cutoff in CUTOFFS]
    assert np.concatenate(found.hits(CUTOFFS)).tolist() == pytest.approx(hits, abs=1e-13)
    ends = found.optimistic(), found.pessimistic()
    for end, first in zip(ends, (nearer + 1, nearer + 1 + len(images)), strict=True):
        assert end.ranks().tolist() == [first]
        assert np.concatenate(end.hits(CUTOFFS)).tolist() == [float(first <= cutoff) for cutoff in CUTOFFS]


#: y, m, J: as in the sets and beyond, few and many images, polynomials of degree 63, 64 and up to a million.
EQUAL = [(4, 4, 96), (9, 9, 350), (50, 25, 350), (1, 1, 63), (1, 1, 64), (1, 1, 5000), (1000, 1, 30), (1, 40_000, 25)]


def beyond(positives: int, images: int, count: int) -> list[float]:
    """Hits where all tied identities have as many images: each draw misses with (J-i) m / ((J-i) m + y)."""
    miss, found = Fraction(1), []
    for drawn in range(max(CUTOFFS)):
        left = max(count - drawn, 0) * images
        miss *= Fraction(left, left + positives)
        if drawn + 1 in CUTOFFS:
            found.append(float(1 - miss))
    return found


@pytest.mark.parametrize(("positives", "images", "count"), EQUAL)
def test_large_ties_keep_twelve_digits(positives: int, images: int, count: int) -> None:
    """Many identities of many images, against the closed form."""
    hits = np.concatenate(tied(positives, [images] * count).hits(CUTOFFS)).tolist()
    assert hits == pytest.approx(beyond(positives, images, count), abs=1e-12)


def test_too_few_nodes_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: one panel for polynomials of every degree."""
    quadrature = identities._quadrature
    monkeypatch.setattr(identities, "_quadrature", lambda degree: quadrature(min(degree, 63)))
    wrong = [
        abs(np.concatenate(tied(y, [m] * count).hits(CUTOFFS)) - beyond(y, m, count)).max() for y, m, count in EQUAL
    ]
    assert max(wrong) > 1e-3


def test_a_query_is_not_disturbed_by_others() -> None:
    """Several queries at once, some without ties, give what each gives alone."""
    several = [(1, (2, 1), 0), (2, (), 3), (1, (1,) * 30, 0), (3, (1, 2), 19), (1, (1, 2), 4), (1, (2, 1), 1)]
    found = IdentityRanks(
        nearer=np.array([nearer for _, _, nearer in several]),
        tied_positives=np.array([positives for positives, _, _ in several]),
        query=np.repeat(np.arange(len(several)), [len(images) for _, images, _ in several]),
        tied_images=np.concatenate([np.array(images, dtype=np.int64) for _, images, _ in several]),
    )
    alone = [tied(*each) for each in several]
    for together, apart in (
        (found, alone),
        (found.optimistic(), [each.optimistic() for each in alone]),
        (found.pessimistic(), [each.pessimistic() for each in alone]),
    ):
        assert together.ranks().tolist() == [each.ranks()[0] for each in apart]
        hits = np.stack(together.hits(CUTOFFS), axis=1).tolist()
        assert hits == [np.concatenate(each.hits(CUTOFFS)).tolist() for each in apart]


def test_distractors_count_as_one_identity() -> None:
    """Five images of identity 0 before the right one are one identity before it."""
    gallery = Labels(identities=np.array([0, 0, 0, 0, 0, 7]), cameras=np.ones(6, dtype=np.int64))
    query = Labels(identities=np.array([7]), cameras=np.array([3]))
    features = np.zeros((1, 1)), np.arange(6.0)[:, None]
    found = rank(*features, query, gallery, PROTOCOLS["sysu-all"], "euclidean").identities
    assert found is not None
    assert found.ranks().tolist() == [2]


def test_images_are_ranked_where_identities_are_not() -> None:
    """No protocol pays for what it does not use."""
    labels = (
        Labels(identities=np.array([1]), cameras=np.array([1])),
        Labels(identities=np.array([1]), cameras=np.array([2])),
    )
    for name, protocol in PROTOCOLS.items():
        found = rank(np.zeros((1, 1)), np.zeros((1, 1)), *labels, protocol, "cosine")
        assert (found.identities is not None) == name.startswith(("sysu", "llcm"))


def test_nobody_valid_has_no_ranks() -> None:
    """All images of the one camera that is hidden from the only query."""
    labels = (
        Labels(identities=np.array([1]), cameras=np.array([3])),
        Labels(identities=np.array([1]), cameras=np.array([2])),
    )
    found = rank(np.zeros((1, 1)), np.zeros((1, 1)), *labels, PROTOCOLS["sysu-all"], "cosine")
    assert (found.n_query, found.n_query_valid, found.n_gallery) == (1, 0, 1)
    assert found.identities is not None
    assert (len(found.identities.ranks()), [len(hits) for hits in found.identities.hits(CUTOFFS)]) == (0, [0] * 4)


def test_memory_is_bounded_by_the_chunk() -> None:
    """Similarities that would fill 32 MB take 6, and the ties of a collapsed model three times what they fill."""
    random = np.random.default_rng(0)
    q, g = (np.zeros((count, 16), np.float32) for count in (2000, 4000))
    q_labels, g_labels = (
        Labels(identities=random.integers(1, 200, len(x)), cameras=random.integers(1, 7, len(x))) for x in (q, g)
    )
    tracemalloc.start()
    rank(q, g, q_labels, g_labels, PROTOCOLS["sysu-all"], "cosine", chunk=64, gallery_chunk=256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    ties = 2000 * 200 * 16  # bytes: every identity ties with that of every query
    assert peak < 6e6 + 3 * ties


@pytest.mark.parametrize(
    "changed", [{"nearer": np.array([-1])}, {"tied_positives": np.array([0])}, {"tied_images": np.array([0, 1])}]
)
def test_impossible_ties_are_refused(changed: dict[str, Any]) -> None:
    """Counts below 0, and identities that tie without an image."""
    with pytest.raises(ValueError, match="0 or more nearer identities"):
        IdentityRanks(**(vars(tied(1, [1, 1])) | changed))


def test_columns_of_other_lengths_are_refused() -> None:
    """One entry for each query, or for each tied identity."""
    with pytest.raises(ValueError, match=r"got lengths \[2, 1, 1, 1\]"):
        IdentityRanks(**(vars(tied(1, [1])) | {"nearer": np.array([0, 0])}))
