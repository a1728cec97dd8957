"""A set of MSMT17's size opens in bounded memory: paths are read, images are not."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from PIL import Image
from robustreid.benchmark.datasets.catalogue import open_dataset

#: Query, gallery, people tested on.
N_QUERY, N_GALLERY, N_PEOPLE = 11_659, 82_161, 3_060
#: Bytes at most while it is opened, and what stays.
PEAK, AFTER = 100 * 2**20, 25 * 2**20


def name(place: int) -> str:
    """The image of a place in the gallery or, further on, among queries."""
    who = place % N_PEOPLE
    return f"{who:04d}/{who:04d}_{place // N_PEOPLE:03d}_{1 + place % 15:02d}_0303morning_{place:06d}_0.jpg"


@pytest.mark.slow
def test_msmt17_in_bounded_memory(tmp_path: Path) -> None:
    """93,820 hard links to a few images, with the counts and cameras of the whole set."""
    test = tmp_path / "test"
    for who in range(N_PEOPLE):
        (test / f"{who:04d}").mkdir(parents=True)
    images = []
    for number in range(10):
        images.append(tmp_path / f"{number}.jpg")
        Image.new("RGB", (40, 96), (number, 0, 0)).save(images[-1])
    # A file has at most some ten thousand names on common file systems.
    for place in range(N_GALLERY + N_QUERY):
        os.link(images[place % len(images)], test / name(place))
    for part, places in (("gallery", range(N_GALLERY)), ("query", range(N_GALLERY, N_GALLERY + N_QUERY))):
        (tmp_path / f"list_{part}.txt").write_text("".join(f"{name(place)} {place % N_PEOPLE}\n" for place in places))
    tracemalloc.start()
    data = open_dataset("whole", "msmt17", tmp_path)
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(data.query), len(data.gallery)) == (N_QUERY, N_GALLERY)
    assert len(set(data.gallery.identities.tolist())) == N_PEOPLE
    assert peak < PEAK
    assert now < AFTER
