"""Scores against a plain-loop twin that enumerates every order within ties."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain, combinations, groupby, product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from robustreid import UserError
from robustreid.benchmark.evaluation import GRID, PROTOCOLS, Labels, exhaustive, rank, score
from robustreid.benchmark.evaluation.sides import Sides
from robustreid.models.base import METRICS
from sklearn.metrics import average_precision_score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from robustreid.benchmark.evaluation import QueryValues, Ranking
    from robustreid.models.base import Metric

    FloatArray = NDArray[Any]

MARKET = PROTOCOLS["market"]
CUTOFFS = (1, 5, 10, 20)
#: Few directions, so that ties abound, and none whose products lie near the middle between two grid steps.
DIRECTIONS = np.array([(1, 0), (0, 1), (-1, 0), (0.6, 0.8), (0.8, 0.6), (-0.6, 0.8), (0, 0)], dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A small retrieval problem; features (Q, 2) and (G, 2) float32."""

    queries: FloatArray
    gallery: FloatArray
    query_labels: Labels
    gallery_labels: Labels
    metric: Metric


def labels(identities: Any, cameras: Any) -> Labels:
    """Labels from two lists."""
    return Labels(identities=np.array(identities, dtype=np.int64), cameras=np.array(cameras, dtype=np.int64))


@st.composite
def problems(draw: st.DrawFn, n_gallery: int = 8) -> Problem:
    """Up to three queries and eight images with junk, distractors, shared cameras and many ties."""
    metric: Metric = draw(st.sampled_from(METRICS))
    if metric == "cosine":
        vector = st.integers(0, len(DIRECTIONS) - 1).map(lambda place: DIRECTIONS[place])
    else:
        scale = draw(st.sampled_from([0.25, 1.0, 96.0]))
        vector = st.tuples(st.integers(-1, 1), st.integers(0, 1)).map(lambda v: np.array(v, dtype=np.float32) * scale)

    def side(size: int, identities: list[int]) -> tuple[FloatArray, Labels]:
        """Features and labels of one side."""
        vectors = draw(st.lists(vector, min_size=size, max_size=size))
        names = draw(st.lists(st.sampled_from(identities), min_size=size, max_size=size))
        cameras = draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
        return np.array(vectors, dtype=np.float32), labels(names, cameras)

    queries, query_labels = side(draw(st.integers(1, 3)), [1, 2])
    gallery, gallery_labels = side(draw(st.integers(1, n_gallery)), [-1, 0, 1, 1, 2])
    return Problem(
        queries=queries, gallery=gallery, query_labels=query_labels, gallery_labels=gallery_labels, metric=metric
    )


def of_order(hit_list: list[bool]) -> list[float]:
    """AP, trapezoid AP, INP, first rank and hits of one order of right and wrong answers, by definition."""
    n, found, old, step, trapezoid, ranks = sum(hit_list), 0, 1.0, 0.0, 0.0, []
    for position, is_positive in enumerate(hit_list, 1):
        found += is_positive
        precision = found / position
        if is_positive:
            step += precision / n
            trapezoid += (old + precision) / 2 / n
            ranks.append(position)
        old = precision
    return [step, trapezoid, n / ranks[-1], ranks[0], *(float(ranks[0] <= k) for k in CUTOFFS)]


def of_query(problem: Problem, query: int) -> FloatArray | None:
    """(orders, 8) scores of one query under every order within its ties; None where it has no positive."""
    identity, camera = problem.query_labels.identities[query], problem.query_labels.cameras[query]
    answers = []
    for image, feature in enumerate(problem.gallery.astype(np.float64)):
        other = problem.gallery_labels.identities[image], problem.gallery_labels.cameras[image]
        if other[0] == -1 or other == (identity, camera):
            continue
        own = problem.queries[query].astype(np.float64)
        value = own @ feature if problem.metric == "cosine" else -((own - feature) ** 2).sum()
        answers.append((round(value * GRID), other[0] == identity))
    if not any(is_positive for _, is_positive in answers):
        return None
    groups = []
    for _, tied in groupby(sorted(answers, reverse=True), key=lambda answer: answer[0]):
        hits = [bool(is_positive) for _, is_positive in tied]
        places = combinations(range(len(hits)), sum(hits))
        groups.append([[place in chosen for place in range(len(hits))] for chosen in places])
    return np.array([of_order(list(chain.from_iterable(order))) for order in product(*groups)])


def columns(values: QueryValues) -> FloatArray:
    """(V, 8): the scores of each query in the twin's order."""
    return np.column_stack([values.ap, values.ap_trapezoid, values.inp, values.first_rank, values.hit])


def check(problem: Problem, rank_function: Callable[..., Ranking] = rank, **chunks: int) -> None:
    """Assert that a ranking function's scores are the mean, best and worst over every order within ties."""
    every = {query: of_query(problem, query) for query in range(len(problem.queries))}
    orders = {query: found for query, found in every.items() if found is not None}
    valid = list(orders)
    found = rank_function(
        problem.queries, problem.gallery, problem.query_labels, problem.gallery_labels, MARKET, problem.metric, **chunks
    )
    assert valid == found.query_index.tolist()
    if not valid:
        return
    queries, scores = score(found)
    smaller_is_better = np.where(np.arange(8) == 3, -1, 1)
    expected = np.array([orders[query].mean(axis=0) for query in valid])
    best = np.array([(orders[query] * smaller_is_better).max(axis=0) * smaller_is_better for query in valid])
    worst = np.array([(orders[query] * smaller_is_better).min(axis=0) * smaller_is_better for query in valid])
    assert expected == pytest.approx(columns(queries), rel=0, abs=1e-12)
    assert best == pytest.approx(columns(queries.optimistic), rel=0, abs=1e-12)
    assert worst == pytest.approx(columns(queries.pessimistic), rel=0, abs=1e-12)
    assert expected[:, 0].mean() == pytest.approx(scores.mAP.value, abs=1e-12)
    assert best[:, 1].mean() == pytest.approx(scores.mAP_trapezoid.optimistic, abs=1e-12)
    assert worst[:, 2].mean() == pytest.approx(scores.mINP.pessimistic, abs=1e-12)
    assert expected[:, 4:].mean(axis=0) == pytest.approx(
        [bounded.value for bounded in (scores.rank1, scores.rank5, scores.rank10, scores.rank20)], abs=1e-12
    )
    assert (len(every), len(valid)) == (scores.n_query, scores.n_query_valid)


def check_all(several: Iterable[Problem], rank_function: Callable[..., Ranking]) -> None:
    """Check one problem after the other."""
    for problem in several:
        check(problem, rank_function)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problem=problems(), chunk=st.integers(1, 4), gallery_chunk=st.integers(1, 9))
def test_scores_are_the_mean_over_every_order(problem: Problem, chunk: int, gallery_chunk: int) -> None:
    """Hundreds of problems full of ties agree with the enumerating twin, whatever the chunks."""
    check(problem, chunk=chunk, gallery_chunk=gallery_chunk)


def tied_problems(count: int = 60, seed: int = 5) -> Iterator[Problem]:
    """Problems as above, from a plain generator: 3 queries, 8 images."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield Problem(
            queries=random.integers(-1, 2, (3, 2)).astype(np.float32),
            gallery=random.integers(-1, 2, (8, 2)).astype(np.float32),
            query_labels=labels(random.integers(1, 3, 3), random.integers(0, 2, 3)),
            gallery_labels=labels(random.integers(-1, 3, 8), random.integers(0, 2, 8)),
            metric="euclidean",
        )


def camera_filter_off(*arguments: Any) -> Ranking:
    """A wrong twin: images of the query's own camera count."""
    q, g, query_labels, gallery_labels, protocol, metric = arguments
    protocol = replace(protocol, same_camera_is_junk=False)
    return rank(q, g, query_labels, gallery_labels, protocol, metric)


def junk_kept(*arguments: Any) -> Ranking:
    """A wrong twin: identity -1 is a negative."""
    q, g, query_labels, gallery_labels, protocol, metric = arguments
    protocol = replace(protocol, junk_identities=frozenset())
    return rank(q, g, query_labels, gallery_labels, protocol, metric)


def changed_similarities(change: Callable[[FloatArray, FloatArray], FloatArray]) -> Callable[..., Ranking]:
    """A wrong twin: ranks by changed similarities."""

    def twin(*arguments: Any) -> Ranking:
        def fill(*places: Any, out: FloatArray, **options: Any) -> None:
            original(*places, out=out, **options)
            out[...] = change(out, places[3])

        original = vars(exhaustive)["fill_similarities"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Sides, "is_approximable", False)
            patch.setattr(exhaustive, "fill_similarities", fill)
            return rank(*arguments)

    return twin


order_reversed = changed_similarities(lambda values, rows: -values)
ties_by_file_order = changed_similarities(lambda values, rows: values - 1e-3 * rows)


@pytest.mark.parametrize("wrong", [camera_filter_off, junk_kept, order_reversed, ties_by_file_order])
def test_wrong_twins_are_rejected(wrong: Callable[..., Ranking]) -> None:
    """The check that our ranking passes finds each planted bug."""
    check_all(tied_problems(), rank)
    check_all(tied_problems(), changed_similarities(lambda values, rows: values))
    with pytest.raises(AssertionError):
        check_all(tied_problems(), wrong)


@pytest.mark.parametrize("n_positives", [3, 31, 32, 33, 90])
def test_counting_and_sorting_agree(n_positives: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting for each value, sorting, and the choice between them find the same groups, ties among them."""
    random = np.random.default_rng(n_positives)
    gallery = random.integers(0, 40 * n_positives, (400, 1)).astype(np.float32)
    arguments: Any = (
        np.zeros((1, 1), np.float32), gallery,
        labels([1], [0]), labels([1] * n_positives + [0] * (400 - n_positives), [1] * 400), MARKET, "euclidean",
    )  # fmt: skip
    found = []
    monkeypatch.setattr(Sides, "is_approximable", False)
    for limit in (0, exhaustive._SORTED_PER_VALUE, 1000):
        monkeypatch.setattr(exhaustive, "_SORTED_PER_VALUE", limit)
        found.append(np.stack([*vars(rank(*arguments).groups).values()]))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def untied(seed: int, n_query: int = 12, n_gallery: int = 300) -> tuple[Ranking, list[FloatArray]]:
    """Random unit features with no tie at a positive, as precondition."""
    random = np.random.default_rng(seed)
    q, g = (random.standard_normal((n, 24)) for n in (n_query, n_gallery))
    q, g = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, g))
    identities = random.integers(0, 12, n_gallery)
    found = rank(q, g, labels(range(n_query), [0] * n_query), labels(identities, [1] * n_gallery), MARKET, "cosine")
    assert (found.groups.tied_images == 1).all()
    return found, [((identities == query)[np.argsort(-(g @ q[query]))]) for query in found.query_index]


@pytest.mark.parametrize("seed", range(5))
def test_step_ap_is_scikit_learns(seed: int) -> None:
    """Without ties the step AP is `average_precision_score`."""
    found, orders = untied(seed)
    expected = [average_precision_score(order, -np.arange(len(order))) for order in orders]
    assert expected == pytest.approx(score(found)[0].ap, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_trapezoid_ap_is_the_papers(seed: int) -> None:
    """Without ties the trapezoid is (i/r + old)/2, old = (i-1)/(r-1) or 1 at rank 1 (REFERENCE.md, section 4.4)."""
    found, orders = untied(seed)
    expected = []
    for order in orders:
        area, ranks = 0.0, np.flatnonzero(order)
        for i, r in enumerate(ranks):
            old = i / r if r != 0 else 1.0
            area += ((i + 1) / (r + 1) + old) / 2 / len(ranks)
        expected.append(area)
    queries, scores = score(found)
    assert expected == pytest.approx(queries.ap_trapezoid, abs=1e-12)
    assert scores.mAP_trapezoid.value < scores.mAP.value


def test_an_example_by_hand() -> None:
    """Right answers at ranks 1, 3 and 5 once the two junk images are out."""
    image = [  # identity, camera, distance
        (7, 2, 1), (0, 1, 2), (7, 3, 3), (-1, 2, 4), (7, 1, 5), (9, 2, 6), (7, 2, 7), (8, 1, 8),
    ]  # fmt: skip
    identities, cameras, distances = zip(*image, strict=True)
    gallery = np.array(distances, dtype=np.float32)[:, None]
    queries, scores = score(
        rank(np.zeros((1, 1), np.float32), gallery, labels([7], [1]), labels(identities, cameras), MARKET, "euclidean")
    )
    assert pytest.approx(scores.mAP.value, abs=1e-15) == (1 / 1 + 2 / 3 + 3 / 5) / 3
    assert pytest.approx(scores.mAP_trapezoid.value) == ((1 + 1) / 2 + (2 / 3 + 1 / 2) / 2 + (3 / 5 + 2 / 4) / 2) / 3
    assert (scores.mINP.value, scores.rank1.value, queries.first_rank[0]) == (3 / 5, 1.0, 1.0)
    assert scores.mAP.optimistic == scores.mAP.value == scores.mAP.pessimistic
    chance = (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5 + 1 / 6) / 6 * (1 - 2 / 5) + 2 / 5
    assert (chance, 3 / 6) == pytest.approx((scores.chance_mAP, scores.chance_rank1), abs=1e-15)
    assert (scores.n_query, scores.n_query_valid, scores.n_gallery, scores.n_identity) == (1, 1, 8, 1)


def test_no_valid_query_says_what_is_wrong() -> None:
    """Images of the query's own camera alone leave nothing to score, and the user can mend it."""
    one = np.ones((1, 1), np.float32)
    found = rank(one, one, labels([3], [1]), labels([3], [1]), MARKET, "cosine")
    with pytest.raises(
        UserError, match="no query of 1 has a gallery image of its identity that the protocol lets it meet"
    ):
        score(found)
