"""Where decoded images and file digests are kept between runs; deleting it loses time and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """`$ROBUSTREID_CACHE`, or the platform's cache folder."""
    chosen = os.environ.get("ROBUSTREID_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("robustreid")
