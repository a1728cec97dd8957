"""`auto`: the worst of its members on every query, for AP and for the first place, whoever else is attacked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from robustreid import UserError
from robustreid.attacks import ensemble
from robustreid.attacks.catalogue import resolve_attack
from robustreid.attacks.ensemble import MEMBERS, Member, Verdict, cascade
from robustreid.attacks.objectives.metric import Furthest, Push, Self
from robustreid.attacks.optimisers import APGD, Square
from robustreid.benchmark.evaluation import PROTOCOLS, Labels, rank, values_of
from robustreid.benchmark.runner.judging import least_precisions

#: A short ensemble of the same kinds, so that a test takes seconds.
SHORT = (
    Member(name="furthest", objective=Furthest(), optimiser=APGD(steps=4, restarts=2)),
    Member(name="push", objective=Push(), optimiser=APGD(steps=4)),
    Member(name="self", objective=Self(), optimiser=APGD(steps=4)),
    Member(name="square", objective=Push(), optimiser=Square(queries=20)),
)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The short ensemble in place of the standard one."""
    monkeypatch.setattr(ensemble, "MEMBERS", SHORT)


@pytest.fixture
def run_auto(
    fast: Path, people: Callable[..., Path], grid_file: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> Callable[..., Any]:
    """A function that runs `auto` on the first N people, into a folder of that name, in batches of 8."""

    def go(n_people: int, out: str = "run", *, batch_size: int = 8, **keys: Any) -> Any:
        grid = grid_file(fast, people(n_people), **{"attacks": ["auto"], **keys})
        return run(grid, tmp_path / out, batch_size=batch_size)

    return go


@pytest.fixture
def ran_with_members(short: None, run_auto: Callable[..., Any]) -> Callable[[], tuple[Any, dict[str, Any]]]:
    """A function that runs `auto` on the query side and gives the run, and by member the AP of what it made."""

    def go() -> tuple[Any, dict[str, Any]]:
        seen: dict[str, list[Any]] = {}

        def watched(loss_of: Any, look: Any, images: torch.Tensor, threat: Any, draw: Any) -> Any:
            worst = cascade(loss_of, look, images, threat, draw)
            for name, found in worst.by_member.items():
                seen.setdefault(name, []).append(look(found).ap.numpy())
            return worst

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("robustreid.benchmark.runner.walks.cascade", watched)
            ran = run_auto(8, epsilons=["1/255"], side="query")
        return ran, {name: np.concatenate(values) for name, values in seen.items()}

    return go


def test_every_query_is_at_its_worst(ran_with_members: Callable[[], Any]) -> None:
    """AP of each query is the least over the members, of the very images that were scored."""
    ran, members = ran_with_members()
    row = ran.row(attack="auto")
    assert set(members) == {member.name for member in SHORT}
    found = ran.queries(row["cell_id"])["ap_attacked"].to_numpy()
    least = np.min([values[: len(found)] for values in members.values()], axis=0)
    assert (found <= least + ensemble.AP_MARGIN).all()
    assert found.mean() == row["mAP_attacked"]
    assert row["backwards"] <= row["n_attacked"] * sum(member.gradients for member in SHORT)
    assert row["mAP_attacked_float"] == row["mAP_attacked"]


def test_keeping_the_last_member_is_rejected(
    ran_with_members: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: an ensemble that forgets what it has and keeps what came last."""
    nothing = property(lambda verdict: torch.zeros_like(verdict.ap, dtype=torch.bool))
    monkeypatch.setattr(Verdict, "is_ap_lost", nothing)
    monkeypatch.setattr(Verdict, "is_hit_lost", nothing)
    monkeypatch.setattr(ensemble, "is_worse", lambda new, old: torch.ones_like(new, dtype=torch.bool))
    ran, members = ran_with_members()
    found = ran.queries(ran.row(attack="auto")["cell_id"])["ap_attacked"].to_numpy()
    least = np.min([values[: len(found)] for values in members.values()], axis=0)
    assert not (found <= least + ensemble.AP_MARGIN).all()


@pytest.mark.slow
def test_who_else_is_attacked_does_not_matter(short: None, run_auto: Callable[..., Any]) -> None:
    """In batches of 2 and of 8 the same queries lose the same, though batches end their cascades at other members."""
    keys = {"epsilons": ["3/255"], "side": "query"}
    tables = [
        ran.queries(ran.row(attack="auto")["cell_id"])
        for ran in (run_auto(8, str(size), batch_size=size, **keys) for size in (2, 8))
    ]
    np.testing.assert_allclose(tables[0]["ap_attacked"], tables[1]["ap_attacked"], atol=0.02)
    assert run_auto(8, "again", **keys).table() == run_auto(8, "once more", **keys).table()


def test_a_gallery_has_one_adversary(short: None, run_auto: Callable[..., Any]) -> None:
    """On the gallery side the row is the least mean over members, which one attacked gallery really reaches."""
    own = [
        {"name": f"m-{m.name}", "objective": o, "optimiser": "apgd", "steps": 4, "restarts": r}
        for m, o, r in zip(SHORT[:3], ("furthest", "push", "self"), (2, 1, 1), strict=True)
    ]
    ran = run_auto(6, attacks=["auto", *own], epsilons=["2/255"], side="gallery")
    row = ran.row(attack="auto")
    members = ran.rows[ran.rows["attack"] != "auto"]
    # Members by themselves draw other starts, so they agree up to some points.
    assert row["mAP_attacked"] <= members["mAP_attacked"].min() + 0.05
    assert row["mAP_attacked"] < row["mAP_clean"]
    queries = ran.queries(row["cell_id"])
    assert queries["ap_attacked"].mean() == pytest.approx(row["mAP_attacked"], abs=1e-12)


def test_epsilon_0_is_clean(short: None, run_auto: Callable[..., Any]) -> None:
    """Bit for bit, on both sides."""
    ran = run_auto(5, batch_size=16, epsilons=["0"], side=["query", "gallery"])
    for row in ran.rows.to_dict("records"):
        assert row["status"] == "done"
        assert row["mAP_attacked"] == row["mAP_clean"]
        assert row["rank1_attacked"] == row["rank1_clean"]


def test_the_standard_keeps_to_its_budget() -> None:
    """At most 300 gradients and 1,000 queries an image, and nothing can be chosen."""
    assert sum(member.gradients for member in MEMBERS) <= 300
    assert sum(m.optimiser.queries for m in MEMBERS if isinstance(m.optimiser, Square)) <= 1000
    assert len({member.name for member in MEMBERS}) == len(MEMBERS)
    with pytest.raises(UserError, match="takes no parameter 'steps'"):
        resolve_attack("auto", {"steps": 3})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"side": "both"}, "changes images of the query or gallery side"),
        ({"goal": "targeted"}, "no targeted form"),
        ({"norm": "l2", "epsilons": [1]}, "L-inf only"),
    ],
)
def test_what_is_not_defined_is_refused(keys: dict[str, Any], message: str, run_auto: Callable[..., Any]) -> None:
    """Sides, goals and norms of version 1."""
    with pytest.raises(UserError, match=message):
        run_auto(5, **keys)


@pytest.mark.parametrize("seed", range(20))
def test_the_least_ap_is_that_of_the_worst_order(seed: int) -> None:
    """All right images last: no order gives less, and a ranking that does so gives as much."""
    random = np.random.default_rng(seed)
    n, total = int(random.integers(1, 6)), int(random.integers(6, 30))
    gallery = np.array([7] * n + [9] * (total - n))
    features = np.where(gallery == 7, -1.0, 1.0)[:, None].astype("f4")
    labels = Labels(identities=gallery, cameras=np.ones(total, np.int64))
    query = Labels(identities=np.array([7]), cameras=np.array([0]))
    ranking = rank(np.ones((1, 1), "f4"), features, query, labels, PROTOCOLS["market"], "cosine")
    least = least_precisions(ranking.positives, ranking.images)
    worst = [i / (total - n + i) for i in range(1, n + 1)]
    assert least[0] == pytest.approx(np.mean(worst), abs=1e-12)
    assert values_of(ranking).ap[0] >= least[0] - 1e-12


def test_a_verdict_knows_what_is_lost() -> None:
    """AP within the margin of its least, and a hit of exactly none."""
    verdict = Verdict(
        ap=torch.tensor([0.1009, 0.1011, 0.5]), least_ap=torch.tensor([0.1, 0.1, 0.5]), hit=torch.tensor([0.0, 0.5, 1])
    )
    assert verdict.is_ap_lost.tolist() == [True, False, True]
    assert verdict.is_hit_lost.tolist() == [True, False, False]
