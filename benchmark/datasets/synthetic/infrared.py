"""What an infrared camera makes of a drawn person: the same body, grey by what cloth, skin and hair reflect.

Most dyes are transparent in the near infrared, pigments are not: half of all things keep their brightness there, of the
others colours say nothing, and prints of dye vanish. Build, hair style, clothes and bags by their shape, and poses are
those that a camera of colours would see.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .canvas import Colour
from .chance import Chance
from .scene import Camera, composed, install, taken
from .wardrobe import GROUP, Person, dress, shared_by

#: Raised when a picture of an infrared camera changes by one bit; those of other cameras have a version of their own.
INFRARED_VERSION = 2

#: Garments that hang open over another one, which is of another cloth.
_OPEN = frozenset({"jacket", "coat"})


def picture_infrared(seed: int, identity: int, camera: int, shot: int) -> NDArray[np.uint8]:
    """The image (128, 64, 3), three equal channels, of a person by an infrared camera: these four decide every bit."""
    chance = Chance(seed, "infrared", "shot", identity, camera, shot)
    place = install_infrared(seed, camera)
    scene = composed(partial(reflect, seed), identity, place, chance)
    one = scene.sum(2, keepdims=True, dtype=np.int32) // 3
    return np.repeat(taken(one, place, chance), 3, axis=2)


def install_infrared(seed: int, camera: int) -> Camera:
    """The infrared eye at the place of a camera: its own lamp, a little haze and more noise."""
    chance = Chance(seed, "infrared", "camera", camera)
    return replace(
        install(seed, camera),
        wall_colour=_level(chance.between(44, 132)),
        ground_colour=_level(chance.between(52, 140)),
        cast=(chance.between(236, 280),),
        haze=chance.between(4, 30),
        exposure=chance.between(216, 300),
        noise=chance.between(6, 13),
    )


def reflect(seed: int, identity: int) -> Person:
    """The appearance of an identity in infrared; clothes that its group shares are of the same cloth."""
    person = dress(seed, identity)
    alone = _levels(Chance(seed, "infrared", "person", identity), person)
    group = _levels(Chance(seed, "infrared", "group", identity // GROUP), person)
    shared = shared_by(seed, identity)
    greys: dict[str, Any] = {name: _level((group if name in shared else alone)[name]) for name in alone}
    return replace(person, **greys)


def _levels(chance: Chance, person: Person) -> dict[str, int]:
    """Grey levels in 0..255 of what is seen of a person."""
    cloth, beneath = _cloth(chance, person.upper_colour), _cloth(chance, person.second_colour)
    print_level = cloth + chance.between(-9, 9) if chance.one_in(2) else beneath
    covered = person.hair in {"cap", "hood"}
    hair = (chance.between(40, 150), _cloth(chance, person.hair_colour))
    return {
        "skin": chance.around(206, 16),
        "hair_colour": hair[covered],
        "upper_colour": cloth,
        "second_colour": beneath if person.upper in _OPEN else min(max(print_level, 0), 255),
        "lower_colour": _cloth(chance, person.lower_colour),
        "shoes": _cloth(chance, person.shoes),
        "bag_colour": _cloth(chance, person.bag_colour),
    }


def _cloth(chance: Chance, colour: Colour) -> int:
    """A pigment's brightness, a little off, or that of a cloth whose dye is not seen."""
    dyed, pigment = chance.between(48, 226), sum(colour) // 3 + chance.between(-12, 12)
    return dyed if chance.one_in(2) else min(max(pigment, 0), 255)


def _level(value: int) -> Colour:
    return value, value, value
