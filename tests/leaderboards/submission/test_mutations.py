"""Bytes changed at random: a check ends with findings, never with an exception, and never imports or writes."""

from __future__ import annotations

import gzip
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from robustreid.leaderboards.submission.checking import check_submission


def _mutated(data: bytes, draw: random.Random) -> bytes:
    """With some bytes changed, removed, inserted or copied."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        if not changed:
            break
        place, kind = draw.randrange(len(changed)), draw.random()
        if kind < 0.4:
            changed[place] = draw.randrange(256)
        elif kind < 0.6:
            changed[place] ^= 1 << draw.randrange(8)
        elif kind < 0.7:
            del changed[place : place + draw.randrange(1, 20)]
        elif kind < 0.8:
            changed[place:place] = draw.randbytes(draw.randrange(1, 9))
        elif kind < 0.9:
            changed[place] = draw.choice([0, 255, 127, 128])
        else:
            other = draw.randrange(len(changed))
            changed[place : place + 8] = changed[other : other + 8]
    return bytes(changed)


def _check_mutations(make: Any, folder: Path, seed: int, count: int) -> set[str]:
    """The codes that came up."""
    draw = random.Random(seed)  # noqa: S311 (no secret)
    zipped, packed = make.zip(folder, make.files).read_bytes(), make.tgz(folder, make.files).read_bytes()
    whole = {"mine.zip": zipped, "mine.tgz": packed, "mine.tar": gzip.decompress(packed)}
    seen: set[str] = set()
    for number in range(count):
        inside = folder / str(number)
        inside.mkdir()
        name = draw.choice([*whole, *make.files])
        if name in whole:
            path = inside / name
            path.write_bytes(_mutated(whole[name], draw))
        else:
            path = make.folder(inside, make.files | {name: _mutated(make.files[name], draw)})
        report = check_submission(path)
        assert all(line.isprintable() for line in report.lines)
        seen |= report.codes()
        shutil.rmtree(inside)
    return seen


def test_some_mutations_end_with_findings(make: Any, tmp_path: Path) -> None:
    """Of archives, descriptions, weights, plans and tables; many codes come up."""
    assert len(_check_mutations(make, tmp_path, seed=0, count=40)) > 6


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 3))
def test_many_mutations_end_with_findings(make: Any, tmp_path: Path, seed: int) -> None:
    """The same, longer."""
    assert len(_check_mutations(make, tmp_path, seed, count=1000)) > 15
