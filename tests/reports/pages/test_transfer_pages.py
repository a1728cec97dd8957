"""Transfer matrices: surrogate x model, white-box where both are one, and nothing counted that was not measured."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from robustreid.reports import boards
from robustreid.reports.merging import load_results
from robustreid.reports.pages import Pages
from robustreid.reports.transfer import Matrix, make_transfers

MODELS = ("osnet", "r18", "tiny")


def cells_between(surrogates: tuple[str, ...], k: int = 4) -> list[dict[str, Any]]:
    """White-box cells of three models, and theirs under each surrogate but themselves; one failed, one is missing."""
    cells: list[dict[str, Any]] = [{"model": model, "k": k, "attack": "apgd"} for model in MODELS]
    for name in surrogates:
        for model in MODELS:
            if model == name:
                continue
            label = f"{model} mini apgd linf {k}/255 gallery from {name}"
            cell = {"model": model, "k": k, "attack": "apgd", "label": label, "knowledge": "transfer"}
            score = {"mAP_clean": 0.9, "mAP_attacked": 0.5 + 0.1 * MODELS.index(model)}
            digest = hashlib.sha256(label.encode()).hexdigest()[:32]
            cells.append({**cell, **score, "surrogate": name, "cell_id": digest})
    return cells


@pytest.fixture
def matrices(make_run: Callable[..., Path], tmp_path: Path) -> Callable[[list[dict[str, Any]]], tuple[Matrix, ...]]:
    """A function that gives the matrices of some cells."""

    def make(cells: list[dict[str, Any]]) -> tuple[Matrix, ...]:
        found = make_transfers(load_results([make_run(tmp_path / "run", cells)]).results)
        return found[0].matrices if found else ()

    return make


def matrix_problems(page: Any, run: Path) -> list[str]:
    """Where the matrices of a page differ from the stored rows, cell by cell."""
    rows = {}
    for row in pd.read_parquet(run / "cells").to_dict("records"):
        surrogate = row["surrogate"] if isinstance(row["surrogate"], str) else row["model"]
        rows[surrogate, row["model"]] = f"{100 * row['mAP_attacked']:.2f}" if row["status"] == "done" else row["status"]
    found = []
    for _, (head, *body) in page.tables:
        for name, *cells in body:
            for model, text in zip(head[1:], cells, strict=True):
                surrogate = model if "each its own" in name else name
                wanted = rows.get((surrogate, model), "missing")
                if text.replace("white-box", "").strip() != wanted:
                    found.append(f"{name} on {model}: {text!r} instead of {wanted!r}")
    return found


def test_a_full_matrix_has_its_white_box_on_the_diagonal(matrices: Callable[..., tuple[Matrix, ...]]) -> None:
    """Each surrogate's row, and where it is the model itself the white-box score."""
    (matrix,) = matrices(cells_between(MODELS))
    assert [row.surrogate for row in matrix.rows] == list(MODELS)
    assert [row.is_own for row in matrix.rows] == [tuple(model == name for model in MODELS) for name in MODELS]
    assert matrix.rows[0].scores[1].mean("mAP_attacked") == 0.6
    assert matrix.n_missing == 0


def test_a_matrix_that_is_not_square_says_what_own_gradients_leave(
    matrices: Callable[..., tuple[Matrix, ...]],
) -> None:
    """One surrogate: a last row has every model under its own gradients."""
    (matrix,) = matrices(cells_between(("r18",)))
    assert [row.surrogate for row in matrix.rows] == ["r18", ""]
    own = [score.mean("mAP_attacked") for score in matrix.rows[1].scores]
    assert own[1] == matrix.rows[0].scores[1].mean("mAP_attacked")
    assert all(matrix.rows[1].is_own)


def test_without_a_surrogate_there_is_no_matrix(matrices: Callable[..., tuple[Matrix, ...]]) -> None:
    """White-box rows alone, and attacks that follow nobody's gradients."""
    assert matrices([{"model": "a"}, {"model": "a", "attack": "noise"}]) == ()


def test_radii_and_parameters_stand_apart(matrices: Callable[..., tuple[Matrix, ...]]) -> None:
    """A matrix a radius, ascending; the same attack with other parameters is another one."""
    other = [
        {**cell, "attack_params": '{"steps": 9}', "cell_id": f"other-{place}"}
        for place, cell in enumerate(cells_between(("r18",), 2))
    ]
    found = matrices([*cells_between(("r18",), 8), *cells_between(("r18",), 2), *other])
    assert [matrix.epsilon_label for matrix in found] == ["2/255", "2/255", "8/255"]
    assert len({matrix.parameters for matrix in found}) == 2


@pytest.mark.parametrize("is_spoilt", [False, True])
def test_the_page_says_what_the_rows_say(
    make_run: Callable[..., Path],
    read_page: Callable[[Path], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_spoilt: bool,
) -> None:
    """To the last digit, with failed and missing cells named. Planted: one without a score counts as zero."""
    cells = cells_between(MODELS)
    cells[3] |= {"status": "failed", "reason": "out of memory"}
    cells[4] |= {"status": "missing"}
    run = make_run(tmp_path / "run", cells)
    if is_spoilt:
        true = boards.combine
        zero = SimpleNamespace(status="done", mean=lambda column: 0.0)
        monkeypatch.setattr(
            "robustreid.reports.transfer.combine", lambda found: zero if true(found).status == "failed" else true(found)
        )
    (made,) = make_transfers(load_results([run]).results)
    page = tmp_path / "page.html"
    page.write_bytes(Pages().render("transfer.html", root="../", page="transfer", transfers=made))
    found = matrix_problems(read_page(page), run)
    assert bool(found) is is_spoilt
    if is_spoilt:
        assert "osnet on r18: '0.00' instead of 'failed'" in found
    assert re.search(r'class="num kept-\d+ own"', page.read_text())
