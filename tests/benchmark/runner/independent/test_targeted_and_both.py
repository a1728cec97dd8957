"""Goals and sides that need more than one set of labels or features, scored again from the kept images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EVERY = 10**6


@pytest.mark.parametrize("source", ["cuhk01-mini", "crowd"])
def test_a_targeted_query_looks_for_its_target(
    source: str,
    crowd: Path,
    people: Callable[..., Path],
    tiny: Path,
    plain: Callable[..., Any],
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Scored from the kept images under the targets' labels, every camera counting; the clean problem likewise."""
    data = crowd if source == "crowd" else people(12)
    ran = run(
        grid_file(tiny, data, goal="targeted", side="query", epsilons=["8/255"]), tmp_path / "r", keep_images=EVERY
    )
    row, reference = ran.row(), plain(tiny, data)
    queries = ran.queries(row["cell_id"])
    aims = dict(zip(queries["query_id"], queries["target_identity"], strict=True))
    own, cameras = reference.labels("query")
    shift = dict(zip(queries["identity"], queries["target_identity"], strict=True))
    assert all(identity != aim for identity, aim in shift.items())
    assert sorted(shift.values()) == sorted(set(shift.values()))
    assert set(shift.values()) <= set(reference.labels("gallery")[0].tolist()) - {0, -1}
    wanted = np.array([aims.get(one.path, -2) for one in reference.sides["query"]])
    kept = reference.kept(ran.path, row["cell_id"])
    assert set(kept) == set(aims)
    assert row["n_attacked"] == row["n_query_valid"] == len(aims)
    for suffix, replaced in (("_clean", {}), ("", kept)):
        expected = reference.rank(
            reference.features("query", replaced),
            reference.features("gallery"),
            (wanted, cameras),
            reference.labels("gallery"),
            same_camera_is_junk=False,
        )
        assert row[f"target_mAP{suffix}"] == pytest.approx(expected["mAP"], abs=1e-4)
        assert row[f"target_rank1{suffix}"] == pytest.approx(expected["rank1"], abs=1e-4)
    assert row["target_mAP"] > 1.5 * row["target_mAP_clean"]
    assert np.isnan(row["mAP_clean"])
    assert np.isnan(row["mAP_attacked"])
    assert len(own) == row["n_query"]


def _with_people_on_both_sides(source: Path, target: Path) -> Path:
    """The same set without the queries of people whom the gallery does not show."""
    shown = {file.name[:4] for file in (source / "bounding_box_test").iterdir()}
    for folder in ("query", "bounding_box_test"):
        (target / folder).mkdir(parents=True)
        for file in (source / folder).iterdir():
            if file.name[:4] in shown:
                (target / folder / file.name).symlink_to(file.resolve())
    return target


def test_a_targeted_gallery_carries_its_targets_label(
    crowd: Path,
    tiny: Path,
    plain: Callable[..., Any],
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Every attacked image is a right answer for its target's queries; who is not attacked keeps the own name."""
    data = _with_people_on_both_sides(crowd, tmp_path / "data")
    grid = grid_file(tiny, data, goal="targeted", side=["gallery", "query"], epsilons=["8/255"], seeds=[5])
    ran, reference = run(grid, tmp_path / "run", keep_images=EVERY), plain(tiny, data)
    row, query_row = ran.row(side="gallery"), ran.row(side="query")
    queries = ran.queries(query_row["cell_id"])
    # Both sides have the same people, so the order of the identities and its shift are the same.
    shift = dict(zip(queries["identity"], queries["target_identity"], strict=True))
    kept = reference.kept(ran.path, row["cell_id"])
    aims = np.array([shift[one.identity] if one.path in kept else one.identity for one in reference.sides["gallery"]])
    strangers = [one.identity in {0, -1} for one in reference.sides["gallery"]]
    assert [one.path in kept for one in reference.sides["gallery"]] == [not stranger for stranger in strangers]
    for suffix, replaced in (("_clean", {}), ("", kept)):
        expected = reference.rank(
            reference.features("query"),
            reference.features("gallery", replaced),
            reference.labels("query"),
            (aims, reference.labels("gallery")[1]),
            same_camera_is_junk=False,
        )
        assert row[f"target_mAP{suffix}"] == pytest.approx(expected["mAP"], abs=1e-4)
        assert row[f"target_rank1{suffix}"] == pytest.approx(expected["rank1"], abs=1e-4)
    assert row["target_mAP"] > 1.5 * row["target_mAP_clean"]


def test_both_is_sequential(
    people: Callable[..., Path],
    fast: Path,
    plain: Callable[..., Any],
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """The gallery is that of the gallery cell; the queries go away from the attacked gallery; both are scored."""
    data = people(8)
    grid = grid_file(fast, data, side=["gallery", "both"], epsilons=["2/255"])
    ran, reference = run(grid, tmp_path / "run", keep_images=EVERY), plain(fast, data)
    alone, both = ran.row(side="gallery"), ran.row(side="both")
    gallery, kept = (reference.kept(ran.path, row["cell_id"]) for row in (alone, both))
    assert len(kept) == both["n_attacked"] == 32
    assert all(kept[path].equal(pixels) for path, pixels in gallery.items())
    queries = {path: pixels for path, pixels in kept.items() if path not in gallery}
    by_hand = reference.attack("query", 2, references=reference.features("gallery", gallery))
    wrong_way = reference.attack("query", 2)
    agreement = [
        float(np.mean([(queries[path] - other[path]).abs().lt(1e-6).float().mean() for path in queries]))
        for other in (by_hand, wrong_way)
    ]
    assert agreement[0] > 0.99 > agreement[1]
    expected = reference.scores(kept)
    assert {metric: both[f"{metric}_attacked"] for metric in expected} == pytest.approx(expected, abs=1e-4)
    assert both["mAP_attacked"] < alone["mAP_attacked"]


def test_both_weaker_than_the_gallery_is_flagged(
    people: Callable[..., Path],
    tiny: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """The flag stands exactly where attacking both sides leaves a better mAP than the gallery alone."""
    keys = {"attacks": ["noise"], "epsilons": ["4/255", "8/255", "16/255"], "seeds": [0, 1, 2]}
    rows = run(grid_file(tiny, people(12), side=["gallery", "both"], **keys), tmp_path / "run").rows
    alone, both = (rows[rows["side"] == side].set_index(["epsilon", "seed"]) for side in ("gallery", "both"))
    flagged = both["flags"].map(lambda flags: "both-weaker-than-gallery" in flags)
    assert flagged.tolist() == (both["mAP_attacked"] > alone["mAP_attacked"].reindex(both.index)).tolist()
    assert 0 < flagged.sum() < len(flagged)
    assert not alone["flags"].map(len).any()


def test_distractors_and_junk_stay_clean(
    crowd: Path,
    tiny: Path,
    plain: Callable[..., Any],
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Only people with somebody on the other side are attacked, and only their images differ; all are ranked."""
    ran = run(grid_file(tiny, crowd, side=["gallery", "query"]), tmp_path / "run", keep_images=EVERY)
    reference = plain(tiny, crowd)
    names = {side: set(reference.labels(side)[0].tolist()) for side in ("query", "gallery")}
    for side, other in (("gallery", "query"), ("query", "gallery")):
        row = ran.row(side=side)
        able = [one for one in reference.sides[side] if one.identity in names[other] - {0, -1}]
        assert row["n_attacked"] == len(able)
        kept = reference.kept(ran.path, row["cell_id"])
        assert set(kept) == {one.path for one in able}
        expected = reference.scores(kept)
        assert {metric: row[f"{metric}_attacked"] for metric in expected} == pytest.approx(expected, abs=1e-4)
    assert {0, -1} <= names["gallery"]
    assert ran.row(side="gallery")["n_gallery"] == len(reference.sides["gallery"])
