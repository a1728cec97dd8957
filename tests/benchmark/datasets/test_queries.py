"""Some of a set's queries: always the same ones, the gallery whole, another set to a cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from robustreid import InvalidFileError
from robustreid.benchmark.config.grid import load_grid
from robustreid.benchmark.datasets.catalogue import open_dataset
from robustreid.benchmark.datasets.opening import open_sets
from robustreid.benchmark.datasets.retrieval import with_queries
from robustreid.benchmark.progress import Silent

LINE = "datasets:\n  - {{name: mini, format: folder, root: ./mini, queries: {}}}"


def test_the_same_queries_every_time(bench: Path, write_people: Callable[..., Path]) -> None:
    """More of them hold fewer of them, in file order, with their labels; a set with more people may choose others."""
    data = open_dataset("big", "folder", write_people(bench / "big", people=range(1, 30)))
    fewer, more = with_queries(data, 5), with_queries(data, 12)
    assert set(fewer.query.paths) < set(more.query.paths) < set(data.query.paths)
    assert sorted(more.query.paths) == list(more.query.paths)
    assert fewer.query.paths != data.query.paths[:5]
    for path, identity, camera in zip(more.query.paths, more.query.identities, more.query.cameras, strict=True):
        place = data.query.paths.index(path)
        assert (identity, camera) == (data.query.identities[place], data.query.cameras[place])
    assert more.gallery is data.gallery


def test_too_many_are_refused(bench: Path) -> None:
    """With the number there is."""
    data = open_dataset("mini", "folder", bench / "mini")
    assert with_queries(data, 3).query.paths == data.query.paths
    with pytest.raises(InvalidFileError, match="has 3 queries, and 4 were asked for"):
        with_queries(data, 4)


def test_a_grid_asks_for_them(write_grid: Callable[..., Path]) -> None:
    """Some of the queries are another data set than all of them, by content."""
    refs = []
    for count in (2, 3):
        grid = load_grid(write_grid(datasets=LINE.format(count)))
        sets, _ = open_sets(grid.datasets, workers=1, reporter=Silent())
        assert len(sets["mini"].data.query) == count
        refs.append(sets["mini"].ref.sha256)
    whole, _ = open_sets(load_grid(write_grid()).datasets, workers=1, reporter=Silent())
    assert refs[1] == whole["mini"].ref.sha256 != refs[0]


def test_trials_keep_their_own() -> None:
    """A trial of the smaller set is about those of its queries that are left, and about the gallery as it was."""
    data = open_dataset("d", "synthetic", None, {"protocol": "regdb-v2t", "identities": 6, "shots": 2})
    few = with_queries(data, 9)
    assert len(few.trials) == 10
    for before, after in zip(data.trials, few.trials, strict=True):
        wanted = {data.query.paths[place] for place in before.query} & set(few.query.paths)
        assert {few.query.paths[place] for place in after.query} == wanted
        assert after.gallery.tolist() == before.gallery.tolist()
    with pytest.raises(InvalidFileError, match="has trials without any"):
        with_queries(data, 1)
