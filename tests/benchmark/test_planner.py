"""From a grid to cells in groups, and what they cost."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from robustreid import UserError
from robustreid.attacks.references import select
from robustreid.benchmark.config.grid import load_grid
from robustreid.benchmark.costs import Cost, attack_cost
from robustreid.benchmark.datasets.opening import open_sets
from robustreid.benchmark.planner import Group, Plan, make_plan
from robustreid.benchmark.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from robustreid.benchmark.datasets.retrieval import RetrievalSet
    from robustreid.benchmark.records import Cell

PAPER = "attacks: [ama-fgsm, ama-ifgsm, ama-mifgsm]"
EVERY = (
    "attacks: [ama-fgsm, ama-ifgsm, ama-mifgsm, noise, {name: pgd, steps: 3, restarts: 2}, "
    "{name: one, objective: push, optimiser: ifgsm, references: single}]"
)


@pytest.fixture
def plan_of(write_grid: Callable[..., Path]) -> Callable[..., Plan]:
    """A function that makes the plan of a grid written from parts."""

    def make(extra: str = "", **parts: str | None) -> Plan:
        grid = load_grid(write_grid(extra, **parts))
        sets, absent = open_sets(grid.datasets, workers=1, reporter=Silent(), allow_absent=True)
        return make_plan(grid, sets, absent)

    return make


def recount(cells: Sequence[Cell], data: RetrievalSet) -> Cost:
    """What a group costs, image by image and name by name: the distinct images at which something is computed."""
    gradients, values, scored = set(), set(), set()
    for cell in cells:
        for side in ("gallery", "query") if cell.side == "both" else (cell.side,):
            other = data.query if side == "gallery" else data.gallery
            chosen = select(
                cell.attack.references,
                attacked=data.side(side).people,
                reference=other.people,
                goal=cell.goal,
                seed=cell.seed,
            )
            # What tells cells apart beside the image: their references, and on the second side of `both` the gallery
            # that each of them has attacked.
            seeded = cell.seed if cell.attack.references == "single" or cell.goal == "targeted" else None
            own = (side, cell.attack.references, seeded, cell.cell_id if (cell.side, side) == ("both", "query") else "")
            draws = cell.seed if cell.attack.optimiser.is_random and cell.threat.epsilon else None
            trace = cell.attack.optimiser.trace(cell.threat)
            for image, members in enumerate(chosen.members):
                if not len(members):
                    continue
                gradients |= {(own, image, draws, cell.attack.objective_name, point) for point in trace.gradients}
                values |= {(own, image, draws, point) for point in trace.values}
                scored.add((own, image, draws, trace.final))
                if not cell.attack.optimiser.is_whole(cell.threat):
                    scored.add((own, image, draws, ("rounded", trace.final)))
    known = {(own, image, draws, point) for own, image, draws, _, point in gradients}
    if cells[0].precision == "fast":  # a feature of the walk is another number than that of the scoring
        return Cost(gradients=len(gradients), forwards=len(values - known) + len(scored))
    return Cost(gradients=len(gradients), forwards=len((values | scored) - known))


def miscounted(plan: Plan, cost: Callable[[Sequence[Cell], RetrievalSet], Cost]) -> list[str]:
    """The groups of a plan that a way to count shared work gets wrong."""
    wrong = []
    for group in plan.groups():
        data = plan.sets[group.cells[0].dataset.label].data
        if cost(group.cells, data) != recount(group.cells, data):
            wrong.append(group.title)
    return wrong


def test_cells_stand_in_grid_order(plan_of: Callable[..., Plan]) -> None:
    """Data set, model, side and goal outside, attack and epsilon inside: cells of a group stand together."""
    plan = plan_of(
        "", attacks="attacks: [ama-fgsm, noise]", epsilons="epsilons: [1/255, 0]", side="side: [query, both]"
    )
    assert [cell.label for cell in plan.cells] == [
        f"lin mini {attack} linf {epsilon}/255 {side}{seed}"
        for side in ("query", "both")
        for attack, seed in (("ama-fgsm", ""), ("noise", " seed=0"))
        for epsilon in (1, 0)
    ]
    assert [len(group.cells) for group in plan.groups()] == [4, 4]
    assert [group.title for group in plan.groups()] == ["lin on mini, query", "lin on mini, both"]
    chosen = {plan.cells[5].cell_id, plan.cells[0].cell_id}
    assert [group.cells for group in plan.groups(chosen)] == [(plan.cells[0],), (plan.cells[5],)]


@pytest.mark.parametrize(
    ("parts", "n_cells"),
    [
        ({"epsilons": "epsilons: [5/255, 10/510, 1/51]"}, 1),
        ({"epsilons": "epsilons: [0.02, 2e-2, 1/50, 5/255]"}, 2),
        ({"attacks": "attacks: [ama-mifgsm, {name: ama-mifgsm, momentum: 1.0}]"}, 1),
        ({"attacks": "attacks: [ama-mifgsm, {name: ama-mifgsm, momentum: 0.5}]"}, 2),
        ({"attacks": "attacks: [ama-ifgsm, ama-fgsm]", "extra": "seeds: [0, 1, 2]"}, 2),
        ({"attacks": "attacks: [ama-ifgsm, noise]", "extra": "seeds: [0, 1, 1]"}, 3),
        ({"attacks": "attacks: [ama-ifgsm]", "extra": "seeds: [0, 1]\ngoal: [targeted, untargeted]"}, 3),
        ({"attacks": "attacks: [{name: pgd, references: single}]", "extra": "seeds: [0, 1]"}, 2),
    ],
)
def test_the_same_cell_is_planned_once(plan_of: Callable[..., Plan], parts: dict[str, str], n_cells: int) -> None:
    """Equal fractions, defaults written out, and seeds of what draws nothing."""
    assert len(plan_of(**parts).cells) == n_cells


def test_ids_depend_on_nothing_but_content(
    plan_of: Callable[..., Plan], bench: Path, write_linear_model: Callable[..., Path]
) -> None:
    """Other labels, paths, order and neighbours: the same ids; another model: others."""
    before = plan_of("", attacks="attacks: [ama-ifgsm, noise]")
    (bench / "deep").mkdir()
    (bench / "mini").rename(bench / "deep" / "moved")
    (bench / "m.onnx").rename(bench / "deep" / "other.onnx")
    moved = {
        "name": "name: renamed",
        "models": "models:\n  - {name: zwo, weights: deep/other.onnx}",
        "datasets": "datasets:\n  - {name: dorf, format: folder, root: deep/moved}",
    }
    after = plan_of("", attacks="attacks: [noise, ama-fgsm, ama-ifgsm]", **moved)
    assert {cell.cell_id for cell in before.cells} < {cell.cell_id for cell in after.cells}
    write_linear_model(bench / "deep" / "other.onnx", seed=1)
    other = plan_of("", attacks="attacks: [ama-ifgsm, noise]", **moved)
    assert {cell.cell_id for cell in before.cells} & {cell.cell_id for cell in other.cells} == set()


def test_exclusions(plan_of: Callable[..., Plan]) -> None:
    """A cell goes where it matches every key of one of them; one that matches nothing, or all, is refused."""
    parts = {
        "attacks": "attacks: [ama-ifgsm, noise]",
        "epsilons": "epsilons: [1/255, 2/255]",
        "side": "side: [query, gallery]",
    }
    kept = plan_of("exclude:\n  - {attack: noise, side: query}\n  - {epsilon: 2/255, side: gallery}", **parts)
    assert [cell.label.removeprefix("lin mini ") for cell in kept.cells] == [
        "ama-ifgsm linf 1/255 query",
        "ama-ifgsm linf 2/255 query",
        "ama-ifgsm linf 1/255 gallery",
        "noise linf 1/255 gallery seed=0",
    ]
    with pytest.raises(
        UserError, match=r"^exclude\[1\] \(side: both, seed: 3\) matches no cell of the grid; correct it or"
    ):
        plan_of("exclude:\n  - {attack: noise}\n  - {side: both, seed: 3}", **parts)
    with pytest.raises(UserError, match=r"^The exclusions leave no cell of the grid; remove one of them"):
        plan_of("exclude:\n  - {attack: noise}\n  - {attack: ama-ifgsm}", **parts)


@pytest.mark.parametrize(
    ("extra", "parts", "message"),
    [
        (
            "",
            {"epsilons": "epsilons: [1/510]"},
            r"^ama-ifgsm has no step below 1/255 \(epsilon 0\.50/255\): .*use pgd there",
        ),
        ("norm: l2", {"epsilons": "epsilons: [3]"}, r"^ama-ifgsm is defined for L-inf only, not l2; use pgd for l2\.$"),
        (
            "goal: targeted",
            {"side": "side: both"},
            "^Goal targeted is defined for one side, query or gallery, not for both",
        ),
        ("", {"side": "side: both", "attacks": "attacks: [{name: pgd, references: self}]"}, "cannot attack both sides"),
        ("goal: targeted", {"attacks": "attacks: [{name: pgd, references: self}]"}, "has no target"),
    ],
)
def test_what_has_no_meaning_is_refused(
    plan_of: Callable[..., Plan], extra: str, parts: dict[str, Any], message: str
) -> None:
    """One sentence that names the attack and what to use instead."""
    with pytest.raises(UserError, match=message):
        plan_of(extra, **parts)


def test_a_refused_pair_may_be_excluded(plan_of: Callable[..., Plan]) -> None:
    """As the sentence says."""
    parts = {"attacks": "attacks: [ama-ifgsm, pgd]", "epsilons": "epsilons: [1/510, 1/255]"}
    assert len(plan_of("exclude:\n  - {attack: ama-ifgsm, epsilon: 0.5/255}", **parts).cells) == 3


def test_absent_sets_are_planned_without_data(plan_of: Callable[..., Plan]) -> None:
    """Two that are not there stay apart, cost nothing that is known, and are named."""
    entries = [f"{{name: {name}, format: folder, root: ./{name}}}" for name in ("mini", "a", "b")]
    plan = plan_of("", datasets="datasets:\n" + "\n".join(f"  - {entry}" for entry in entries))
    assert [cell.dataset.label for cell in plan.cells] == ["mini", "a", "b"]
    assert [request.label for request in plan.absent] == ["a", "b"]
    costs = [plan.cost(group, shared=True) for group in plan.groups()]
    assert [cost is None for cost in costs] == [False, True, True]
    assert [plan.clean_cost(group).forwards for group in plan.groups()] == [9, 0, 0]


def test_the_same_images_twice_are_refused(plan_of: Callable[..., Plan], bench: Path) -> None:
    """Under two names they would be one cell with two labels."""
    datasets = "datasets:\n  - {name: a, format: folder, root: mini}\n  - {name: b, format: folder, root: ./mini}"
    with pytest.raises(UserError, match=r"^Data sets 'a' and 'b' hold the same images; remove one of the two"):
        plan_of("", datasets=datasets)


@pytest.mark.parametrize(("n_shapes", "expected"), [(1, "native"), (8, "native"), (9, "input")])
def test_images_of_few_shapes_are_attacked_as_they_are(
    plan_of: Callable[..., Plan], bench: Path, n_shapes: int, expected: str
) -> None:
    """Up to eight shapes native, beyond at the model's input; and what the grid says where it says so."""
    for index, path in enumerate(sorted((bench / "mini").rglob("*.png"))):
        pixels = np.full((16 + index % n_shapes, 8, 3), index, dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    assert {cell.perturb_at for cell in plan_of().cells} == {expected}
    for chosen in ("native", "input"):
        assert {cell.perturb_at for cell in plan_of(f"perturb_at: {chosen}").cells} == {chosen}


def test_the_papers_sweep_shares_as_designed(plan_of: Callable[..., Plan]) -> None:
    """{FGSM, I, MI} x {1, 2, 4, 5, 8, 16}/255: 40 gradients and 13 forwards an image, in place of 94 and 36."""
    plan = plan_of("", attacks=PAPER, epsilons="epsilons: [1/255, 2/255, 4/255, 5/255, 8/255, 16/255]")
    (group,) = plan.groups()
    assert plan.cost(group, shared=True) == Cost(gradients=40 * 6, forwards=13 * 6)
    alone = sum((attack_cost([cell], plan.sets["mini"].data, shared=True) for cell in group.cells), Cost())
    assert plan.cost(group, shared=False) == alone + Cost(forwards=9 * len(group.cells))
    # One by one FGSM takes a gradient an epsilon, the two others their schedule's steps: 1, 2, 5, 6, 10 and 20.
    assert alone == Cost(gradients=(6 + 2 * 44) * 6, forwards=18 * 6)


@pytest.mark.parametrize(
    ("extra", "parts"),
    [
        ("", {"attacks": PAPER}),
        ("seeds: [0, 1]", {"attacks": EVERY, "side": "side: [query, gallery, both]"}),
        ("seeds: [0, 1]\ngoal: targeted", {"attacks": EVERY, "side": "side: [query, gallery]"}),
        ("seeds: [0, 1]\nprecision: fast", {"attacks": EVERY, "side": "side: [query, gallery, both]"}),
        ("norm: l2", {"attacks": "attacks: [noise, pgd]", "epsilons": "epsilons: [0, 1, 2.5]"}),
    ],
)
def test_shared_work_is_counted_once(
    plan_of: Callable[..., Plan], bench: Path, extra: str, parts: dict[str, Any]
) -> None:
    """The plan's sums equal a recount image by image, with junk, distractors and an unmatched query about."""
    for name in ("-1_c1s1_1.png", "0000_c1s1_1.png", "0001_c2s1_7.png"):
        Image.new("RGB", (8, 16), (3, 4, len(name))).save(bench / "mini/bounding_box_test" / name)
    Image.new("RGB", (8, 16), (9, 9, 9)).save(bench / "mini/query/0077_c1s1_1.png")
    plan = plan_of(extra, **{"epsilons": "epsilons: [0, 1/255, 2/255, 2.5/255, 5/255]", **parts})
    assert miscounted(plan, lambda cells, data: attack_cost(cells, data, shared=True)) == []


def test_a_plan_that_counts_twice_is_caught(plan_of: Callable[..., Plan]) -> None:
    """The same check refuses sums over cells, in which a shared gradient stands as often as it is used."""
    plan = plan_of("", attacks=PAPER, epsilons="epsilons: [1/255, 2/255]")

    def careless(cells: Sequence[Cell], data: RetrievalSet) -> Cost:
        return sum((attack_cost([cell], data, shared=True) for cell in cells), Cost())

    assert miscounted(plan, careless) == ["lin on mini, gallery"]


def test_costs_add_up() -> None:
    """A gradient is worth about three forwards."""
    assert Cost(gradients=2, forwards=1) + Cost(gradients=1, forwards=4) == Cost(gradients=3, forwards=5)
    assert Cost(gradients=3, forwards=5).work == 14


def test_groups_of_targeted_cells_are_apart_by_seed(plan_of: Callable[..., Plan]) -> None:
    """Another seed is another target, so nothing is shared."""
    plan = plan_of("goal: targeted\nseeds: [0, 1]", attacks="attacks: [noise, ama-ifgsm]")
    found: dict[int, list[Group]] = defaultdict(list)
    for group in plan.groups():
        found[group.cells[0].seed].append(group)
    assert {seed: [len(group.cells) for group in groups] for seed, groups in found.items()} == {0: [2], 1: [2]}
    assert {group.title for groups in found.values() for group in groups} == {"lin on mini, gallery, targeted"}
