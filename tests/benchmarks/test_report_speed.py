"""How long a site takes to make, and a board of ten thousand rows to open."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from robustreid.benchmark.store.directory import RunDirectory
from robustreid.benchmark.store.schema import ROW_SCHEMA
from robustreid.reports.site import build_site

#: Ten thousand files take a minute to write and to read.
pytestmark = pytest.mark.slow

MODELS, ATTACKS, EPSILONS = 50, 20, 10


@pytest.fixture(scope="module")
def large_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten thousand cells, all done."""
    run = RunDirectory(tmp_path_factory.mktemp("large") / "run")
    run.path.mkdir()
    cells: list[dict[str, Any]] = []
    for model in range(MODELS):
        for attack in range(ATTACKS):
            for k in range(1, EPSILONS + 1):
                value = (1 + model) / (60 + 2 * attack + 9 * k)
                cell: dict[str, Any] = {
                    "cell_id": f"{len(cells):032x}",
                    "model": f"m{model}",
                    "dataset": "large",
                    "attack": f"a{attack}",
                    "norm": "linf",
                    "epsilon": k / 255,
                    "epsilon_label": f"{k}/255",
                    "side": "gallery",
                    "goal": "untargeted",
                    "seed": 0,
                }
                cells.append({**cell, "label": f"m{model} large a{attack} linf {k}/255 gallery"})
                scores = {f"{metric}_{state}": value for metric in ("mAP", "rank1") for state in ("clean", "attacked")}
                row = {**cell, "status": "done", "reason": "", "flags": [], **scores}
                file = run.cells / f"{cell['cell_id']}.parquet"
                run.write_table(file, pa.Table.from_pylist([row], schema=ROW_SCHEMA))
    (run.path / "plan.json").write_text(json.dumps({"schema_version": 1, "cells": cells}))
    return run.path


@pytest.fixture(scope="module")
def large_site(large_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its site."""
    return build_site([large_run], tmp_path_factory.mktemp("site") / "site").parent


def test_make_a_site(benchmark: Any, large_run: Path, tmp_path: Path) -> None:
    """Ten thousand rows read, 51 pages and 53 figures made."""
    benchmark.pedantic(build_site, args=([large_run], tmp_path / "site"), rounds=1)
    assert (tmp_path / "site" / "index.html").is_file()


def test_open_ten_thousand_rows(benchmark: Any, large_site: Path) -> None:
    """From the address to a table that can be sorted, in a new page of a running Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium found: install chromium or google-chrome")
    board = next((large_site / "boards").iterdir()).as_uri()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])

        def opened() -> int:
            page = browser.new_page()
            page.goto(board, wait_until="commit")
            page.wait_for_selector("#cells-table[data-ready] tbody tr")
            count = page.locator("#cells-table tbody tr").count()
            page.close()
            return int(count)

        assert benchmark.pedantic(opened, rounds=5, warmup_rounds=1) == 25
        browser.close()
