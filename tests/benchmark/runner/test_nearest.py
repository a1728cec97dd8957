"""Lists that grow part by part: the same as by a plain loop, in any order, with nothing lost on the way."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from robustreid.benchmark.datasets.retrieval import Images, RetrievalSet
from robustreid.benchmark.evaluation import PROTOCOLS, rank
from robustreid.benchmark.runner import rankings
from robustreid.benchmark.runner.batches import Batch
from robustreid.benchmark.runner.keeping import Keeper
from robustreid.benchmark.store.directory import RunDirectory

N_QUERY, N_GALLERY = 5, 90
#: Far below the grid's step of 2^-20, far above float32's last bit of a small number.
HAIR = 2.0**-24


def _side(name: str, count: int, random: np.random.Generator) -> Images:
    return Images(
        paths=tuple(f"{name}/{index:03d}.jpg" for index in range(count)),
        identities=random.integers(-1, 5, count),
        cameras=random.integers(1, 3, count),
    )


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.fixture
def data() -> RetrievalSet:
    """Labels of few people and cameras, junk and distractors among them."""
    random = np.random.default_rng(3)
    query, gallery = _side("query", N_QUERY, random), _side("gallery", N_GALLERY, random)
    query = Images(paths=query.paths, identities=np.arange(1, 6) % 5, cameras=query.cameras)
    return RetrievalSet(
        label="d", format="folder", root=Path(), query=query, gallery=gallery, protocol=PROTOCOLS["market"]
    )


@pytest.fixture(params=["cosine", "euclidean"])
def metric(request: pytest.FixtureRequest) -> str:
    """Both ways to compare."""
    return str(request.param)


@pytest.fixture
def features(metric: str) -> dict[str, NDArray[np.float32]]:
    """Features with many ties: each gallery image is one of twelve, moved by less than a step of the grid."""
    random = np.random.default_rng(4)
    centres = random.normal(size=(12, 6))
    gallery = centres[random.integers(0, 12, N_GALLERY)] + HAIR * random.normal(size=(N_GALLERY, 6))
    both = {"query": random.normal(size=(N_QUERY, 6)), "gallery": gallery}
    return {side: _unit(rows) if metric == "cosine" else rows.astype(np.float32) for side, rows in both.items()}


def _exact(row: NDArray[np.float32]) -> list[Fraction]:
    """A feature in the evaluation's fixed point, 26 bits a row."""
    exponent = math.frexp(math.hypot(*row.tolist()) / 1.25)[1]
    return [
        Fraction(round(Fraction(x) * Fraction(2) ** (26 - exponent))) * Fraction(2) ** (exponent - 26)
        for x in row.tolist()
    ]


def by_loop(data: RetrievalSet, features: dict[str, NDArray[np.float32]], metric: str) -> list[list[int]]:
    """Each query's list, one pair at a time; a tie is what the rounded similarity makes one."""
    lists = []
    gallery = [_exact(row) for row in features["gallery"]]
    for q, feature in enumerate(_exact(row) for row in features["query"]):
        found = []
        for g, other in enumerate(gallery):
            same = data.query.identities[q] == data.gallery.identities[g]
            is_junk = data.gallery.identities[g] == -1 or (same and data.query.cameras[q] == data.gallery.cameras[g])
            if not is_junk:
                pairs = list(zip(feature, other, strict=True))
                near = sum(a * b for a, b in pairs) if metric == "cosine" else -sum((a - b) ** 2 for a, b in pairs)
                found.append((-round(near * 2**20), g))
        lists.append([g for _, g in sorted(found)][:10])
    return lists


def lists_of(
    data: RetrievalSet, features: dict[str, NDArray[np.float32]], metric: str, parts: list[NDArray[np.int64]]
) -> list[list[int]]:
    """The lists after the gallery was shown in parts."""
    found = rankings.nobody_near(data, np.arange(N_QUERY), features["query"], metric)  # type: ignore[arg-type]
    for part in parts:
        found = found.among(part, features["gallery"][part])
    return [found.row(number) for number in range(len(found))]


def _parts(seed: int) -> list[NDArray[np.int64]]:
    """The gallery in random order, cut at random places, one part of it empty."""
    random = np.random.default_rng(seed)
    cuts = np.sort(random.integers(0, N_GALLERY, 7))
    return [*np.split(random.permutation(N_GALLERY), cuts), np.empty(0, np.int64)]


def test_lists_are_those_of_a_plain_loop(
    data: RetrievalSet, features: dict[str, NDArray[np.float32]], metric: str
) -> None:
    """Junk left out, the nearest first, ties by the order of the gallery, whatever the parts and their order."""
    expected = by_loop(data, features, metric)
    assert all(len(row) == 10 for row in expected)
    for seed in range(8):
        assert lists_of(data, features, metric, _parts(seed)) == expected


def test_the_lists_agree_with_the_scores(
    data: RetrievalSet, features: dict[str, NDArray[np.float32]], metric: str
) -> None:
    """The first right answer of a list stands inside the tie group in which the evaluation found it."""
    lists = lists_of(data, features, metric, _parts(0))
    labels = data.query.labels, data.gallery.labels
    ranking = rank(features["query"], features["gallery"], *labels, data.protocol, metric)  # type: ignore[arg-type]
    checked = 0
    for number, query in enumerate(ranking.query_index.tolist()):
        (first,) = np.flatnonzero((ranking.groups.query == number) & (ranking.groups.nearer_positives == 0))
        places = [p for p, g in enumerate(lists[query]) if data.gallery.identities[g] == data.query.identities[query]]
        if places:
            nearer = ranking.groups.nearer_images[first]
            assert nearer <= places[0] < nearer + ranking.groups.tied_images[first]
            checked += 1
    assert checked


def test_fewer_images_than_a_list_has_room_for(data: RetrievalSet, metric: str) -> None:
    """Short lists of what there is; none at all where everything is junk; no query, no list."""
    features = {"query": np.eye(5, 6, dtype=np.float32), "gallery": np.eye(6, dtype=np.float32)[np.zeros(90, int)]}
    some = np.flatnonzero(data.gallery.identities == -1)[:3]
    assert lists_of(data, features, metric, [some]) == [[]] * N_QUERY
    others = np.flatnonzero(data.gallery.identities == 0)[:3]
    assert lists_of(data, features, metric, [some, others])[0] == others.tolist()
    nobody = rankings.nobody_near(data, np.empty(0, np.int64), features["query"][:0], metric)  # type: ignore[arg-type]
    assert nobody.among(others, features["gallery"][others]).members() == frozenset()


def _no_junk(data: Any, queries: Any, places: Any) -> Any:
    del data
    return np.zeros((len(queries), len(places)), dtype=bool)


def _float32(queries: Any, gallery: Any, rows: Any, columns: Any, *, out: Any, gallery_chunk: int) -> None:
    del gallery_chunk
    out[:] = queries.features[rows] @ gallery.features[columns].T
    if queries.metric == "euclidean":
        out[:] = 2 * out - (gallery.features[columns] ** 2).sum(1)


@pytest.mark.parametrize(("name", "wrong"), [("is_junk", _no_junk), ("fill_similarities", _float32)])
def test_planted_bugs_are_found(
    name: str,
    wrong: Any,
    data: RetrievalSet,
    features: dict[str, NDArray[np.float32]],
    metric: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lists with junk in them, or ordered by a product in float32, are not those of the plain loop."""
    monkeypatch.setattr(rankings, name, wrong)
    assert lists_of(data, features, metric, _parts(0)) != by_loop(data, features, metric)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_ends_in_a_list_was_written(
    seed: int, data: RetrievalSet, features: dict[str, NDArray[np.float32]], metric: str, tmp_path: Path
) -> None:
    """Batches in any order, some of them done before: every attacked image of the final lists is there, as scored."""
    run = RunDirectory(tmp_path)
    stays_clean, *batches = [np.sort(part) for part in _parts(seed) if len(part)]
    pixels = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (N_GALLERY, 3, 4, 2))).float() / 255

    def keeper() -> Keeper:
        empty = rankings.nobody_near(data, np.arange(N_QUERY), features["query"], metric)  # type: ignore[arg-type]
        start = empty.among(stays_clean, features["gallery"][stays_clean])
        return Keeper(run=run, cell_id="c", paths=data.gallery.paths, wanted=frozenset(), nearest=start)

    first, second = keeper(), keeper()
    for number, part in enumerate(batches):
        batch = Batch(indices=part, places=np.arange(len(part)), size=len(part))
        first.keep(batch, features["gallery"][part], pixels[part])
        if number < 3:
            assert second.has(batch, features["gallery"][part])
        else:
            second.keep(batch, features["gallery"][part], pixels[part])
    expected = {g for row in by_loop(data, features, metric) for g in row}
    assert first.nearest is not None
    assert second.nearest is not None
    assert first.nearest.members() == second.nearest.members() == expected
    for place in expected - set(stays_clean.tolist()):
        with Image.open(run.images("c") / f"{data.gallery.paths[place]}.png") as image:
            assert np.array_equal(np.asarray(image), (pixels[place] * 255).permute(1, 2, 0).numpy())
    written = {path.name[:3] for path in run.images("c").rglob("*.png")}
    assert len(written) < N_GALLERY - len(stays_clean)
    for path in run.images("c").rglob("*.png"):
        path.unlink()
    batch = Batch(indices=batches[0], places=np.arange(len(batches[0])), size=len(batches[0]))
    assert not keeper().has(batch, features["gallery"][batches[0]])
