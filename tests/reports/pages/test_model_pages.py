"""Pages of models say what the parquet says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd


def printed(value: float) -> str:
    """Points with two decimals."""
    return f"{100 * value:.2f}"


def test_model_pages_have_the_stored_numbers(
    sample_site: Path,
    sample_run: Path,
    read_page: Callable[[Path], Any],
    stored_cells: Callable[[Path, str], pd.DataFrame],
) -> None:
    """Every score of every attack and epsilon, and the means of each camera."""
    for file in (sample_site / "models").glob("*.html"):
        page = read_page(file)
        model = re.findall(r"<h1><bdi class=\"name\">(.*?)</bdi>", file.read_text())[0]
        tables = [rows for _, rows in page.tables if rows[0][0] == "Attack"]
        for side, table in zip(("gallery", "query"), tables, strict=True):
            frame = stored_cells(sample_run, side)
            for row in table[1:]:
                for label, text in zip(table[0][1:], row[1:], strict=True):
                    is_it = (
                        (frame["model"] == model)
                        & (frame["attack"] == row[0].strip())
                        & (frame["epsilon_label"] == label)
                    )
                    cell = frame[is_it]
                    if set(cell["status"]) == {"done"}:
                        wanted = f"{printed(cell['mAP_attacked'].mean())} {printed(cell['rank1_attacked'].mean())}"
                    else:
                        wanted = cell["status"].iloc[0] if len(cell) else "not planned"
                    assert " ".join(text.split()) == wanted
        cameras = next(rows for _, rows in page.tables if rows[0][0] == "Camera")
        queries = pd.read_parquet(min((sample_run / "queries").glob("*.parquet")))
        for row, (camera, group) in zip(cameras[1:], queries.groupby("camera"), strict=True):
            assert row[:3] == [str(camera), str(len(group)), printed(group["ap_clean"].mean())]
