"""Cells are joined on what they mean, and a difference is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from robustreid import UserError
from robustreid.leaderboards.gate.joining import Pair, join, tail
from robustreid.leaderboards.measurements import Measurement, read_measurements

Side = Callable[..., tuple[Measurement, ...]]


@pytest.fixture
def side(make_side: Callable[[Path, Sequence[dict[str, Any]]], Path], tmp_path: Path) -> Side:
    """Makes the cells of one side."""

    def make(*cells: dict[str, Any]) -> tuple[Measurement, ...]:
        count = len(list(tmp_path.iterdir()))
        return read_measurements(make_side(tmp_path / f"run{count}", cells))

    return make


def titles(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    """The labels of both cells; `-` where there is none."""
    return [(pair.base.label if pair.base else "-", pair.new.label if pair.new else "-") for pair in pairs]


def test_order_and_labels_decide_nothing(side: Side) -> None:
    """The same cells in another order, of a model and a data set with other names, all find their equals."""
    cells = [{"attack": attack, "k": k} for attack in ("fna", "pgd") for k in (2, 4)]
    digest = side(*cells)[0].row["dataset_sha256"]
    named = {"model": "v2", "dataset": "market", "row": {"dataset_sha256": digest}}
    pairs = join(side(*cells), side(*({**cell, **named} for cell in reversed(cells))))
    assert [(pair.base is None, pair.new is None, pair.differences) for pair in pairs] == [(False, False, ())] * 4
    for pair in pairs:
        assert pair.base is not None
        assert pair.new is not None
        assert [pair.base.row[name] for name in ("attack", "epsilon")] == [
            pair.new.row[name] for name in ("attack", "epsilon")
        ]


def test_an_exact_equal_is_never_given_to_another(side: Side) -> None:
    """A cell with other parameters stands without a partner beside one that has its own."""
    plain, longer = {"attack": "pgd"}, {"attack": "pgd", "k": 4, "seed": 0, "row": {"attack_params": '{"steps": 40}'}}
    longer |= {"label": "osnet mini pgd(steps=40) linf 4/255 gallery", "cell_id": "40"}
    pairs = join(side(longer, plain), side(plain))
    assert titles(pairs) == [(longer["label"], "-"), ("osnet mini pgd linf 4/255 gallery",) * 2]


def test_every_difference_is_named(side: Side) -> None:
    """All at once, with both values; long ones are cut."""
    row = {"attack_params": '{"steps": 10, "alpha": 1}', "metric_version": 1, "protocol": "market-v1"}
    other = {"attack_params": '{"steps": 20, "alpha": 1}', "metric_version": 2, "protocol": "market-v2"}
    [pair] = join(side({"row": row}), side({"row": {**other, "dataset_sha256": "f" * 64}}))
    assert list(pair.differences)[1:] == [
        "protocol market-v1 in BASE, market-v2 in NEW",
        "steps 10 in BASE, 20 in NEW",
        "metric version 1 in BASE, 2 in NEW",
    ]
    assert pair.differences[0].endswith("in BASE, ffffffffffff... in NEW")


def test_two_results_for_one_cell_are_refused(side: Side) -> None:
    """A side must have one answer; a cell that two labels of its data set mean is one."""
    cells = side({}, {"seed": 1, "row": {"seed": 0}})
    with pytest.raises(UserError, match="holds two results for 'osnet mini ama-ifgsm linf 4/255 gallery seed=1'"):
        join(cells, cells)
    [cell] = side({})
    assert len(join([cell, cell], [cell])) == 1


def test_unreadable_parameters_are_compared_as_text(side: Side) -> None:
    """Neither broken JSON nor JSON without end crashes."""
    for text in ("{", "[" * 60_000, "[1]"):
        left, right = side({"row": {"attack_params": text}}), side({})
        assert join(left, left)[0].differences == ()
        assert join(left, right)[0].differences == ("attack parameters",)


def test_a_cell_without_a_label_has_one_made(side: Side) -> None:
    """From its row."""
    [cell] = side({})
    bare = Measurement(**{**vars(cell), "label": ""})
    assert tail(bare) == tail(cell) == "mini ama-ifgsm linf 4/255 gallery"
