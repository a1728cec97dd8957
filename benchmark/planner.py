"""From a grid to cells in groups, and what they cost with and without sharing."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .. import UserError
from ..attacks.objectives import Objective
from ..attacks.optimisers import Optimiser
from ..attacks.optimisers.base import is_given
from ..attacks.references import ReferencePolicy, select
from ..attacks.threat import Goal, Threat
from ..attacks.transforms import Lens
from .config.grid import Exclusion, Grid
from .datasets.opening import DatasetRequest, OpenSet
from .datasets.retrieval import RetrievalSet, SideName
from .evaluation import PROTOCOLS
from .records import Cell, DatasetRef, PerturbAt, Precision

#: Up to this many image sizes, images are perturbed at their own size; beyond, at the model's.
MAX_NATIVE_SHAPES = 8

#: What is climbed: the objective, and what stands between the images and the model.
_Hill = tuple[Objective, Lens]
#: What decides at which images passes are needed: what is climbed, how, and the ball.
_Walk = tuple[_Hill, Optimiser, Threat]


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


@dataclass(frozen=True, kw_only=True)
class Group:
    """Cells of one (model, data set, side, goal, seed): they share images, clean features, references, gradients."""

    cells: tuple[Cell, ...]

    @property
    def title(self) -> str:
        """How progress calls it."""
        cell = self.cells[0]
        goal = "" if cell.goal == "untargeted" else f", {cell.goal}"
        return f"{cell.model.label} on {cell.dataset.label}, {cell.side}{goal}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every cell of a grid, in grid order."""

    cells: tuple[Cell, ...]
    sets: Mapping[str, OpenSet]
    #: Data sets of the grid that are not there.
    absent: tuple[DatasetRequest, ...]

    def groups(self, wanted: Collection[str] | None = None) -> tuple[Group, ...]:
        """Cells (those with an id among `wanted`) that share work, in grid order."""
        found: dict[str, list[Cell]] = {}
        for cell in self.cells:
            if wanted is None or cell.cell_id in wanted:
                found.setdefault(cell.group_key, []).append(cell)
        return tuple(Group(cells=tuple(cells)) for cells in found.values())

    def cost(self, group: Group, *, shared: bool) -> Cost | None:
        """What the attacks of a group cost; None where its data set is not there."""
        opened = self.sets.get(group.cells[0].dataset.label)
        return None if opened is None else attack_cost(group.cells, opened.data, shared=shared)

    def clean_cost(self, group: Group) -> Cost:
        """What the clean features of a group cost."""
        opened = self.sets.get(group.cells[0].dataset.label)
        return Cost(forwards=len(opened.data.paths)) if opened else Cost()


def attack_cost(cells: Sequence[Cell], data: RetrievalSet, *, shared: bool) -> Cost:
    """Passes of the attacks of cells of one group.

    Shared, equal images need one pass; alone, every cell pays its own, and its own clean features. Less is spent where
    a walk comes to rest and sees an image again.
    """
    if not shared:
        alike: dict[Hashable, list[Cell]] = {}
        for cell in cells:
            alike.setdefault((reference_key(cell), cell.attack, cell.threat), []).append(cell)
        costs = [(len(same), attack_cost(same[:1], data, shared=True)) for same in alike.values()]
        return Cost(
            gradients=sum(count * cost.gradients for count, cost in costs),
            forwards=sum(count * (cost.forwards + len(data.paths)) for count, cost in costs),
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
        hill = (attack.objective_for(cell.goal), attack.lens)
        by_seed.setdefault(cell.seed if is_drawn else 0, set()).add((hill, attack.optimiser, cell.threat))
    # Two seeds share nothing, and under each of them the same walks cost the same.
    costs = sum((_passes(frozenset(walks), cells[0].precision) for walks in by_seed.values()), Cost())
    return Cost(gradients=costs.gradients * n_images, forwards=costs.forwards * n_images)


@lru_cache(maxsize=2**16)
def _passes(walks: frozenset[_Walk], precision: Precision) -> Cost:
    """Passes an image, of walks that draw from one seed."""
    gradients: dict[_Hill, set[Hashable]] = {}
    #: Images whose features gradients leave behind, are read on the way, are scored; changed copies of clean ones.
    passed, values, scored, views = (set[Hashable]() for _ in range(4))
    for hill, optimiser, threat in walks:
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
        scored.add(named(trace.final))
        if not optimiser.is_whole(threat):
            scored.add(("8-bit", named(trace.final)))
    # In `fast` another arithmetic walks than scores, so that what was walked through is not known to the scoring.
    apart = precision == "fast"
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


def make_plan(grid: Grid, sets: Mapping[str, OpenSet], absent: Sequence[DatasetRequest] = ()) -> Plan:
    """Every cell of the grid once, in grid order.

    Raises:
        UserError: a combination that has no meaning, or an exclusion that matches nothing.
    """
    _refuse_twins(sets)
    used: set[int] = set()
    cells: dict[str, Cell] = {}
    for cell in _cells(grid, sets):
        matching = [index for index, exclusion in enumerate(grid.exclusions) if _matches(exclusion, cell)]
        used.update(matching)
        if matching:
            continue
        cell.attack.refuse(cell.threat, cell.side, cell.goal)
        cells.setdefault(cell.cell_id, cell)
    for index, exclusion in enumerate(grid.exclusions):
        if index not in used:
            raise UserError(f"exclude[{index}] ({exclusion}) matches no cell of the grid; correct it or remove it.")
    if not cells:
        raise UserError("The exclusions leave no cell of the grid; remove one of them.")
    return Plan(cells=tuple(cells.values()), sets=sets, absent=tuple(absent))


def _refuse_twins(sets: Mapping[str, OpenSet]) -> None:
    for (label, one), (other_label, other) in itertools.combinations(sets.items(), 2):
        if one.ref.sha256 == other.ref.sha256 and one.ref.protocol == other.ref.protocol:
            raise UserError(f"Data sets {label!r} and {other_label!r} hold the same images; remove one of the two.")


def _cells(grid: Grid, sets: Mapping[str, OpenSet]) -> Iterator[Cell]:
    for dataset, model, side, goal in itertools.product(grid.datasets, grid.models, grid.sides, grid.goals):
        opened = sets.get(dataset.label)
        # A set that is not there has no content yet; its label keeps its cells apart from another absent set's.
        missing = DatasetRef(label=dataset.label, sha256=f"absent {dataset.label}", protocol=PROTOCOLS["market"])
        ref = opened.ref if opened else missing
        perturb_at = _perturb_at(grid, model.input_size, opened)
        if perturb_at == "input" and model.input_size is None:
            raise UserError(
                f"Model {model.label!r} has no input size of its own, so perturb_at `input` means nothing for it; "
                f"give it an `input_size`, or use perturb_at: native."
            )
        for attack, threat in itertools.product(grid.attacks, grid.threats):
            seeds = grid.seeds if attack.depends_on_seed(goal) else (0,)
            for seed in seeds:
                yield Cell(
                    model=model,
                    dataset=ref,
                    attack=attack,
                    threat=threat,
                    side=side,
                    goal=goal,
                    seed=seed,
                    perturb_at=perturb_at,
                    precision=grid.precision,
                )


def _perturb_at(grid: Grid, input_size: tuple[int, int] | None, opened: OpenSet | None) -> PerturbAt:
    if grid.perturb_at != "auto":
        return grid.perturb_at
    many = opened is not None and len(opened.manifest.shapes) > MAX_NATIVE_SHAPES
    return "input" if many and input_size is not None else "native"


def _matches(exclusion: Exclusion, cell: Cell) -> bool:
    pairs = (
        (exclusion.model, cell.model.label),
        (exclusion.dataset, cell.dataset.label),
        (exclusion.attack, cell.attack.name),
        (exclusion.epsilon, cell.threat),
        (exclusion.side, cell.side),
        (exclusion.goal, cell.goal),
        (exclusion.seed, cell.seed),
    )
    return all(wanted is None or wanted == found for wanted, found in pairs)
