"""Tables handed to a page's script as data."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from robustreid.reports.datatables import UNTARGETED, cells_table, column_title, script_json
from robustreid.reports.merging import load_results


@given(st.text())
def test_no_text_ends_the_script_element(text: str) -> None:
    """Plain ASCII without angle brackets or ampersands, and the same text when read back."""
    made = script_json([text, "</script><!--\u2028"])
    assert made.isascii()
    assert not set("<>&") & set(made)
    assert json.loads(made) == [text, "</script><!--\u2028"]


def test_rows_are_the_stored_numbers(sample_run: Path) -> None:
    """Every score bit for bit, null where a cell is not done, texts by their place."""
    results = [r for r in load_results([sample_run]).results if r.goal == "untargeted"]
    table = json.loads(cells_table(results, UNTARGETED, lambda model: f"models/{model}"))
    names = [column["name"] for column in table["columns"]]
    assert names == ["model", "attack", "epsilon_label", "seed", "status", *UNTARGETED, "flags", "reason"]
    for row, result in zip(table["rows"], results, strict=True):
        cells = dict(zip(names, row, strict=True))
        for column in table["columns"]:
            if column["kind"] == "text":
                shown = column["values"][cells[column["name"]]]["full"]
                stored = ", ".join(result.flags) if column["name"] == "flags" else getattr(result, column["name"])
                assert shown == str(stored)
            else:
                assert cells[column["name"]] == (result.row[column["name"]] if result.status == "done" else None)


def test_titles_come_from_the_table_of_metrics() -> None:
    """A stored name is said as pages say it."""
    assert [column_title(column) for column in UNTARGETED] == [
        "Rank-1 clean",
        "Rank-1",
        "mAP clean",
        "mAP",
        "mAP drop",
        "mAP (trapezoid)",
        "mINP",
    ]
