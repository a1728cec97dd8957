"""What cells cost in image passes, with and without sharing, before anything runs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ..attacks.objectives import Objective
from ..attacks.optimisers import Optimiser
from ..attacks.optimisers.base import is_given
from ..attacks.references import ReferencePolicy, select
from ..attacks.threat import Goal, Threat
from ..attacks.transforms import Lens
from .datasets.retrieval import RetrievalSet, SideName
from .records import Cell

#: What is climbed: the objective, and what stands between the images and the model.
_Hill = tuple[Objective, Lens]
#: What decides at which images passes are needed: what is climbed, how, the ball, and which other model is scored.
_Walk = tuple[_Hill, Optimiser, Threat, str]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Image passes: gradients (a forward and a backward each) and forwards without one."""

    gradients: int = 0
    forwards: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(gradients=self.gradients + other.gradients, forwards=self.forwards + other.forwards)

    @property
    def work(self) -> int:
        """In units of a forward: a gradient costs about three."""
        return 3 * self.gradients + self.forwards


def n_clean(cell: Cell, data: RetrievalSet) -> int:
    """Passes of clean images that a cell needs by itself: of the model, and of another one whose gradients it takes."""
    return len(data.paths) * (2 if cell.surrogate else 1)


def scenes_of(cell: Cell, data: RetrievalSet) -> list[RetrievalSet]:
    """What a cell is run on: the whole set, or one split after the other."""
    return [data] if cell.n_splits is None else [data.of_trial(number) for number in range(cell.n_splits)]


def attack_cost(cells: Sequence[Cell], data: RetrievalSet, *, shared: bool) -> Cost:
    """Passes of the attacks of cells of one group.

    Shared, equal images need one pass; alone, every cell pays its own, and its own clean features. Less is spent where
    a walk comes to rest and sees an image again.
    """
    each = (_attack_cost(cells, scene, shared=shared) for scene in scenes_of(cells[0], data))
    return sum(each, Cost())


def _attack_cost(cells: Sequence[Cell], data: RetrievalSet, *, shared: bool) -> Cost:
    if not shared:
        alike: dict[Hashable, list[Cell]] = {}
        for cell in cells:
            kind = (reference_key(cell), cell.attack, cell.threat, cell.surrogate is not None)
            alike.setdefault(kind, []).append(cell)
        costs = [(len(same), same[0], _attack_cost(same[:1], data, shared=True)) for same in alike.values()]
        return Cost(
            gradients=sum(count * cost.gradients for count, _, cost in costs),
            forwards=sum(count * (cost.forwards + n_clean(cell, data)) for count, cell, cost in costs),
        )
    total = Cost()
    gallery_first = cells[0].side == "both"
    sides: tuple[SideName, ...] = ("gallery", "query") if gallery_first else (cells[0].side,)  # type: ignore[assignment]
    for side in sides:
        # On the second side of `both` every cell has references of its own, so nothing is shared between cells.
        parts = [[cell] for cell in cells] if gallery_first and side == "query" else [list(cells)]
        for part in parts:
            for key in dict.fromkeys(reference_key(cell) for cell in part):
                same = [cell for cell in part if reference_key(cell) == key]
                n_images = n_attacked(same[0], data, side)
                total += _distinct(same, n_images)
    return total


def _distinct(cells: Sequence[Cell], n_images: int) -> Cost:
    by_seed: dict[int, set[_Walk]] = {}
    for cell in cells:
        attack = cell.attack
        # At epsilon 0 every walk stays at the clean image, whatever was drawn.
        is_drawn = attack.draws_in_loss or (attack.optimiser.is_random and cell.threat.epsilon)
        lens = replace(attack.lens, samples=cell.adaptive.samples(attack.eot, cell.walker.samples))
        hill = (attack.objective_for(cell.goal), lens)
        victim = cell.model.label if cell.surrogate else ""
        by_seed.setdefault(cell.seed if is_drawn else 0, set()).add((hill, attack.optimiser, cell.threat, victim))
    # Two seeds share nothing, and under each of them the same walks cost the same.
    costs = sum((_passes(frozenset(walks), _is_apart(cells[0])) for walks in by_seed.values()), Cost())
    return Cost(gradients=costs.gradients * n_images, forwards=costs.forwards * n_images)


def _is_apart(cell: Cell) -> bool:
    """Whether gradients are those of another model than scores, as far as a plan knows: then nothing is shared."""
    is_straight = any(each.is_hiding for each in cell.walker.defence) and cell.adaptive.bpda is None
    return cell.precision == "fast" or is_straight


@lru_cache(maxsize=2**16)
def _passes(walks: frozenset[_Walk], apart: bool) -> Cost:
    """Passes an image, of walks that draw from one seed."""
    gradients: dict[_Hill, set[Hashable]] = {}
    #: Images whose features gradients leave behind, are read on the way, are scored; changed copies of clean ones.
    passed, values, scored, views = (set[Hashable]() for _ in range(4))
    for hill, optimiser, threat, victim in walks:
        objective, lens = hill
        trace = optimiser.trace(threat)

        def named(point: Hashable, hill: _Hill = hill) -> Hashable:
            return point if is_given(point) else (hill, point)

        if optimiser.uses_loss:
            is_random = lens.is_random or objective.moves
            gradients.setdefault(hill, set()).update(trace.drawn_gradients if is_random else trace.gradients)
            if objective.moves:
                views.update((objective, moment) for moment in trace.known_moments)
            if lens == Lens():
                passed.update(map(named, trace.gradients))
        values.update(map(named, trace.values))
        final = named(trace.final)
        ends = [final] if optimiser.is_whole(threat) else [final, ("8-bit", final)]
        # Another model's features are never those of the walk.
        scored.update(ends if not victim else [("of", victim, end) for end in ends])
    # In `fast` another arithmetic walks than scores, so that what was walked through is not known to the scoring; nor
    # is it where gradients pass stages straight.
    n_forwards = len(values - passed) + len(scored) if apart else len((values | scored) - passed)
    n_gradients = sum(lens.samples * len(points) for (_, lens), points in gradients.items())
    return Cost(gradients=n_gradients, forwards=n_forwards + len(views))


def reference_key(cell: Cell) -> tuple[str, int]:
    """Cells of a group with the same key have the same references, and so attack the same images."""
    seeded = cell.attack.references == "single" or cell.goal == "targeted"
    return cell.attack.references, cell.seed if seeded else 0


def n_attacked(cell: Cell, data: RetrievalSet, side: SideName) -> int:
    """How many images of a side the cell's adversary changes."""
    _, seed = reference_key(cell)
    return _n_attacked(data, side, cell.attack.references, cell.goal, seed)


@lru_cache(maxsize=256)
def _n_attacked(data: RetrievalSet, side: SideName, policy: ReferencePolicy, goal: Goal, seed: int) -> int:
    other = data.gallery if side == "query" else data.query
    chosen = select(policy, attacked=data.side(side).people, reference=other.people, goal=goal, seed=seed)
    return len(chosen.attacked)
