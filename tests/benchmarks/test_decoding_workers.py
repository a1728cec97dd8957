"""A set opened for the first time with several workers, and ever after, beside Pillow in a loop; no time is asserted.

These are wall times, since the first is about workers: they need a quiet machine.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from robustreid.benchmark.datasets.decoded import decode
from robustreid.benchmark.datasets.decoders import default_workers
from robustreid.benchmark.datasets.manifest import read_manifest
from robustreid.benchmark.datasets.market import read_folder

if TYPE_CHECKING:
    from robustreid.benchmark.datasets.retrieval import RetrievalSet


@pytest.fixture(scope="module")
def people(real_data: Path) -> RetrievalSet:
    """1,970 JPEG files of 128 x 64: the queries and the gallery of a part of Market-1501."""
    return read_folder("mini", real_data / "market1501-mini")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _by_pillow(people: RetrievalSet) -> int:
    """The sum of all pixels, file after file."""
    total = 0
    for path in people.paths:
        with Image.open(people.root / path) as image:
            total += int(np.asarray(image.convert("RGB")).sum(dtype=np.int64))
    return total


@pytest.mark.benchmark(group="decode 1,970 JPEG for the first time, wall time", timer=time.perf_counter)
def test_the_first_time(duel: Any, people: RetrievalSet, cache: Path) -> None:
    """Decoded by as many workers as there are cores, written to the cache and summed, beside Pillow's loop."""
    manifest, workers = read_manifest(people), default_workers()

    def ours() -> int:
        shutil.rmtree(cache / "decoded", ignore_errors=True)
        return int(decode(people, manifest, workers=workers).pixels.sum(dtype=np.int64))

    done, peers = duel(
        ours,
        {"Pillow": lambda: _by_pillow(people)},
        title="decode a set for the first time",
        count=len(people.paths),
        per="image",
        bar=2,
        note=f"{workers} workers; wall time",
    )
    assert done == peers["Pillow"]


@pytest.mark.benchmark(group="read 1,970 images of a set again, wall time", timer=time.perf_counter)
def test_ever_after(duel: Any, people: RetrievalSet, cache: Path) -> None:
    """Opened from the cache and summed, beside Pillow's loop."""
    manifest = read_manifest(people)
    decode(people, manifest)

    def ours() -> int:
        return int(decode(people, manifest).pixels.sum(dtype=np.int64))

    done, peers = duel(
        ours,
        {"Pillow": lambda: _by_pillow(people)},
        title="read a set from the cache",
        count=len(people.paths),
        per="image",
        bar=20,
        note="wall time",
    )
    assert done == peers["Pillow"]
    assert cache.exists()
