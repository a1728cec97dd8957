"""From a grid to cells, in groups that share work."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .. import UserError
from ..attacks.threat import Side
from ..models.base import ModelSpec
from .config.grid import Exclusion, Grid
from .costs import Cost, attack_cost, scenes_of
from .datasets.opening import DatasetRequest, OpenSet
from .records import Cell, DatasetRef, PerturbAt
from .splits import protocol_of, refuse_leaks, refuse_split_attack

#: Up to this many image sizes, images are perturbed at their own size; beyond, at the model's.
MAX_NATIVE_SHAPES = 8


@dataclass(frozen=True, kw_only=True)
class Group:
    """Cells of one (model, data set, side, goal, seed): they share images, clean features, references, gradients."""

    cells: tuple[Cell, ...]

    @property
    def title(self) -> str:
        """How progress calls it."""
        cell = self.cells[0]
        goal = "" if cell.goal == "untargeted" else f", {cell.goal}"
        victims = [each.model.label for each in self.cells if each.surrogate]
        others = f" against {', '.join(dict.fromkeys(victims))}" if victims else ""
        return f"{cell.walker.label}{others} on {cell.dataset.label}, {cell.side}{goal}"


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

    def clean_cost(self, group: Group, known: Collection[CleanKey] = ()) -> Cost:
        """What the clean features of a group cost, without those that are known."""
        opened = self.sets.get(group.cells[0].dataset.label)
        missing = clean_keys(group) - set(known)
        if opened is None:
            return Cost()
        n_images = sum(len(scene.paths) for scene in scenes_of(group.cells[0], opened.data))
        return Cost(forwards=len(missing) * n_images)


#: A model, a data set, and the size at which its images are perturbed: what clean features belong to.
CleanKey = tuple[str, str, PerturbAt]


def clean_keys(group: Group) -> set[CleanKey]:
    """Whose clean features a group needs: those of the models that are scored, and of the one that is followed."""
    return {
        (model.label, cell.dataset.label, cell.perturb_at)
        for cell in group.cells
        for model in (cell.model, cell.walker)
    }


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
        missing = DatasetRef(label=dataset.label, sha256=f"absent {dataset.label}", protocol=protocol_of(dataset))
        ref = opened.ref if opened else missing
        refuse_leaks(model, dataset, ref.protocol)
        perturb_at = _perturb_at(grid, model.input_size, opened)
        if perturb_at == "input" and model.input_size is None:
            raise UserError(
                f"Model {model.label!r} has no input size of its own, so perturb_at `input` means nothing for it; "
                f"give it an `input_size`, or use perturb_at: native."
            )
        for surrogate, attack, threat in itertools.product(_surrogates(grid, model), grid.attacks, grid.threats):
            refuse_split_attack(attack, dataset, ref.protocol)
            if surrogate is not None:
                refuse_leaks(surrogate, dataset, ref.protocol)
                if not attack.optimiser.uses_gradients or attack.is_ensemble:
                    continue  # what follows no gradient comes from no model, and the standard ensemble knows the model
                _refuse_transfer(surrogate, model, side, perturb_at)
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
                    surrogate=surrogate,
                    adaptive=grid.adaptive,
                )


def _surrogates(grid: Grid, model: ModelSpec) -> list[ModelSpec | None]:
    """Whose gradients are followed to mislead a model: its own (None), those of others, or both."""
    others = [surrogate for surrogate in grid.surrogates if surrogate.identity() != model.identity()]
    found: list[ModelSpec | None] = []
    for knowledge in grid.knowledge:
        found += [None] if knowledge == "white-box" else others
    return found


def _refuse_transfer(surrogate: ModelSpec, model: ModelSpec, side: Side, perturb_at: PerturbAt) -> None:
    if side == "both":
        raise UserError(
            "knowledge: transfer is defined for one side, query or gallery, not for both; "
            "choose one, or exclude {knowledge: transfer, side: both}."
        )
    if perturb_at == "input" and surrogate.input_size != model.input_size:
        raise UserError(
            f"Images perturbed at the input size of {model.label!r} do not fit that of {surrogate.label!r}; "
            f"use perturb_at: native for knowledge: transfer."
        )


def _perturb_at(grid: Grid, input_size: tuple[int, int] | None, opened: OpenSet | None) -> PerturbAt:
    if grid.perturb_at != "auto":
        return grid.perturb_at
    many = opened is not None and len(opened.manifest.shapes) > MAX_NATIVE_SHAPES
    return "input" if many and input_size is not None else "native"


def _matches(exclusion: Exclusion, cell: Cell) -> bool:
    pairs = (
        (exclusion.knowledge, cell.knowledge),
        (exclusion.surrogate, cell.surrogate.label if cell.surrogate else ""),
        (exclusion.model, cell.model.label),
        (exclusion.dataset, cell.dataset.label),
        (exclusion.attack, cell.attack.name),
        (exclusion.epsilon, cell.threat),
        (exclusion.side, cell.side),
        (exclusion.goal, cell.goal),
        (exclusion.seed, cell.seed),
    )
    return all(wanted is None or wanted == found for wanted, found in pairs)
