"""Properties of a ranking: chance, permutations, monotony, memory and refusals."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from robustreid.benchmark.evaluation import PROTOCOLS, Labels, Protocol, chance, exhaustive, rank, score
from robustreid.benchmark.evaluation.sides import Sides

if TYPE_CHECKING:
    from robustreid.models.base import Metric

MARKET = PROTOCOLS["market"]
RANDOM = np.random.default_rng(8)
COLUMNS = ("ap", "ap_trapezoid", "inp", "hit")


def random_labels(size: int, lowest: int = -1) -> Labels:
    """Labels of few identities and cameras, -1 and 0 among them for a gallery."""
    return Labels(identities=RANDOM.integers(lowest, 6, size), cameras=RANDOM.integers(0, 3, size))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dimension", [1, 3, 128, 2048])
@pytest.mark.parametrize(("chunk", "gallery_chunk"), [(256, 1024), (4, 10), (5, 7), (1, 1), (3, 100)])
def test_one_point_scores_chance(metric: Metric, dimension: int, chunk: int, gallery_chunk: int) -> None:
    """Constant embeddings score chance to 1e-12 for every file order and chunk, tails of 1 and 3 included."""
    query_labels, gallery_labels = random_labels(13, lowest=1), random_labels(101)
    for point in (np.zeros(dimension), RANDOM.standard_normal(dimension), np.ones(dimension)):
        length = np.linalg.norm(point)
        if metric == "cosine":
            point = point / (length or 1)  # noqa: PLW2901 (the unit vector is the point)
        order = RANDOM.permutation(101)
        other = Labels(identities=gallery_labels.identities[order], cameras=gallery_labels.cameras[order])
        for labels in (gallery_labels, other):
            q, g = (np.tile(point.astype(np.float32), (n, 1)) for n in (13, 101))
            found = rank(q, g, query_labels, labels, MARKET, metric, chunk=chunk, gallery_chunk=gallery_chunk)
            _, scores = score(found)
            assert scores.chance_mAP == pytest.approx(scores.mAP.value, abs=1e-12)
            assert scores.chance_rank1 == pytest.approx(scores.rank1.value, abs=1e-12)
            assert scores.mAP.pessimistic < scores.chance_mAP < scores.mAP.optimistic


@pytest.mark.parametrize("collapsed", ["query", "gallery"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_collapsed_gallery_scores_chance_and_collapsed_queries_agree(collapsed: str, metric: Metric) -> None:
    """One gallery point ties for every query; one query point ranks the gallery the same each time."""
    q, g = RANDOM.standard_normal((67, 257)), RANDOM.standard_normal((1003, 257))
    q, g = ((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (q, g))
    (q if collapsed == "query" else g)[:] = (q if collapsed == "query" else g)[0].copy()
    query_labels = Labels(identities=np.full(67, 3), cameras=np.zeros(67, np.int64))
    for chunk, gallery_chunk in ((256, 1024), (33, 100), (64, 334), (1, 1000)):
        found = rank(q, g, query_labels, random_labels(1003), MARKET, metric, chunk=chunk, gallery_chunk=gallery_chunk)
        queries, scores = score(found)
        if collapsed == "gallery":
            assert found.images.tolist() == found.groups.tied_images.tolist()
            assert scores.chance_mAP == pytest.approx(scores.mAP.value, abs=1e-12)
        else:
            assert len(np.unique(queries.ap)) == 1


def test_chance_of_a_lone_image_is_one() -> None:
    """A query whose only image is right cannot lose."""
    assert tuple(values.tolist() for values in chance(np.array([1]), np.array([1]))) == ([1.0], [1.0])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_permuting_the_gallery_changes_nothing(metric: Metric) -> None:
    """Features and labels shuffled together, and cut into other chunks, give the same bits."""
    q, g = RANDOM.integers(-2, 3, (17, 4)).astype(np.float32), RANDOM.integers(-2, 3, (211, 4)).astype(np.float32)
    if metric == "cosine":
        q, g = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1) for x in (q, g))
    query_labels, labels, order = random_labels(17, lowest=1), random_labels(211), RANDOM.permutation(211)
    shuffled = Labels(identities=labels.identities[order], cameras=labels.cameras[order])
    expected, expected_scores = score(rank(q, g, query_labels, labels, MARKET, metric))
    found, scores = score(rank(q, g[order], query_labels, shuffled, MARKET, metric, chunk=5, gallery_chunk=13))
    assert expected_scores == scores
    assert all(np.array_equal(getattr(expected, name), getattr(found, name)) for name in (*COLUMNS, "first_rank"))


def test_moving_a_positive_nearer_never_lowers_a_score() -> None:
    """Expected scores and both bounds rise or stay when one right answer comes one step nearer."""
    moved = 0
    for _ in range(150):
        distances = RANDOM.integers(1, 6, (9, 1)).astype(np.float32)
        labels = Labels(identities=RANDOM.integers(0, 2, 9), cameras=np.ones(9, np.int64))
        if not labels.identities.any():
            continue
        nearer = distances.copy()
        nearer[RANDOM.choice(np.flatnonzero(labels.identities))] -= 1
        query = Labels(identities=np.array([1]), cameras=np.array([0]))
        before, after = (
            score(rank(np.zeros((1, 1), np.float32), d, query, labels, MARKET, "euclidean"))[0]
            for d in (distances, nearer)
        )
        pairs = ((before, after), (before.optimistic, after.optimistic), (before.pessimistic, after.pessimistic))
        for old, new in pairs:
            assert all((getattr(new, name) >= getattr(old, name) - 1e-12).all() for name in COLUMNS)
            assert (new.first_rank <= old.first_rank + 1e-12).all()
        moved += float(after.ap[0]) > float(before.ap[0])
    assert moved > 30


def test_without_a_camera_rule_the_own_camera_counts() -> None:
    """A cross-modal protocol keeps images of every camera."""
    protocol = Protocol(name="all", version=1, same_camera_is_junk=False, junk_identities=frozenset())
    labels = Labels(identities=np.array([1, 1, 2]), cameras=np.array([0, 1, 0]))
    query = Labels(identities=np.array([1]), cameras=np.array([0]))
    found = rank(np.zeros((1, 1)), np.arange(3.0)[:, None], query, labels, protocol, "euclidean")
    assert (found.positives.tolist(), found.images.tolist()) == ([2], [3])


def test_queries_without_a_positive_are_dropped_and_counted() -> None:
    """What is valid keeps its place, and the rest is counted, junk queries included."""
    query_labels = Labels(identities=np.array([9, 1, -1, 2]), cameras=np.array([0, 0, 0, 0]))
    labels = Labels(identities=np.array([1, -1, 2, 2]), cameras=np.array([1, 1, 0, 1]))
    found = rank(np.zeros((4, 2)), np.zeros((4, 2)), query_labels, labels, MARKET, "cosine")
    assert (
        found.query_index.tolist(), found.n_query, found.n_query_valid, found.n_gallery, found.n_identity,
    ) == ([1, 3], 4, 2, 4, 2)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"query_labels": random_labels(4)}, "label for each of 5 query features, got 4"),
        ({"gallery_labels": random_labels(8)}, "label for each of 7 gallery features, got 8"),
        ({"gallery_features": np.zeros((7, 3))}, "got 2 for the queries and 3 for the gallery"),
        ({"metric": "manhattan"}, "got 'manhattan'"),
        ({"chunk": 0}, "got chunk 0"),
    ],
)
def test_sides_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    """Lengths, dimensions and names are checked before anything is compared."""
    arguments: dict[str, Any] = {
        "query_features": np.zeros((5, 2)),
        "gallery_features": np.zeros((7, 2)),
        "query_labels": random_labels(5),
        "gallery_labels": random_labels(7),
        "protocol": MARKET,
        "metric": "cosine",
    }
    with pytest.raises(ValueError, match=message):
        rank(**(arguments | changed))


def test_memory_is_bounded_by_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ranking whose similarities fill 32 MB takes 4, and queries are cut further where the gallery is wide."""
    q, g = (np.zeros((n, 16), np.float32) for n in (2000, 4000))
    sides = (random_labels(2000, lowest=1), random_labels(4000))

    def peak() -> int:
        tracemalloc.start()
        rank(q, g, *sides, MARKET, "cosine", chunk=64, gallery_chunk=256)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    usual = peak()
    assert usual < 4e6
    monkeypatch.setattr(Sides, "is_approximable", False)
    assert peak() < 4e6
    monkeypatch.setattr(exhaustive, "_BYTES", 2**17)
    assert peak() < usual - 0.7e6


@pytest.mark.parametrize(
    ("shape", "is_collapsed", "most"),
    [
        pytest.param((2000, 20_000, 64), False, 64, id="small"),
        pytest.param((3368, 19_732, 2048), False, 128, id="market", marks=pytest.mark.slow),
        pytest.param((3368, 19_732, 2048), True, 128, id="market collapsed", marks=pytest.mark.slow),
        pytest.param((11_659, 82_161, 2048), False, 256, id="msmt17", marks=pytest.mark.slow),
    ],
)
def test_the_peak(shape: tuple[int, int, int], is_collapsed: bool, most: float) -> None:
    """Beyond the features, BLAS included, in MiB: 64 where all similarities take 153; 128 at Market-1501's shape."""
    program = (
        "import numpy as np, torch\n"
        "from robustreid.benchmark.runtime import peak_memory_bytes\n"
        "from robustreid.benchmark.evaluation import *\n"
        f"(n_query, n_gallery, dimension), is_collapsed = {shape}, {is_collapsed}\n"
        "r = np.random.default_rng(0)\n"
        "l = [Labels(identities=r.integers(1, 751, n), cameras=r.integers(0, 6, n)) for n in (n_query, n_gallery)]\n"
        "centres = r.standard_normal((751, dimension), dtype='f4')\n"
        "q, g = (r.standard_normal((len(x), dimension), dtype='f4') for x in l)\n"
        "for x, y in zip((q, g), l):\n"
        "    for row, identity in zip(x, y.identities):\n"
        "        row += centres[identity]\n"
        "        row[:] = 1 if is_collapsed else row\n"
        "        row /= np.linalg.norm(row)\n"
        "before = peak_memory_bytes(torch.device('cpu'))\n"
        "score(rank(q, g, *l, PROTOCOLS['market'], 'cosine'))\n"
        "print((peak_memory_bytes(torch.device('cpu')) - before) / 2**20)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 5 < float(run.stdout) < most
