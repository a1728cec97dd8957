"""A cell's id: everything that decides its result, and nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from robustreid.attacks.catalogue import AttackSpec, resolve_attack
from robustreid.attacks.objectives import OBJECTIVES
from robustreid.attacks.threat import Threat
from robustreid.attacks.transforms import TI
from robustreid.benchmark import records
from robustreid.benchmark.evaluation import PROTOCOLS
from robustreid.benchmark.records import Cell, DatasetRef, Environment, Row, digest
from robustreid.models.base import ModelSpec, Normalise
from robustreid.models.defences.parameters import Jpeg
from robustreid.models.stages import OFF

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = ModelSpec(label="osnet", architecture="onnx", weights=Path("w.onnx"), sha256="a" * 64, input_size=(256, 128))
DATASET = DatasetRef(label="mini", sha256="b" * 64, protocol=PROTOCOLS["market"])
CELL = Cell(
    model=MODEL,
    dataset=DATASET,
    attack=resolve_attack("pgd", {"steps": 3}),
    threat=Threat(norm="linf", epsilon=Fraction(5, 255)),
    side="gallery",
    goal="untargeted",
    seed=1,
    perturb_at="native",
)

#: By field: another value, which has to give another id.
DECISIVE: dict[str, dict[str, Any]] = {
    "Cell": {
        "model": replace(MODEL, sha256="c" * 64),
        "dataset": replace(DATASET, sha256="c" * 64),
        "attack": resolve_attack("noise"),
        "threat": Threat(norm="linf", epsilon=Fraction(4, 255)),
        "side": "query",
        "goal": "targeted",
        "seed": 2,
        "perturb_at": "input",
        "precision": "fast",
        "surrogate": replace(MODEL, sha256="e" * 64),
        "adaptive": OFF,
    },
    "ModelSpec": {
        "architecture": "plugin",
        "sha256": "d" * 64,
        "plugin": "a:b",
        "input_size": (128, 64),
        "normalise": Normalise(std=(1.0, 1.0, 2.0)),
        "metric": "euclidean",
        "folding": False,
        "defence": (Jpeg(),),
        "by_trial": (replace(MODEL, sha256="f" * 64),),
    },
    "DatasetRef": {"sha256": "d" * 64, "protocol": replace(PROTOCOLS["market"], version=99)},
    "AttackSpec": {
        "name": "mine",
        "version": 99,
        "objective_name": "pull",
        "objective": OBJECTIVES["soft-ap"](),
        "optimiser_name": "other",
        "optimiser": resolve_attack("pgd", {"steps": 4}).optimiser,
        "references": "single",
        "transforms": (TI(),),
        "eot": 2,
    },
    "Threat": {"norm": "l2", "epsilon": Fraction(1, 100)},
}

#: Names, places and what only says which requests are refused: another value is the same cell.
IDLE: dict[str, dict[str, Any]] = {
    "Cell": {},
    "ModelSpec": {"label": "another", "weights": Path("elsewhere/v.onnx")},
    "DatasetRef": {"label": "another"},
    # Without transforms their names are nothing. The perturbations of splits are parameters of the optimiser.
    "AttackSpec": {"linf_only": True, "transform_names": ("ti",), "by_trial": (resolve_attack("noise"),)},
    "Threat": {},
}

OWNERS: dict[str, tuple[type, Callable[[str, Any], Cell]]] = {
    "Cell": (Cell, lambda field, value: replace(CELL, **{field: value})),
    "ModelSpec": (ModelSpec, lambda field, value: replace(CELL, model=replace(MODEL, **{field: value}))),
    "DatasetRef": (DatasetRef, lambda field, value: replace(CELL, dataset=replace(DATASET, **{field: value}))),
    "AttackSpec": (AttackSpec, lambda field, value: replace(CELL, attack=replace(CELL.attack, **{field: value}))),
    "Threat": (Threat, lambda field, value: replace(CELL, threat=replace(CELL.threat, **{field: value}))),
}


def forgotten(identify: Callable[[Cell], str]) -> list[str]:
    """The decisive fields that an identity of cells does not look at."""
    return [
        f"{owner}.{field}"
        for owner, changes in DECISIVE.items()
        for field, value in changes.items()
        if identify(OWNERS[owner][1](field, value)) == identify(CELL)
    ]


def test_every_decisive_field_changes_the_id() -> None:
    """No two results share a file."""
    assert forgotten(lambda cell: cell.cell_id) == []


def test_an_id_that_forgets_epsilon_is_caught() -> None:
    """The same check refuses an identity that takes every radius for one."""
    same = Threat(norm="linf", epsilon=Fraction(0))
    careless = forgotten(lambda cell: replace(cell, threat=replace(same, norm=cell.threat.norm)).cell_id)
    assert careless == ["Cell.threat", "Threat.epsilon"]


@pytest.mark.parametrize("owner", list(IDLE))
def test_labels_and_paths_decide_nothing(owner: str) -> None:
    """What the user calls things, and where they lie."""
    _, change = OWNERS[owner]
    assert [field for field, value in IDLE[owner].items() if change(field, value).cell_id != CELL.cell_id] == []


@pytest.mark.parametrize("owner", list(OWNERS))
def test_every_field_is_one_or_the_other(owner: str) -> None:
    """A field that is added has to be sorted into one of the two tables above."""
    kind, _ = OWNERS[owner]
    known = {field.name for field in fields(kind)}
    assert sorted(known) == sorted([*DECISIVE[owner], *IDLE[owner]])


@pytest.mark.parametrize("name", ["ENGINE_VERSION", "METRIC_VERSION"])
def test_versions_change_every_id(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Numbers of another engine or another metric are other numbers."""
    before = CELL.cell_id
    monkeypatch.setattr(records, name, 99)
    assert replace(CELL).cell_id != before


def test_an_optimisers_parameters_all_count() -> None:
    """Every parameter of an optimiser is in the id, under its name."""
    parameters = CELL.attack.parameters()
    assert parameters == {"objective": "push", "optimiser": "pgd", "steps": 3, "restarts": 1, "step_ratio": 2.5}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ama-mifgsm", {}), ("ama-mifgsm", {"momentum": 1.0})),
        (("ama-mifgsm", {}), ("ama-mifgsm", {"momentum": 1})),
        (("ama-ifgsm", {"step_size": "1/255"}), ("ama-ifgsm", {"step_size": "2/510"})),
        (("pgd", {"references": "other-side"}), ("pgd", {})),
    ],
)
def test_defaults_written_out_are_the_same_cell(one: tuple[str, Any], other: tuple[str, Any]) -> None:
    """What a file says twice or in other words is hashed once."""
    first, second = (replace(CELL, attack=resolve_attack(*attack)).cell_id for attack in (one, other))
    assert first == second


def test_the_golden_id() -> None:
    """One fixed cell. If this changes, every stored result is another one: raise ENGINE_VERSION on purpose instead."""
    assert CELL.cell_id == "f377c48fba1d2c2e4fa2562863813a5d"


def test_a_digest_is_canonical() -> None:
    """Neither the order of keys nor Python's own tuples matter, and NaN has no digest."""
    assert digest({"b": 1, "a": (1, 2)}) == digest({"a": [1, 2], "b": 1})
    assert digest({"a": 1}) != digest({"a": "1"})
    with pytest.raises(ValueError, match="Out of range float values"):
        digest({"a": float("nan")})


def test_labels_tell_cells_apart() -> None:
    """The words that `-k` looks into; a seed stands there only where it matters."""
    assert CELL.label == "osnet mini pgd(steps=3) linf 5/255 gallery seed=1"
    assert replace(CELL, attack=resolve_attack("ama-ifgsm")).label == "osnet mini ama-ifgsm linf 5/255 gallery"
    assert replace(CELL, goal="targeted").label == "osnet mini pgd(steps=3) linf 5/255 gallery targeted seed=1"


def test_groups_share_what_can_be_shared() -> None:
    """Attack and epsilon may differ within a group; for random starts the seed too, but not for a seeded target."""
    together = [
        replace(CELL, attack=resolve_attack("noise")),
        replace(CELL, threat=Threat(norm="linf", epsilon=Fraction(0))),
        replace(CELL, seed=2),
    ]
    assert {cell.group_key for cell in together} == {CELL.group_key}
    apart = [replace(CELL, **{field: DECISIVE["Cell"][field]}) for field in ("model", "dataset", "side", "perturb_at")]
    targeted = [replace(CELL, goal="targeted", seed=seed) for seed in (1, 2)]
    assert len({cell.group_key for cell in [CELL, *apart, *targeted]}) == 7


def test_a_row_is_done_or_has_a_reason() -> None:
    """No failure without a reason, no reason beside a result."""
    environment = Environment(
        tool_version="0",
        git_commit=None,
        git_dirty=None,
        python="3",
        torch="2",
        device="cpu",
        threads=1,
        deterministic=True,
    )
    assert Row(cell=CELL, status="failed", reason="x", environment=environment).outcome is None
    for status, reason in (("done", ""), ("failed", ""), ("skipped", "")):
        with pytest.raises(ValueError, match=f"to go with status '{status}'"):
            Row(cell=CELL, status=status, reason=reason, environment=environment)  # type: ignore[arg-type]
