"""One cell after the other held against a baseline: what a session says is adjusted for all that it compares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from robustreid import UserError
from robustreid.leaderboards.gate.baseline import read_baseline
from robustreid.leaderboards.gate.policy import Policy, Rule
from robustreid.leaderboards.gate.verdicts import Verdict
from robustreid.leaderboards.holding import comparisons_of, hold, hold_up, write_baseline
from robustreid.leaderboards.measurements import Measurement, Queries
from robustreid.leaderboards.measuring import merge

N_PEOPLE, N_QUERIES = 60, 2
SCORES = np.random.default_rng(0).uniform(0.3, 0.9, N_PEOPLE * N_QUERIES)
NOISE = np.random.default_rng(1).normal(0, 0.075, N_PEOPLE * N_QUERIES)


def make_cell(attacked: NDArray[np.float64] = SCORES, model: str = "net", **row: Any) -> Measurement:
    """A cell of 60 people, twice asked for, whose attacked scores are given."""
    values = np.clip(attacked, 0, 1)
    clean = np.full_like(values, 0.9)
    row = {
        "model": model,
        "model_sha256": "1" * 64,
        "dataset": "mini",
        "dataset_sha256": "2" * 64,
        "protocol": "market-v1",
        "attack": "ama-ifgsm",
        "attack_version": 1,
        "attack_params": "{}",
        "references": "other-side",
        "perturb_at": "native",
        "precision": "exact",
        "metric_version": 1,
        "engine_version": 2,
        "norm": "linf",
        "epsilon": 2 / 255,
        "epsilon_label": "2/255",
        "side": "query",
        "goal": "untargeted",
        "knowledge": "white-box",
        "seed": 0,
        "flags": [],
        "status": "done",
        "cell_id": f"{model}-{row.get('attack', 'ama-ifgsm')}",
        **{f"{name}_clean": float(clean.mean()) for name in ("mAP", "mAP_trapezoid", "mINP")},
        **{f"{name}_attacked": float(values.mean()) for name in ("mAP", "mAP_trapezoid", "mINP")},
        **row,
    }
    columns = {f"{name}_clean": clean for name in ("ap", "ap_trapezoid", "inp")}
    columns |= {f"{name}_attacked": values for name in ("ap", "ap_trapezoid", "inp")}
    columns |= {f"first_rank_{state}": np.ones_like(values) for state in ("clean", "attacked")}
    return Measurement(
        cell_id=row["cell_id"],
        label=f"{model} mini {row['attack']} linf 2/255 query",
        model=model,
        dataset="mini",
        status="done",
        reason="",
        source=Path("made-up"),
        row=row,
        loaded=Queries(
            ids=tuple(f"query/{place}.png" for place in range(len(values))),
            identities=np.repeat(np.arange(N_PEOPLE), N_QUERIES),
            cameras=np.tile(np.arange(N_QUERIES), N_PEOPLE),
            trials=np.zeros(len(values), dtype=np.int64),
            columns=columns,
        ),
    )


def attacked(verdicts: tuple[Verdict, ...] | None) -> Verdict:
    """The verdict on the attacked mAP."""
    assert verdicts is not None
    (found,) = [verdict for verdict in verdicts if verdict.metric == "mAP_attacked"]
    return found


def test_an_unchanged_cell_is_the_same() -> None:
    """Clean and attacked score are each compared, once."""
    verdicts = hold(make_cell(), [make_cell()], Policy(), comparisons=2) or ()
    assert [(verdict.metric, verdict.word) for verdict in verdicts] == [
        ("mAP_attacked", "same"),
        ("mAP_clean", "same"),
    ]
    assert hold_up(make_cell(), [make_cell()], Policy(), comparisons=2).words == ("same",)


def test_a_drop_counts_for_less_among_many() -> None:
    """What one test alone would call worse may be chance among forty; a drop that no chance explains is worse there."""
    base = [make_cell()]
    small, large = make_cell(SCORES - 0.010 + NOISE), make_cell(SCORES - 0.10 + NOISE)
    alone = attacked(hold(small, base, Policy(), comparisons=1))
    among = attacked(hold(small, base, Policy(), comparisons=40))
    assert (alone.word, among.word) == ("worse", "cannot tell")
    assert alone.p_value is not None
    assert among.p_value == pytest.approx(min(1.0, 40 * alone.p_value))
    assert alone.smallest_detectable is not None
    assert among.smallest_detectable is not None
    assert alone.smallest_detectable < among.smallest_detectable
    assert f"the smallest detectable drop is {100 * among.smallest_detectable:.2f} points" in among.reason
    assert attacked(hold(large, base, Policy(), comparisons=40)).word == "worse"


def false_alarms(comparisons: int, sessions: int = 40, tests: int = 12) -> int:
    """In how many sessions a test fails though every model is as good as before."""
    rng = np.random.default_rng(3)
    failed = 0
    for _ in range(sessions):
        found = False
        for _ in range(tests):
            change = np.repeat(rng.normal(0, 0.12, N_PEOPLE), N_QUERIES)
            base, new = make_cell(SCORES - change / 2), make_cell(SCORES + change / 2)
            verdicts = hold(new, [base], Policy(metrics=("mAP_attacked",)), comparisons=comparisons) or ()
            found = found or any(verdict.word == "worse" for verdict in verdicts)
        failed += found
    return failed


@pytest.mark.slow
def test_a_session_of_many_tests_raises_few_false_alarms() -> None:
    """At most one session in twenty fails by chance, within what 40 sessions can tell; without the adjustment, more."""
    assert false_alarms(comparisons=12) <= 5
    assert false_alarms(comparisons=1) > 5


def test_the_words_of_a_policy_count() -> None:
    """A strict policy fails what cannot be told, a rule may allow the drop, another may not ask at all."""
    base, new = [make_cell()], make_cell(SCORES - 0.010 + NOISE)
    lenient = hold_up(new, base, Policy(), comparisons=40)
    strict = hold_up(new, base, Policy(strict=True), comparisons=40)
    assert (len(lenient.wrong), len(lenient.remarks)) == (0, 1)
    assert (len(strict.wrong), len(strict.remarks)) == (1, 0)
    assert "; the smallest detectable drop is " in strict.wrong[0]
    worse = make_cell(SCORES - 0.10)
    assert hold_up(worse, base, Policy(), comparisons=1).words == ("worse", "same")
    assert hold_up(worse, base, Policy(max_drop=15), comparisons=1).wrong == ()
    unasked = Policy(rules=(Rule(select="ama-ifgsm", gate=False),))
    held = hold_up(worse, base, unasked, comparisons=1)
    assert (held.words, held.wrong, held.remarks) == (("not gated",), (), ())


def test_what_was_measured_otherwise_fails() -> None:
    """Other data under the same name is not comparable; a cell or a model that the baseline lacks is not in it."""
    base = [make_cell()]
    (wrong,) = hold_up(make_cell(dataset_sha256="3" * 64), base, Policy(), comparisons=1).wrong
    assert wrong.startswith("not comparable: net mini ama-ifgsm linf 2/255 query: data digest ")
    for other in (make_cell(attack="noise"), make_cell(model="other")):
        held = hold_up(other, base, Policy(), comparisons=1)
        assert (held.words, held.wrong, held.remarks) == (("not in it",), (), (f"not in the baseline: {other.label}",))


def test_comparisons_are_counted_over_tests() -> None:
    """One a mark, one a test for its clean score; a targeted cell has no clean score to lose."""
    tests = [["untargeted", "untargeted"], ["untargeted"], ["targeted"]]
    assert comparisons_of(tests, Policy()) == (2 + 1) + (1 + 1) + 1
    assert comparisons_of(tests, Policy(metrics=("mAP_attacked", "rank1_attacked"))) == 4 + 2
    assert comparisons_of([], Policy()) == 0


def test_cells_are_kept_once(tmp_path: Path) -> None:
    """The same cell twice is one, one model under two names is two that read back, and namesakes are refused."""
    cells = merge(merge((), make_cell()), make_cell())
    assert len(cells) == 1
    twin = replace(make_cell(model="twin"), cell_id="net-ama-ifgsm")
    file = tmp_path / "base.parquet"
    assert write_baseline(file, [*cells, make_cell(), twin]).startswith("was written: 2 cells.")
    assert [cell.model for cell in read_baseline(file)] == ["net", "twin"]
    namesake = replace(make_cell(SCORES - 0.1), cell_id="another")
    with pytest.raises(UserError, match=r"Two models are called 'net' .*name='\.\.\.'"):
        merge(cells, namesake)
    assert write_baseline(file, [namesake, make_cell(attack="noise")]).startswith(
        "was updated: 1 of its cells are others now, 1 are new, 1 stand as they were."
    )
