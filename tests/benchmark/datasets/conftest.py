"""Every test of this folder has a cache of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_cache(own_cache: Path) -> None:
    """The fixture of the whole suite, unasked."""
