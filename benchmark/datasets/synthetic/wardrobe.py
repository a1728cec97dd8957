"""What a person looks like, whoever sees them: build, hair, clothes, patterns, shoes, bag."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .canvas import Colour, Whole
from .chance import Chance

Hair = Literal["bald", "short", "long", "bun", "tail", "cap", "hood"]
Upper = Literal["tee", "shirt", "jacket", "coat", "hoodie", "vest"]
Lower = Literal["trousers", "jeans", "shorts", "skirt"]
Pattern = Literal["plain", "hoops", "stripes", "checks", "halves", "chest", "dots"]
Bag = Literal["none", "backpack", "shoulder", "hand"]

_SKINS: tuple[Colour, ...] = ((236, 196, 168), (216, 168, 132), (178, 126, 92), (126, 84, 60), (86, 58, 44))
_HAIRS: tuple[Colour, ...] = ((28, 24, 24), (64, 44, 32), (112, 76, 44), (186, 146, 84), (150, 146, 144), (132, 52, 28))
#: Few colours that many people share: what tells people apart is the combination, and where it is worn.
_CLOTHS: tuple[Colour, ...] = (
    (38, 38, 42),
    (38, 38, 42),
    (224, 222, 216),
    (224, 222, 216),
    (128, 130, 132),
    (38, 52, 96),
    (38, 52, 96),
    (168, 36, 40),
    (60, 104, 66),
    (214, 176, 60),
    (112, 74, 130),
    (92, 150, 196),
    (222, 140, 152),
)
_LEGS: tuple[Colour, ...] = ((36, 36, 40), (46, 60, 92), (92, 112, 150), (150, 134, 104), (104, 104, 108), (74, 62, 50))
_SHOES: tuple[Colour, ...] = ((30, 28, 28), (222, 220, 216), (110, 72, 44), (160, 48, 44))
#: How often each is worn.
_HAIR: tuple[tuple[Hair, int], ...] = (
    ("bald", 1),
    ("short", 6),
    ("long", 4),
    ("bun", 2),
    ("tail", 2),
    ("cap", 2),
    ("hood", 1),
)
_UPPER: tuple[tuple[Upper, int], ...] = (
    ("tee", 5),
    ("shirt", 4),
    ("jacket", 4),
    ("coat", 2),
    ("hoodie", 3),
    ("vest", 2),
)
_PATTERN: tuple[tuple[Pattern, int], ...] = (
    ("plain", 10),
    ("hoops", 3),
    ("stripes", 2),
    ("checks", 2),
    ("halves", 2),
    ("chest", 3),
    ("dots", 2),
)
_LOWER: tuple[tuple[Lower, int], ...] = (("trousers", 5), ("jeans", 4), ("shorts", 3), ("skirt", 2))
_BAG: tuple[tuple[Bag, int], ...] = (("none", 5), ("backpack", 3), ("shoulder", 2), ("hand", 2))


@dataclass(frozen=True, kw_only=True)
class Person:
    """A person's appearance; lengths in thousandths of the body's height."""

    #: Body height against the usual one, in 1/1000.
    height: int
    #: Half the width of the shoulders.
    shoulder: int
    #: Thickness of limbs and trunk against the usual one, in 1/1000.
    girth: int
    skin: Colour
    hair: Hair
    hair_colour: Colour
    upper: Upper
    upper_colour: Colour
    pattern: Pattern
    #: Width of a stripe, a check or a dot.
    period: int
    #: The pattern's other colour, and that of what is worn under an open jacket.
    second_colour: Colour
    lower: Lower
    lower_colour: Colour
    shoes: Colour
    bag: Bag
    bag_colour: Colour
    #: On which shoulder or in which hand a bag is carried: -1 the left in the picture, seen from the front.
    bag_side: int


def _dyed(chance: Chance, colours: tuple[Colour, ...], spread: int) -> Colour:
    """One of the colours, a little off."""
    red, green, blue = (min(max(chance.around(value, spread), 0), 255) for value in chance.pick(colours))
    return red, green, blue


#: People who have consecutive numbers and dress alike, such as a class or a team.
GROUP = 3
#: What is shared or not as one: a body is always its owner's.
_SHARED = (
    ("skin",),
    ("hair", "hair_colour"),
    ("upper",),
    ("upper_colour", "second_colour"),
    ("pattern", "period"),
    ("lower", "lower_colour"),
    ("shoes",),
    ("bag", "bag_colour", "bag_side"),
)


def dress(seed: int, identity: int) -> Person:
    """The appearance of an identity: the same for every camera and shot; most of it is that of its group."""
    alone, shared = _alone(seed, identity)
    group = _dressed(Chance(seed, "group", identity // GROUP))
    return replace(alone, **{name: getattr(group, name) for name in shared})


def shared_by(seed: int, identity: int) -> tuple[str, ...]:
    """Which fields of an identity's appearance are those of its group."""
    return _alone(seed, identity)[1]


def _alone(seed: int, identity: int) -> tuple[Person, tuple[str, ...]]:
    """An appearance without a group, and the names of what the group decides."""
    own = Chance(seed, "person", identity)
    person = _dressed(own)
    return person, tuple(name for names in _SHARED if own.below(5) < 3 for name in names)


def _dressed(chance: Chance) -> Person:
    hair, upper, pattern = chance.weighted(_HAIR), chance.weighted(_UPPER), chance.weighted(_PATTERN)
    lower, bag = chance.weighted(_LOWER), chance.weighted(_BAG)
    first, second = _dyed(chance, _CLOTHS, 14), _dyed(chance, _CLOTHS, 14)
    while sum(abs(a - b) for a, b in zip(first, second, strict=True)) < 120:
        second = _dyed(chance, _CLOTHS, 14)
    return Person(
        height=chance.around(960, 60),
        shoulder=chance.around(122, 16),
        girth=chance.around(1000, 180),
        skin=chance.pick(_SKINS),
        hair=hair,
        hair_colour=_dyed(chance, _CLOTHS if hair in {"cap", "hood"} else _HAIRS, 8),
        upper=upper,
        upper_colour=first,
        pattern=pattern,
        period=chance.pick((26, 38, 54)),
        second_colour=second,
        lower=lower,
        lower_colour=_dyed(chance, _LEGS, 10) if lower != "skirt" else _dyed(chance, _CLOTHS, 12),
        shoes=chance.pick(_SHOES),
        bag=bag,
        bag_colour=_dyed(chance, _CLOTHS, 10),
        bag_side=chance.pick((-1, 1)),
    )


def in_second_colour(person: Person, u: Whole, v: Whole, *, faces: bool) -> NDArray[np.bool_]:
    """Where (h, w) the upper garment has its second colour.

    Args:
        person: who wears it.
        u: (1, w) thousandths of the body's height, 2000 at its axis.
        v: (h, 1) likewise, 2000 at the crown.
        faces: whether the person is seen from the front, where a print on the chest is.
    """
    period, pattern = person.period, person.pattern
    is_second = (u < 0) & (v < 0)
    if pattern == "hoops":
        is_second |= v // period % 2 == 1
    elif pattern == "stripes":
        is_second |= u // (period * 3 // 4) % 2 == 1
    elif pattern == "checks":
        is_second |= (u // period + v // period) % 2 == 1
    elif pattern == "halves":
        is_second |= v > 2345
    elif pattern == "chest" and faces:
        is_second |= (abs(u - 2000) < 62) & (abs(v - 2285) < 46)
    elif pattern == "dots":
        half = period // 2
        is_second |= (u % period - half) ** 2 + (v % period - half) ** 2 < period * period // 9
    return is_second
