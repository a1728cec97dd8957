"""Every protocol written down a second time, as loops over lists: nothing of the engine's code or tables is used."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby, pairwise, permutations, product
from typing import Any

import numpy as np

CUTOFFS = (1, 5, 10, 20)
#: What `values` gives, in this order; of all but the fourth more is better.
NAMES = ("AP", "trapezoid AP", "INP", "first rank", "hit@1", "hit@5", "hit@10", "hit@20")
#: Similarities that are closer than one step of the engine's grid are ties.
STEP = 2.0**-20


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is left out for a query, and what Rank-k counts."""

    junk: tuple[int, ...] = ()
    same_camera_is_junk: bool = False
    #: The query's camera and the gallery's.
    hidden: tuple[tuple[int, int], ...] = ()
    counts_people: bool = False


_SYSU = Rules(hidden=((3, 2),), counts_people=True)
_LLCM = Rules(same_camera_is_junk=True, counts_people=True)
RULES = {
    "market": Rules(junk=(-1,), same_camera_is_junk=True),
    "cuhk03-np": Rules(same_camera_is_junk=True),
    "sysu-all": _SYSU,
    "sysu-all-multi-shot": _SYSU,
    "sysu-indoor": _SYSU,
    "sysu-indoor-multi-shot": _SYSU,
    "regdb-v2t": Rules(),
    "regdb-t2v": Rules(),
    "llcm-v2i": _LLCM,
    "llcm-i2v": _LLCM,
    "llcm-v2i-published": _LLCM,
    "single-shot": Rules(),
    "cuhk01": Rules(),
}


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image."""

    identity: int
    camera: int
    feature: tuple[float, ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Queries and a gallery under the protocol of a name; the nearest is that of the least squared distance."""

    protocol: str
    queries: list[Image]
    gallery: list[Image]


def distance(query: Image, image: Image) -> float:
    """The squared Euclidean distance."""
    return sum((a - b) ** 2 for a, b in zip(query.feature, image.feature, strict=True))


def is_left_out(rules: Rules, query: Image, image: Image) -> bool:
    """Whether an image is not in the ranking of a query."""
    if image.identity in rules.junk or (query.camera, image.camera) in rules.hidden:
        return True
    is_same = image.identity == query.identity and image.camera == query.camera
    return rules.same_camera_is_junk and is_same


def values(identities: list[int], wanted: int, *, counts_people: bool) -> list[float]:
    """The scores of one ranked list of identities, nearest first, by definition; in the order of `NAMES`."""
    n_right = identities.count(wanted)
    seen, ap, trapezoid, before, last = 0, 0.0, 0.0, 1.0, 0
    for place, identity in enumerate(identities, 1):
        seen += identity == wanted
        if identity == wanted:
            ap += seen / place / n_right
            trapezoid += (before + seen / place) / 2 / n_right
            last = place
        before = seen / place
    counted: list[int] = []
    for identity in identities:
        if not (counts_people and identity in counted):
            counted.append(identity)
    first = counted.index(wanted) + 1
    return [ap, trapezoid, n_right / last, first, *(float(first <= cutoff) for cutoff in CUTOFFS)]


def orders(problem: Problem, query: Image) -> Iterator[list[int]]:
    """The identities of all that a query is ranked against, nearest first, in every order of the images that tie."""
    rules = RULES[problem.protocol]
    kept = [image for image in problem.gallery if not is_left_out(rules, query, image)]
    nearest = sorted((round(distance(query, image) / STEP), image.identity) for image in kept)
    tied = [[identity for _, identity in group] for _, group in groupby(nearest, key=lambda each: each[0])]
    for several in product(*(permutations(group) for group in tied)):
        yield list(chain.from_iterable(several))


def every_value(problem: Problem) -> dict[int, Any]:
    """Of each query that has a right answer: (orders, 8) its scores."""
    found: dict[int, Any] = {}
    for place, query in enumerate(problem.queries):
        people = RULES[problem.protocol].counts_people
        several = [
            values(each, query.identity, counts_people=people)
            for each in orders(problem, query)
            if query.identity in each
        ]
        if several:
            found[place] = np.array(several)
    return found


def random_problem(protocol: str, seed: int) -> Problem:
    """Up to 12 queries, 25 images, 5 people and 6 cameras, distractors and junk; no two images nearly as near."""
    chance = random.Random(f"{protocol} {seed}")  # noqa: S311
    while True:
        gallery = [_image(chance, -1) for _ in range(chance.randint(1, 25))]
        queries = [_image(chance, 1) for _ in range(chance.randint(1, 12))]
        problem = Problem(protocol=protocol, queries=queries, gallery=gallery)
        if all(_is_clear(sorted(distance(query, image) for image in gallery)) for query in queries):
            return problem


def tied_problem(protocol: str, seed: int) -> Problem:
    """Up to 3 queries and 6 images of 3 people on three points of a line."""
    chance = random.Random(f"{protocol} {seed} ties")  # noqa: S311

    def image(lowest: int) -> Image:
        return Image(
            identity=chance.randint(lowest, 3), camera=chance.randint(1, 3), feature=(float(chance.randint(0, 2)),)
        )

    queries, gallery = ([image(lowest) for _ in range(chance.randint(1, most))] for lowest, most in ((1, 3), (-1, 6)))
    return Problem(protocol=protocol, queries=queries, gallery=gallery)


def _image(chance: random.Random, lowest: int) -> Image:
    feature = tuple(chance.uniform(-1, 1) for _ in range(3))
    return Image(identity=chance.randint(lowest, 5), camera=chance.randint(1, 6), feature=feature)


def _is_clear(distances: list[float]) -> bool:
    return all(b - a > 4 * STEP for a, b in pairwise(distances))


def draw(
    names: dict[tuple[int, int], list[str]], trial: int, pick: Callable[[random.Random, list[str]], list[str]]
) -> list[str]:
    """A trial's images as the public evaluation code draws them.

    Args:
        names: file names of each (identity, camera).
        trial: seeds the choices.
        pick: takes some of a sorted list.
    """
    chance = random.Random(trial)  # noqa: S311
    found = []
    for identity in sorted({identity for identity, _ in names}):
        for camera in range(1, 10):
            if (identity, camera) in names:
                found += pick(chance, sorted(names[identity, camera]))
    return found
