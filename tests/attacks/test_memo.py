"""What is known of images: by their bits, by name, as copies, and not more than the limit."""

from __future__ import annotations

import pytest
import torch
from robustreid.attacks.memo import Memo
from torch import Tensor

LIMIT = "robustreid.attacks.memo.MEMO_BYTES"


@pytest.fixture
def images() -> list[Tensor]:
    return [torch.full((2, 3, 4, 4), value) for value in (0.1, 0.2, 0.3)]


def keep(known: Memo, image: Tensor, value: float, name: object = None) -> None:
    known.put(known.key(image), image, torch.full_like(image, value), name=name)


def kept(known: Memo, image: Tensor, name: object = None) -> float | None:
    found = known.get(known.key(image), image, name)
    return None if found is None else round(float(found[0].mean()), 6)


def test_values_are_found_by_images_and_name(images: list[Tensor]) -> None:
    """Two names of one image are apart, and so are two images under one name; what was not put is not there."""
    known = Memo()
    keep(known, images[0], 1)
    keep(known, images[0], 2, "other")
    keep(known, images[1], 3)
    assert [kept(known, images[0]), kept(known, images[0], "other"), kept(known, images[1])] == [1, 2, 3]
    assert kept(known, images[1], "other") is kept(known, images[2]) is None


def test_an_image_is_kept_once(images: list[Tensor]) -> None:
    """Whatever is known of it; a value that is put again takes the place of the first."""
    known = Memo()
    for times in (1, 2):
        for name in range(3):
            keep(known, images[0], times, name)
        assert known.n_bytes == 4 * images[0].nbytes
    assert kept(known, images[0], 1) == 2


def test_copies(images: list[Tensor]) -> None:
    """Nobody's work in place reaches what is kept: neither that of who put it nor that of who got it."""
    known = Memo()
    image, value = images[0].clone(), torch.ones(2)
    known.put(known.key(image), image, value)
    value += 1
    image += 1
    found = known.get(known.key(images[0]), images[0])
    assert found is not None
    found[0].zero_()
    again = known.get(known.key(images[0]), images[0])
    assert again is not None
    assert torch.equal(again[0], torch.ones(2))


def test_an_equal_key_is_no_equal_image(images: list[Tensor]) -> None:
    """Where the cheap key is equal and the images are not, nothing is found, and the newer images take the place."""
    known = Memo()
    one, other = images[0], images[0].flip(0).clone()
    other[0], other[1] = 0.05, 0.15
    known.put(7, one, torch.ones(1))
    assert known.get(7, other) is None
    known.put(7, other, torch.zeros(1))
    assert known.get(7, one) is None
    assert known.get(7, other) is not None
    assert known.n_bytes == other.nbytes + 4


def test_the_memo_keeps_a_bounded_amount(images: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its limit the images unused for longest go; what is kept is right, and what went is computed again."""
    monkeypatch.setattr(LIMIT, 4 * images[0].nbytes)
    known = Memo()
    for number, image in enumerate(images[:2]):
        keep(known, image, number)
    assert kept(known, images[0]) == 0
    keep(known, images[2], 2)
    assert kept(known, images[1]) is None
    assert [kept(known, images[place]) for place in (0, 2)] == [0, 2]
    assert known.n_bytes == 4 * images[0].nbytes
