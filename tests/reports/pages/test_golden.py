"""What pages say, as text that a person can read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden"
#: Set it to write the golden texts anew; then read what changed.
RENEW = "ROBUSTREID_RENEW_GOLDEN"


@pytest.mark.parametrize("kind", ["index", "boards", "models", "attacks"])
def test_golden_text(golden_site: Path, read_page: Callable[[Path], Any], kind: str) -> None:
    """What a page says, as text (renew with ROBUSTREID_RENEW_GOLDEN=1 and read the difference)."""
    file = golden_site / "index.html" if kind == "index" else max((golden_site / kind).glob("*.html"))
    text = read_page(file).text
    golden = GOLDEN / f"{kind}.txt"
    if os.environ.get(RENEW):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
