"""Infrared pictures: the same bodies, and grey levels that colours do not tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from robustreid.benchmark.datasets.synthetic.infrared import install_infrared, picture_infrared, reflect
from robustreid.benchmark.datasets.synthetic.scene import HEIGHT, WIDTH, install, picture
from robustreid.benchmark.datasets.synthetic.wardrobe import GROUP, Person, dress

PEOPLE = range(1, 901)
#: What is of a grey of its own in infrared.
COLOURED = ("skin", "hair_colour", "upper_colour", "second_colour", "lower_colour", "shoes", "bag_colour")

Look = Callable[[int, int], Person]


def correlation(part: str, look: Look) -> float:
    """Of the brightness of a garment in colours and under `look`, over one person of every group."""
    pairs = [
        (sum(getattr(dress(0, person), part)), sum(getattr(look(0, person), part))) for person in range(0, 3000, GROUP)
    ]
    table: NDArray[np.float64] = np.corrcoef(*np.array(pairs, dtype=np.float64).T)
    return float(table[0, 1])


def grey_photograph(seed: int, identity: int) -> Person:
    """Planted: an infrared that is a grey photograph of the colours."""
    person = dress(seed, identity)
    greys = {name: (sum(getattr(person, name)) // 3,) * 3 for name in COLOURED}
    return Person(**{**vars(person), **greys})


@pytest.mark.parametrize("part", ["upper_colour", "lower_colour", "bag_colour", "shoes"])
def test_colours_tell_half_of_infrared(part: str) -> None:
    """Half of all things keep their brightness: the two go together, but not as in a grey photograph."""

    def goes_half_together(look: Look) -> bool:
        return 0.25 < correlation(part, look) < 0.75

    assert goes_half_together(reflect)
    assert not goes_half_together(grey_photograph)


def test_all_but_the_greys_stays() -> None:
    """Build, hair style, clothes by their shape and bag are the person's; every colour is a grey."""
    for identity in range(1, 60):
        seen, reflected = vars(dress(3, identity)), vars(reflect(3, identity))
        assert {name for name in seen if seen[name] != reflected[name]} <= set(COLOURED)
        assert all(len(set(reflected[name])) == 1 and 0 <= reflected[name][0] <= 255 for name in COLOURED)


def test_half_of_the_prints_vanish_and_skin_is_bright() -> None:
    """Half of them are within 9 counts of their cloth where nothing hangs open; skin is brighter than most cloth."""
    looks = [reflect(0, identity) for identity in PEOPLE]
    closed = [look for look in looks if look.upper not in {"jacket", "coat"}]
    assert 0.45 < np.mean([abs(look.upper_colour[0] - look.second_colour[0]) <= 9 for look in closed]) < 0.65
    assert np.mean([look.skin[0] > look.upper_colour[0] for look in looks]) > 0.75


def test_what_a_group_shares_is_of_one_cloth() -> None:
    """Who wears the same in colours wears the same in infrared: two of a group often, two of two groups hardly ever."""

    def same(one: int, other: int) -> bool:
        return reflect(0, one).upper_colour == reflect(0, other).upper_colour

    firsts = range(0, 600, GROUP)
    alike = [first for first in firsts if dress(0, first).upper_colour == dress(0, first + 1).upper_colour]
    assert len(alike) > 40
    assert all(same(first, first + 1) for first in alike)
    assert np.mean([same(first, first + 1) for first in set(firsts) - set(alike)]) < 0.05
    assert np.mean([same(first, first + GROUP) for first in firsts]) < 0.05


def test_three_channels_are_one() -> None:
    """Of the size of every drawn image, grey all over, and not empty; the four numbers alone decide it."""
    keys = [(0, 1, 1, 0), (1, 1, 1, 0), (0, 2, 1, 0), (0, 1, 2, 0), (0, 1, 1, 1)]
    images = [picture_infrared(*key) for key in keys]
    for image in images:
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert (image == image[..., :1]).all()
        assert 10 < image.std() < 100
    assert len({image.tobytes() for image in images}) == len(keys)
    assert picture_infrared(*keys[0]).tobytes() == images[0].tobytes()
    colours = picture(0, 1, 1, 0)
    assert not (colours == colours[..., :1]).all()


def test_the_pictures_are_written_down() -> None:
    """The sum and the last pixels of one picture, so that no change goes unseen; see `crowd.VERSION`."""
    image = picture_infrared(0, 1, 3, 0)
    assert (int(image.sum()), image[-1, -4:, 0].tolist()) == (2_899_188, [112, 115, 103, 115])


def test_one_place_has_two_eyes() -> None:
    """An infrared camera stands where the camera of its number stands, and sees in one channel."""
    for number in range(1, 7):
        seen, dark = install(0, number), install_infrared(0, number)
        assert (seen.wall, seen.horizon, seen.views) == (dark.wall, dark.horizon, dark.views)
        assert (len(seen.cast), len(dark.cast)) == (3, 1)


def brightness(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of eight stripes (N, 8), the place's own light removed."""
    light = images.astype(np.float64).mean(3)[:, :, 16:48].reshape(len(images), 8, -1).mean(2)
    found: NDArray[np.float64] = (light - light.mean(1, keepdims=True)) / light.std(1, keepdims=True)
    return found


def mean_colour(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of the whole image (N, 3)."""
    found: NDArray[np.float64] = images.astype(np.float64).mean((1, 2))
    return found


def rank1(features: Callable[[NDArray[np.uint8]], NDArray[np.float64]], queries: NDArray[np.uint8]) -> float:
    """How often the nearest of 60 people in colours is the one looked for; queries (60, H, W, 3) in their order."""
    gallery = np.stack([picture(0, GROUP * person, 1, 0) for person in range(1, 61)])
    one, other = features(queries), features(gallery)
    one, other = one - one.mean(0), other - other.mean(0)
    nearest = ((one[:, None] - other[None]) ** 2).sum(2).argmin(1)
    return float((nearest == np.arange(60)).mean())


@pytest.mark.parametrize("features", [mean_colour, brightness])
def test_colour_statistics_do_not_find_people_across(
    features: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
) -> None:
    """By light alone Rank-1 is within chance (1 in 60) up to four deviations, while colours find people by colours."""
    infrared = np.stack([picture_infrared(0, GROUP * person, 2, 0) for person in range(1, 61)])
    visible = np.stack([picture(0, GROUP * person, 2, 0) for person in range(1, 61)])
    bound = 1 / 60 + 4 * np.sqrt(1 / 60 * 59 / 60 / 60)
    assert rank1(features, infrared) < bound
    assert rank1(brightness, visible) > bound
