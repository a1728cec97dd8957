"""Shared fixtures: where the real data lies, and small doubles that several suites use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images and weights; a test that needs it skips where it is absent."""
    folder = Path(os.environ.get("ROBUSTREID_TEST_DATA") or ROOT.parent / "shared" / "data").resolve()
    if not folder.is_dir():
        pytest.skip(f"real test data not found at {folder}; set ROBUSTREID_TEST_DATA")
    return folder
