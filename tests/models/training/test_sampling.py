"""P x K batches: whom they hold, how images are chosen, and that they depend on nothing but their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from robustreid import UserError
from robustreid.models.training.chance import stream
from robustreid.models.training.sampling import batches, n_steps


def people(n_people: int = 11, n_images: int = 9, n_cameras: int = 3) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Identities and cameras in mixed order, every person on every camera equally often."""
    order = np.random.default_rng(0).permutation(n_people * n_images)
    return 100 + order // n_images, 1 + order % n_images % n_cameras


def check_epoch(sample: Callable[..., NDArray[np.int64]]) -> None:
    """What any P x K sampler must keep."""
    identities, cameras = people()
    for epoch in range(5):
        chosen = sample(identities, cameras, n_identities=4, n_images=3, seed=1, epoch=epoch)
        assert chosen.shape == (2, 12)
        assert len(set(chosen.ravel().tolist())) == 24, "an image comes twice"
        who = identities[chosen].reshape(2, 4, 3)
        assert (who == who[:, :, :1]).all(), "K images of one identity stand together"
        assert len(set(who[:, :, 0].ravel().tolist())) == 8, "an identity comes twice"
        there = cameras[chosen].reshape(8, 3)
        assert all(len(set(row)) == 3 for row in there.tolist()), "a camera comes twice while another was not seen"


def repeating(identities: NDArray[np.int64], cameras: NDArray[np.int64], **how: Any) -> NDArray[np.int64]:
    """The planted bug: identities drawn with replacement."""
    del cameras
    random = stream(how["seed"], "planted", how["epoch"])
    who = random.choice(np.unique(identities), (2, how["n_identities"]))
    rows = [random.permutation(np.flatnonzero(identities == person))[: how["n_images"]] for person in who.ravel()]
    return np.concatenate(rows).reshape(2, -1)


def one_camera(identities: NDArray[np.int64], cameras: NDArray[np.int64], **how: Any) -> NDArray[np.int64]:
    """The planted bug: cameras do not matter."""
    return batches(identities, np.ones_like(cameras), **how)


def test_an_epoch_has_every_rule() -> None:
    """Distinct identities, distinct images, distinct cameras, one shape."""
    check_epoch(batches)


@pytest.mark.parametrize("wrong", [repeating, one_camera])
def test_a_wrong_sampler_is_rejected(wrong: Callable[..., NDArray[np.int64]]) -> None:
    """The check sees an identity that comes twice in a batch, and cameras that are ignored."""
    with pytest.raises(AssertionError, match="twice"):
        check_epoch(wrong)


def test_everybody_comes_once_an_epoch() -> None:
    """Where P divides the identities nobody sits out; where not, it is somebody else each time."""
    identities, cameras = people(n_people=12)
    chosen = batches(identities, cameras, n_identities=4, n_images=2, seed=0, epoch=0)
    assert sorted(set(identities[chosen].ravel().tolist())) == sorted(set(identities.tolist()))
    identities, cameras = people(n_people=11)
    absent = set()
    for epoch in range(4):
        chosen = batches(identities, cameras, n_identities=4, n_images=2, seed=0, epoch=epoch)
        absent.add(frozenset(set(identities.tolist()) - set(identities[chosen].ravel().tolist())))
    assert {len(found) for found in absent} == {3}
    assert len(absent) > 1
    assert n_steps(identities, 4) == 2


def test_few_images_come_again() -> None:
    """A person with two images gives both before one of them comes twice."""
    identities, cameras = np.array([1, 1, 2, 2, 2, 2]), np.array([1, 2, 1, 2, 3, 4])
    (chosen,) = batches(identities, cameras, n_identities=2, n_images=4, seed=0, epoch=0)
    first = chosen.reshape(2, 4)[identities[chosen.reshape(2, 4)[:, 0]] == 1][0]
    assert set(first.tolist()) == {0, 1}
    second = chosen.reshape(2, 4)[identities[chosen.reshape(2, 4)[:, 0]] == 2][0]
    assert set(second.tolist()) == {2, 3, 4, 5}


def test_batches_are_a_pure_function() -> None:
    """Seed and epoch decide; numpy's global state neither decides nor moves."""
    identities, cameras = people()
    how: dict[str, Any] = {"n_identities": 4, "n_images": 3}
    first = batches(identities, cameras, seed=1, epoch=2, **how)
    np.random.seed(5)  # noqa: NPY002 (the state that must not matter)
    before = str(np.random.get_state())  # noqa: NPY002
    assert first.tolist() == batches(identities, cameras, seed=1, epoch=2, **how).tolist()
    assert before == str(np.random.get_state())  # noqa: NPY002
    assert first.tolist() != batches(identities, cameras, seed=1, epoch=3, **how).tolist()
    assert first.tolist() != batches(identities, cameras, seed=2, epoch=2, **how).tolist()


def test_too_few_people_are_refused() -> None:
    """The sentence has both numbers."""
    identities, cameras = people(n_people=3)
    with pytest.raises(UserError, match="3 identities, too few for batches of 4"):
        batches(identities, cameras, n_identities=4, n_images=2, seed=0, epoch=0)
