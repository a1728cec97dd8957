"""Who is attacked, and what each image is pushed from or pulled to."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustreid.attacks.objectives import Pull, Push
from robustreid.attacks.references import (
    NOT_ATTACKED,
    Person,
    ReferencePolicy,
    References,
    Selection,
    data_needed,
    select,
    targets,
    to_references,
)
from robustreid.attacks.threat import Goal, Side


def people(*labels: tuple[int, int]) -> Person:
    """(identity, camera) of each image."""
    identities, cameras = np.array(labels, dtype=np.int64).reshape(-1, 2).T
    return Person(identities=identities, cameras=cameras, image_ids=[f"{index}.png" for index in range(len(labels))])


QUERY = people((5, 1), (5, 2), (8, 1), (9, 3), (0, 1), (-1, 1), (7, 1))
GALLERY = people((8, 1), (5, 1), (5, 2), (9, 1), (5, 3), (0, 2), (-1, 2), (8, 2), (9, 3))


def members(policy: ReferencePolicy, goal: Goal = "untargeted", seed: int = 0) -> list[list[int]]:
    chosen = select(policy, attacked=QUERY, reference=GALLERY, goal=goal, seed=seed)
    return [found.tolist() for found in chosen.members]


def test_other_side_takes_every_camera() -> None:
    """The paper's choice: all images of the identity, its own camera's included; none for -1, 0 and the unmatched."""
    assert members("other-side") == [[1, 2, 4], [1, 2, 4], [0, 7], [3, 8], [], [], []]


def test_cross_camera_leaves_the_own_camera_out() -> None:
    """Each image has its own references then."""
    assert members("other-side-cross-camera") == [[2, 4], [1, 4], [7], [3], [], [], []]


def test_self_is_the_own_feature() -> None:
    """Every image but junk and distractors, also where nobody matches."""
    chosen = select("self", attacked=QUERY, reference=GALLERY)
    assert [found.tolist() for found in chosen.members] == [[0], [1], [2], [3], [], [], [6]]
    own, other = np.eye(7)[:, :3] + 1, np.zeros((9, 3))
    counts, means = chosen.bank(other, own)
    assert counts.tolist() == [1, 1, 1, 1, 0, 0, 1]
    assert np.array_equal(own[[0, 1, 2, 3, 6]], means[[0, 1, 2, 3, 6]])
    assert chosen.own


def test_single_is_one_of_other_side_by_image_and_seed() -> None:
    """One, the same again, another for another seed, and not the same place for all images of a person."""
    everyone = members("other-side")
    by_seed = [members("single", seed=seed) for seed in range(40)]
    assert by_seed == [members("single", seed=seed) for seed in range(40)]
    assert all(len(one) == min(len(every), 1) for found in by_seed for one, every in zip(found, everyone, strict=True))
    assert all(set(one) <= set(every) for found in by_seed for one, every in zip(found, everyone, strict=True))
    assert {1, 2, 4} == {found[0][0] for found in by_seed}
    assert any(found[0] != found[1] for found in by_seed)


def test_single_depends_on_nothing_but_its_image() -> None:
    """Without its neighbours, an image has the reference it had among them."""
    alone = Person(identities=QUERY.identities[1:2], cameras=QUERY.cameras[1:2], image_ids=QUERY.image_ids[1:2])
    for seed in range(10):
        (found,) = select("single", attacked=alone, reference=GALLERY, seed=seed).members
        assert members("single", seed=seed)[1] == found.tolist()


@given(identities=st.lists(st.integers(-1, 40), max_size=60), seed=st.integers(0, 2**40))
def test_targets_are_one_cycle_over_the_reference_side(identities: list[int], seed: int) -> None:
    """A shift by one of a seeded order: one cycle without fixed points, whatever the order of files."""
    shift = targets(np.array(identities, dtype=np.int64), seed)
    real = set(identities) - set(NOT_ATTACKED)
    if len(real) < 2:
        assert shift == {}
        return
    assert real == set(shift) == set(shift.values())
    cycle = [min(real)]
    while (following := shift[cycle[-1]]) != cycle[0]:
        cycle.append(following)
    assert len(cycle) == len(real)
    assert all(before != after for before, after in pairwise(cycle))
    assert shift == targets(np.array(identities[::-1] * 2, dtype=np.int64), seed)


def test_targets_change_with_the_seed() -> None:
    """A golden order, so that another machine must agree, and other ones for other seeds."""
    identities = np.arange(1, 9)
    assert dict(targets(identities, 0)) == {8: 3, 3: 5, 5: 2, 2: 7, 7: 6, 6: 1, 1: 4, 4: 8}
    assert len({tuple(sorted(targets(identities, seed).items())) for seed in range(20)}) > 15


@pytest.mark.parametrize("policy", ["other-side", "other-side-cross-camera", "single"])
def test_targeted_references_are_never_the_own_identity(policy: ReferencePolicy) -> None:
    """All references of an image are of its one target, which the selection names."""
    for seed in range(10):
        chosen = select(policy, attacked=QUERY, reference=GALLERY, goal="targeted", seed=seed)
        shift = targets(GALLERY.identities, seed)
        for row, found in enumerate(chosen.members):
            identity = int(QUERY.identities[row])
            if len(found):
                assert {shift[identity]} == set(GALLERY.identities[found].tolist())
                assert shift[identity] == chosen.target_identities[row] != identity
            else:
                assert identity == chosen.target_identities[row]
        assert {0, 1, 2} <= set(chosen.attacked.tolist()) <= {0, 1, 2, 3}


def test_an_identity_that_nobody_else_has_is_not_pulled_anywhere() -> None:
    """No place in the cycle; junk and distractors are neither pulled nor targets."""
    assert members("other-side", "targeted")[4:] == [[], [], []]
    assert not {5, 6} & {index for found in members("other-side", "targeted") for index in found}


def test_untargeted_references_are_always_the_own_identity() -> None:
    """And the selection's target is the own identity."""
    chosen = select("other-side", attacked=QUERY, reference=GALLERY)
    for row, found in enumerate(chosen.members):
        assert set(GALLERY.identities[found].tolist()) <= {int(QUERY.identities[row])}
    assert np.array_equal(QUERY.identities, chosen.target_identities)
    assert chosen.attacked.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("goal", ["untargeted", "targeted"])
def test_count_and_mean_stand_for_all_references(goal: Goal) -> None:
    """Sum over r of ||f - r||^2 = n ||f - mean||^2 + const: the objective's differences are those of the sum itself."""
    source = np.random.default_rng(0)
    features = source.normal(size=(9, 4))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    chosen = select("other-side", attacked=QUERY, reference=GALLERY, goal=goal)
    first, second = torch.from_numpy(source.normal(size=(2, 7, 4)))
    references = to_references(*chosen.bank(features, features), like=first)

    def by_hand(f: torch.Tensor) -> list[float]:
        pairs = zip(f.numpy(), chosen.members, strict=True)
        return [sum(float(((row - features[k]) ** 2).sum()) for k in found) for row, found in pairs]

    expected = torch.tensor(by_hand(first)) - torch.tensor(by_hand(second))
    for sign, objective in ((1, Push()), (-1, Pull())):
        found = objective(first, references) - objective(second, references)
        torch.testing.assert_close(sign * expected.double(), found, rtol=0, atol=1e-5)


def test_shapes_are_checked() -> None:
    """Counts and means belong together."""
    for count, mean in ((2, (3, 4)), (3, (3,))):
        with pytest.raises(ValueError, match="expected"):
            References(count=torch.zeros(count), mean=torch.zeros(mean))
    empty = Selection(members=(), own=False, target_identities=np.empty(0, dtype=np.int64))
    assert empty.attacked.tolist() == []


@pytest.mark.parametrize(
    ("expected", "policy", "side", "uses"),
    [
        ("labelled query", "other-side", "gallery", True),
        ("labelled gallery", "single", "query", True),
        ("labelled query and gallery", "other-side-cross-camera", "both", True),
        ("self", "self", "query", True),
        ("self", "other-side", "query", False),
    ],
)
def test_what_the_adversary_must_own(expected: str, policy: ReferencePolicy, side: Side, uses: bool) -> None:
    """The other side's labels, or nothing where no reference is looked at."""
    assert expected == data_needed(policy, side, uses_references=uses)
