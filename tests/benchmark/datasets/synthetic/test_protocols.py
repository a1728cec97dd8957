"""The drawn set under every protocol: its cameras, sides and trials; and the market set as it always was."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from robustreid import UserError
from robustreid.benchmark.datasets.manifest import read_manifest
from robustreid.benchmark.datasets.retrieval import Images, RetrievalSet
from robustreid.benchmark.datasets.synthetic.crowd import Crowd, read_synthetic, read_training_synthetic
from robustreid.benchmark.datasets.synthetic.sites import SITES
from robustreid.benchmark.evaluation import PROTOCOLS
from robustreid.benchmark.progress import Silent
from robustreid.models.base import MODALITIES

PEOPLE = 4
#: What the set had before it knew protocols: folder and digest of both parts.
RECORDED: tuple[tuple[dict[str, int], tuple[str, str, str, str]], ...] = (
    (
        {"identities": 2, "distractors": 0},
        (
            "v1-test-6006f4847bd0b189",
            "7ba8a111ebb7179c2eceeec6cc5664ba8e9f2fba4b16b22b351d0f35d76c9ee3",
            "v1-train-6006f4847bd0b189",
            "df32975c53c0fb69fcfc5f1c34769743c077b4a012558c9386c5134f4b2c2116",
        ),
    ),
    (
        {"identities": 5, "cameras": 3, "shots": 2, "distractors": 4, "seed": 7},
        (
            "v1-test-28a7163ed82de056",
            "9563b88295f1c3ba5074d6d5f7daa19190ff10ce2e2e930bf654c8368c15159f",
            "v1-train-28a7163ed82de056",
            "eeca6329f9de1c201a2bda7c61d9b6d3c1438fba273fca0198447ca9eee16ef1",
        ),
    ),
    (
        {"identities": 3, "seed": 2**32 - 1, "cameras": 12},
        (
            "v1-test-795aaf9b70c0a61a",
            "f94f1530b1bfd4aa23be4d1738032743204580ee8aab08a702f69eff1bd73e83",
            "v1-train-5c4af61f23dec0b8",
            "3462c148dc39a4a0d0b192548ba135fa112b5ff9e43016fe49fb4023244fbbab",
        ),
    ),
)

#: (modality, cameras, images) of the queries and of the gallery, images of both in a trial, and trials; 0 is no list.
EXPECTED: dict[str, tuple[tuple[str, set[int], int], tuple[str, set[int], int], tuple[int, int], int]] = {
    "market": (("visible", {1, 2, 3, 4}, 16), ("visible", {1, 2, 3, 4}, 112), (0, 0), 0),
    "cuhk03-np": (("visible", {1, 2, 3, 4}, 16), ("visible", {1, 2, 3, 4}, 16), (0, 0), 0),
    "sysu-all": (("infrared", {3, 6}, 24), ("visible", {1, 2, 4, 5}, 48), (24, 16), 10),
    "sysu-all-multi-shot": (("infrared", {3, 6}, 96), ("visible", {1, 2, 4, 5}, 192), (96, 160), 10),
    "sysu-indoor": (("infrared", {3, 6}, 24), ("visible", {1, 2}, 24), (24, 8), 10),
    "sysu-indoor-multi-shot": (("infrared", {3, 6}, 96), ("visible", {1, 2}, 96), (96, 80), 10),
    "regdb-v2t": (("visible", {1}, 20), ("infrared", {2}, 20), (10, 10), 10),
    "regdb-t2v": (("infrared", {2}, 20), ("visible", {1}, 20), (10, 10), 10),
    "llcm-v2i": (("visible", {1, 2, 3, 4}, 48), ("infrared", {1, 2, 4}, 36), (48, 12), 10),
    "llcm-i2v": (("infrared", {1, 2, 4}, 36), ("visible", {1, 2, 3, 4}, 48), (36, 16), 10),
    "llcm-v2i-published": (("infrared", {1, 2, 4}, 36), ("visible", {1, 2, 3, 4}, 48), (12, 48), 10),
    "single-shot": (("visible", {1}, 4), ("visible", {2}, 4), (2, 2), 10),
    "cuhk01": (("visible", {1}, 8), ("visible", {2}, 8), (4, 4), 10),
}


@pytest.fixture(scope="module", autouse=True)
def _one_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All sets of this file share their pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTREID_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _own_cache() -> None:
    """Instead of the folder's cache for each test."""


def opened(protocol: str, **who: int) -> RetrievalSet:
    """The set of four people."""
    return read_synthetic("x", reporter=Silent(), protocol=protocol, **{"identities": PEOPLE, **who})


def modality(images: Images) -> str:
    """The one of a side."""
    (place,) = set(images.modalities.tolist())
    return str(MODALITIES[place])


def content(folder: Path) -> str:
    """Digest of the names and bytes of all bitmaps."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.bmp")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


@pytest.mark.parametrize(("who", "recorded"), RECORDED)
def test_the_market_set_is_what_it_was(who: dict[str, int], recorded: tuple[str, str, str, str]) -> None:
    """Folder names and every byte, as recorded before the set could be drawn for other protocols."""
    data = read_synthetic("x", reporter=Silent(), **who)
    root, images = read_training_synthetic("x", reporter=Silent(), **who)
    assert (data.root.name, read_manifest(data).sha256, root.name, content(root)) == recorded
    assert len(images) == who["identities"] * who.get("cameras", 4) * who.get("shots", 1)


def test_every_protocol_has_a_site() -> None:
    """And the table above has them all."""
    assert set(SITES) == set(PROTOCOLS) == set(EXPECTED)


@pytest.mark.parametrize("protocol", EXPECTED)
def test_every_protocol_opens(protocol: str) -> None:
    """Sides by modality and camera, paths in order, trials of the right sizes, pixels of the modality that is said."""
    data = opened(protocol)
    *sides, sizes, n_trials = EXPECTED[protocol]
    for images, (kind, cameras, count) in zip((data.query, data.gallery), sides, strict=True):
        assert (modality(images), set(images.cameras.tolist()), len(images)) == (kind, cameras, count)
        assert list(images.paths) == sorted(images.paths)
        pixels = np.asarray(Image.open(data.root / images.paths[-1]))
        assert (pixels == pixels[..., :1]).all() == (kind == "infrared")
    assert data.protocol is PROTOCOLS[protocol]
    assert len(data.trials) == n_trials
    assert {(len(trial.query), len(trial.gallery)) for trial in data.trials} == ({sizes} if n_trials else set())
    if PROTOCOLS[protocol].drawn:
        assert len({(*trial.query.tolist(), -1, *trial.gallery.tolist()) for trial in data.trials}) == 10


def halves(data: RetrievalSet) -> list[frozenset[int]]:
    """Who is looked for in each trial."""
    return [frozenset(data.query.identities[trial.query].tolist()) for trial in data.trials]


def is_split_in_halves(data: RetrievalSet, people: int) -> bool:
    """Whether each trial is about half of the people, all their images on both sides, and trials differ."""
    for trial, half in zip(data.trials, halves(data), strict=True):
        for images, places in ((data.query, trial.query), (data.gallery, trial.gallery)):
            expected = np.flatnonzero(np.isin(images.identities, list(half)))
            if not np.array_equal(places, expected):
                return False
    return {len(half) for half in halves(data)} == {people - people // 2} and len(set(halves(data))) > 5


@pytest.mark.parametrize("protocol", [name for name, known in PROTOCOLS.items() if known.has_splits])
def test_splits_are_ten_halves(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of nine people five each time, seeded; planted: a trial counted ten times is found out."""
    data = opened(protocol, identities=9)
    assert is_split_in_halves(data, 9)
    assert halves(data) == halves(opened(protocol, identities=9))
    drawn = random.Random
    monkeypatch.setattr(random, "Random", lambda _: drawn(0))
    assert not is_split_in_halves(opened(protocol, identities=9), 9)


@pytest.mark.parametrize("protocol", ["sysu-all", "llcm-v2i", "llcm-i2v", "llcm-v2i-published"])
def test_a_draw_takes_one_image_of_a_person_by_a_camera(protocol: str) -> None:
    """On the side that is drawn, each cell once, and not the same ones in every trial."""
    data = opened(protocol)
    drawn = PROTOCOLS[protocol].drawn
    assert drawn is not None
    images = data.side(drawn.side)
    cells: list[NDArray[np.int64]] = [getattr(trial, drawn.side) for trial in data.trials]
    pairs = [sorted(zip(images.identities[c].tolist(), images.cameras[c].tolist(), strict=True)) for c in cells]
    everyone = sorted(set(zip(images.identities.tolist(), images.cameras.tolist(), strict=True)))
    assert all(found == everyone for found in pairs)
    assert len({tuple(c.tolist()) for c in cells}) == 10


@pytest.mark.parametrize("protocol", EXPECTED)
def test_training_people_are_others(protocol: str) -> None:
    """In all cameras of the site, both modalities, labelled as the pictures are; nobody of them is in any trial."""
    data = opened(protocol)
    root, images = read_training_synthetic("x", reporter=Silent(), protocol=protocol, identities=PEOPLE)
    assert not set(images.identities.tolist()) & set(data.query.identities.tolist())
    assert len(set(images.identities.tolist())) == PEOPLE
    site = SITES[protocol]
    seen = {
        kind: tuple(sorted(set(images.cameras[images.modalities == place].tolist())))
        for place, kind in enumerate(MODALITIES)
    }
    assert {kind: found for kind, found in seen.items() if found} == (site.cameras or {"visible": (1, 2, 3, 4)})
    assert list(images.paths) == sorted(path.relative_to(root).as_posix() for path in root.rglob("*.bmp"))
    for place in (0, len(images) - 1):
        pixels = np.asarray(Image.open(root / images.paths[place]))
        assert (pixels == pixels[..., :1]).all() == (images.modalities[place] == MODALITIES.index("infrared"))


def test_protocols_share_what_they_can() -> None:
    """The same pictures are one folder; the training people of a site are the same under all its protocols."""
    assert opened("sysu-all", shots=12).root == opened("sysu-all-multi-shot").root
    assert opened("llcm-i2v").root == opened("llcm-v2i-published").root
    assert opened("llcm-i2v").root != opened("llcm-v2i").root
    roots = {
        read_training_synthetic("x", reporter=Silent(), protocol=name, identities=PEOPLE, shots=3)[0]
        for name in SITES
        if name.startswith("sysu")
    }
    assert len(roots) == 1


def test_distractors_where_there_is_a_place_for_them() -> None:
    """Visible gallery images of identity 0; none by default under `cuhk03-np`."""
    data = opened("cuhk03-np", distractors=5)
    assert (data.gallery.identities == 0).sum() == 5
    assert modality(data.gallery) == "visible"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "sysu-al"}, "Unknown protocol 'sysu-al'. Did you mean 'sysu-all'?"),
        ({"protocol": "sysu-all", "distractors": 3}, "'sysu-all' the data set `synthetic` takes no distractors"),
        ({"protocol": "single-shot", "distractors": 1}, "takes no distractors"),
        ({"protocol": "regdb-v2t", "cameras": 4}, "has 2 cameras, not 4; leave `cameras` out"),
        ({"protocol": "cuhk01", "shots": 3}, "has 2 images of a person by a camera, not 3; leave `shots` out"),
        ({"protocol": "single-shot", "shots": 2}, "has 1 image of a person"),
        ({"protocol": "regdb-t2v", "identities": 1}, "expected `identities` of at least 2"),
    ],
)
def test_what_a_protocol_is_not_about_is_refused(options: dict[str, Any], message: str) -> None:
    """One sentence; saying what is so anyway is no mistake."""
    with pytest.raises(UserError, match=message) as error:
        Crowd(**options)
    assert str(error.value).endswith(".")
    Crowd(protocol="sysu-all", cameras=6, distractors=0)
    Crowd(protocol="cuhk01", cameras=2, shots=2)
