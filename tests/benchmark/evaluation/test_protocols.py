"""Every protocol against plain loops written from its rules, on random problems without ties and on all tied orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from robustreid.benchmark.evaluation import PROTOCOLS, Labels, Protocol, is_left_out, rank, score
from robustreid.benchmark.evaluation.sides import Sides

#: One protocol of each family of rules.
FAMILIES = ("market", "cuhk03-np", "sysu-all", "llcm-v2i", "regdb-v2t")
#: Scores that a bug in what is ranked, and in what is counted, is seen in.
PRECISIONS, RANKS = frozenset({"AP", "trapezoid AP", "INP"}), frozenset({"first rank", "hit@5"})
#: Scores a problem: which queries are valid, and (V, 8) values of each, expected, optimistic and pessimistic.
Scorer = Callable[[Any], tuple[list[int], list[Any]]]


def arguments(problem: Any) -> Any:
    """What the engine takes."""
    sides = problem.queries, problem.gallery
    features = (np.array([image.feature for image in side]) for side in sides)
    labels = (
        Labels(
            identities=np.array([image.identity for image in side], dtype=np.int64),
            cameras=np.array([image.camera for image in side], dtype=np.int64),
        )
        for side in sides
    )
    return (*features, *labels, PROTOCOLS[problem.protocol])


def columns(values: Any) -> Any:
    """(V, 8) in the order of the plain loops."""
    return np.column_stack([values.ap, values.ap_trapezoid, values.inp, values.first_rank, values.hit])


def engine(problem: Any, protocol: Protocol | None = None, **options: Any) -> tuple[list[int], list[Any]]:
    """The scores of the engine, under the problem's protocol or another one."""
    q, g, q_labels, g_labels, own = arguments(problem)
    found = rank(q, g, q_labels, g_labels, protocol or own, "euclidean", **options)
    if not found.n_query_valid:
        return [], []
    queries, means = score(found)
    assert means.rank5.value == pytest.approx(queries.hit[:, 1].mean(), abs=1e-12)
    assert means.n_query_valid == len(queries.query_index)
    return queries.query_index.tolist(), [columns(each) for each in (queries, queries.optimistic, queries.pessimistic)]


def differing(plain: Any, problems: Iterable[Any], scorer: Scorer) -> set[str]:
    """Which scores of which a scorer does not give the mean, best and worst of the plain loops; `valid` if queries."""
    names = np.array(plain.NAMES)
    sign = np.where(names == "first rank", -1, 1)
    found: set[str] = set()
    for problem in problems:
        every = plain.every_value(problem)
        valid, values = scorer(problem)
        if valid != list(every):
            found.add("valid")
        elif valid:
            expected = [
                [orders.mean(axis=0), (orders * sign).max(axis=0) * sign, (orders * sign).min(axis=0) * sign]
                for orders in every.values()
            ]
            difference = np.abs(np.stack(values, axis=1) - expected).max(axis=(0, 1))
            found |= set(names[difference > 1e-12].tolist())
    return found


def test_every_protocol_has_a_plain_twin(plain: Any) -> None:
    """None is left out, and the tables say the same."""
    assert list(plain.RULES) == list(PROTOCOLS)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_plain_loop_agrees(plain: Any, name: str) -> None:
    """A hundred problems of each protocol, hundreds of most families of rules, cut into chunks of two sizes."""
    problems = [plain.random_problem(name, seed) for seed in range(100)]
    assert sum(len(plain.every_value(problem)) for problem in problems) > 300
    assert not differing(plain, problems[::2], engine)
    assert not differing(plain, problems[1::2], lambda problem: engine(problem, chunk=3, gallery_chunk=4))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_order_of_ties_agrees(plain: Any, name: str) -> None:
    """Expected, best and worst scores of problems full of ties, against all orders of the tied images."""
    problems = [plain.tied_problem(name, seed) for seed in range(200)]
    assert sum(len(plain.every_value(problem)) for problem in problems) > 100
    assert not differing(plain, problems, engine)


def _changed(**fields: Any) -> Scorer:
    """The engine under a protocol that is not the problem's."""
    return lambda problem: engine(problem, replace(PROTOCOLS[problem.protocol], **fields))


def _one_by_one(gallery_of: Callable[[Any, Any], list[Any]], *, then: Scorer = engine) -> Scorer:
    """Each query scored by itself, on a gallery that was taken for it."""

    def scorer(problem: Any) -> tuple[list[int], list[Any]]:
        valid, found = [], []
        for place, query in enumerate(problem.queries):
            gallery = gallery_of(problem, query)
            index, values = then(replace(problem, queries=[query], gallery=gallery)) if gallery else ([], [])
            if index:
                valid.append(place)
                found.append(values)
        return valid, [np.concatenate(columns) for columns in zip(*found, strict=True)]

    return scorer


def _everything(problem: Any, query: Any) -> list[Any]:
    return list(problem.gallery)


def _without_own_hidden(problem: Any, query: Any) -> list[Any]:
    hidden = PROTOCOLS[problem.protocol].hidden_cameras
    return [
        image
        for image in problem.gallery
        if not (image.identity == query.identity and (query.camera, image.camera) in hidden)
    ]


def _nearest_of_each(problem: Any, query: Any) -> list[Any]:
    """The nearest image of each identity, of those that count for the query."""
    _, gallery, _, labels, protocol = arguments(problem)
    left_out = is_left_out(protocol, arguments(replace(problem, queries=[query]))[2], labels)[0]
    order = np.argsort(((gallery - np.array(query.feature)) ** 2).sum(axis=1))
    found: dict[int, Any] = {}
    for place in order[~left_out[order]]:
        found.setdefault(problem.gallery[place].identity, problem.gallery[place])
    return list(found.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_queries_one_by_one_agree(plain: Any, name: str) -> None:
    """What some planted bugs below are made of finds nothing by itself."""
    for made in (plain.random_problem, plain.tied_problem):
        assert not differing(plain, (made(name, seed) for seed in range(30)), _one_by_one(_everything))


@pytest.mark.parametrize(
    ("wrong", "families", "expected"),
    [
        pytest.param(
            _changed(same_camera_is_junk=False), ("market", "cuhk03-np", "llcm-v2i"), PRECISIONS | RANKS,
            id="camera rule dropped",
        ),
        pytest.param(_changed(same_camera_is_junk=True), ("sysu-all", "regdb-v2t"), PRECISIONS | RANKS, id="added"),
        pytest.param(_changed(junk_identities=frozenset()), ("market",), PRECISIONS | RANKS, id="junk kept"),
        pytest.param(_changed(hidden_cameras=frozenset()), ("sysu-all",), PRECISIONS | RANKS, id="hidden seen"),
        pytest.param(
            _changed(hidden_cameras=frozenset({(2, 3)})), ("sysu-all",), PRECISIONS | RANKS,
            id="hidden the other way round",
        ),
        pytest.param(
            _one_by_one(_without_own_hidden, then=_changed(hidden_cameras=frozenset())), ("sysu-all",),
            PRECISIONS | RANKS, id="hidden of the own identity alone",
        ),
        pytest.param(_changed(ranks_identities=False), ("sysu-all", "llcm-v2i"), RANKS, id="ranks of images"),
        pytest.param(_changed(ranks_identities=True), ("market", "regdb-v2t"), RANKS, id="ranks of identities"),
        pytest.param(_one_by_one(_nearest_of_each), ("sysu-all", "llcm-v2i"), PRECISIONS, id="AP of collapsed lists"),
    ],
)  # fmt: skip
def test_planted_bugs_are_rejected(
    plain: Any, wrong: Scorer, families: tuple[str, ...], expected: frozenset[str]
) -> None:
    """The comparison that the engine passes finds each of them in each family, in the scores that it is about."""
    for name in families:
        problems = [plain.random_problem(name, seed) for seed in range(100)]
        found = differing(plain, problems, wrong) - {"valid"}
        assert expected <= found <= expected | {"hit@1", "hit@10", "hit@20"}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_is_left_out_is_said_pair_by_pair(plain: Any, name: str) -> None:
    """By the plain rules, and as many images are ranked for a query as are not left out."""
    for problem in (plain.random_problem(name, seed) for seed in range(20)):
        q, g, q_labels, g_labels, protocol = arguments(problem)
        found = is_left_out(protocol, q_labels, g_labels)
        rules = plain.RULES[name]
        assert found.tolist() == [
            [plain.is_left_out(rules, query, image) for image in problem.gallery] for query in problem.queries
        ]
        ranking = rank(q, g, q_labels, g_labels, protocol, "euclidean")
        assert ranking.images.tolist() == (~found).sum(axis=1)[ranking.query_index].tolist()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", ["sysu-all", "llcm-v2i"])
def test_chunks_and_order_change_no_bit(name: str, metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries shuffled among cameras, gallery shuffled, chunks of any size, with the filter and without: one result."""
    random = np.random.default_rng(5)
    points = random.standard_normal((40, 8))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    q, g = (points[random.integers(0, 40, count)].astype(np.float32) for count in (70, 300))
    q_labels, g_labels = (
        Labels(identities=random.integers(1, 12, count), cameras=random.integers(1, 7, count)) for count in (70, 300)
    )
    expected, means = score(rank(q, g, q_labels, g_labels, PROTOCOLS[name], metric))
    assert means.rank5.pessimistic < means.rank5.value < means.rank5.optimistic
    order = random.permutation(300)
    cuts: Any = ({}, {"chunk": 1, "gallery_chunk": 7}, {"chunk": 33, "gallery_chunk": 1000})
    for sizes in cuts:
        for is_filtered in (True, False):
            monkeypatch.setattr(Sides, "is_approximable", is_filtered)
            found, again = score(rank(q, g[order], q_labels, g_labels.part(order), PROTOCOLS[name], metric, **sizes))
            assert means == again
            for own, other in ((expected, found), (expected.optimistic, found.optimistic)):
                assert np.array_equal(columns(own), columns(other))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_collapsed_model_scores_chance(name: str) -> None:
    """All images at one point: step mAP and Rank-1 are those of a random order, whoever is counted."""
    random = np.random.default_rng(6)
    q_labels, g_labels = (
        Labels(identities=random.integers(1, 40, count), cameras=random.integers(1, 7, count)) for count in (60, 400)
    )
    _, means = score(rank(np.ones((60, 3)), np.ones((400, 3)), q_labels, g_labels, PROTOCOLS[name], "euclidean"))
    assert means.mAP.value == pytest.approx(means.chance_mAP, abs=1e-12)
    assert means.rank1.value == pytest.approx(means.chance_rank1, abs=1e-12)
    several = [means.rank1.value, means.rank5.value, means.rank10.value, means.rank20.value]
    assert all(low < high for low, high in pairwise(several))
    assert (means.rank20.pessimistic, means.rank20.optimistic) == (0, 1)
