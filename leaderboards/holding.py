"""What a test measured, held against a baseline: the gate's verdicts, one test after the other. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .gate.baseline import save_baseline, update_baseline
from .gate.comparing import compare
from .gate.joining import join
from .gate.policy import ALPHA, Policy
from .gate.scores import SCORES
from .gate.verdicts import Verdict
from .measurements import Measurement
from .measuring import merge

#: How often a true drop of the smallest detectable size is found, and the normal quantile of that.
_POWER, _POWER_QUANTILE = 0.8, 0.8416212335729143


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a baseline says of one cell."""

    #: Words of the gate, each once; `not in it` where the baseline does not have the cell, `not gated` where the policy
    #: does not ask about it.
    words: tuple[str, ...]
    #: Sentences that fail the test.
    wrong: tuple[str, ...]
    #: Sentences that do not.
    remarks: tuple[str, ...]


def hold_up(cell: Measurement, baseline: Sequence[Measurement], policy: Policy, *, comparisons: int) -> Held:
    """What a baseline says of a cell, in words; arguments and errors as of `hold`."""
    failing = {"worse", "not comparable"} | ({"cannot tell"} if policy.strict else set())
    found = hold(cell, baseline, policy, comparisons=comparisons)
    if found is None:
        return Held(words=("not in it",), wrong=(), remarks=(f"not in the baseline: {cell.label}",))
    words = tuple(dict.fromkeys(verdict.word for verdict in found))
    return Held(
        words=words or ("not gated",),
        wrong=tuple(_sentence(verdict) for verdict in found if verdict.word in failing),
        remarks=tuple(_sentence(verdict) for verdict in found if verdict.word == "cannot tell" and not policy.strict),
    )


def _sentence(verdict: Verdict) -> str:
    text = str(verdict)
    if verdict.low is not None and verdict.high is not None:
        text += f", 95% interval {100 * verdict.low:+.2f} to {100 * verdict.high:+.2f}"
    return f"{text}; {verdict.reason}" if verdict.reason and verdict.difference is not None else text


def hold(
    cell: Measurement, baseline: Sequence[Measurement], policy: Policy, *, comparisons: int
) -> tuple[Verdict, ...] | None:
    """Verdicts on one cell, none where the policy does not ask about it; None where the baseline does not have it.

    A session measures one test after the other, so Holm's procedure cannot wait for all p-values: each is multiplied by
    the number of comparisons of the whole session (Bonferroni), which keeps the same promise and is a little coarser.

    Args:
        cell: what was measured.
        baseline: what it is held against; models are told apart by label.
        policy: what is asked.
        comparisons: how many the session makes in all.

    Raises:
        InvalidFileError: a file behind a cell says what cannot be.
    """
    partners = (pair.base for pair in join(baseline, [cell], by_label=True) if pair.new is cell)
    base = next(partners, None)
    if base is None:
        return None
    found: list[Verdict] = []
    for metric in policy.metrics:
        verdicts = compare([base], [cell], replace(policy, metrics=(metric,))).verdicts
        found += (verdict for verdict in verdicts if verdict not in found)
    return tuple(_adjusted(verdict, max(comparisons, 1)) for verdict in found)


def _adjusted(verdict: Verdict, comparisons: int) -> Verdict:
    if verdict.p_value is None:
        return verdict
    p_value = min(1.0, verdict.p_value * comparisons)
    word = verdict.word
    if word in {"worse", "better"} and p_value >= ALPHA:
        word = "cannot tell"
    detectable = _smallest(verdict, comparisons)
    reason = verdict.reason
    if word == "cannot tell":
        reason = (
            f"no drop could be detected with {verdict.n_identities} identities in {comparisons} comparisons"
            if detectable is None
            else f"the smallest detectable drop is {100 * detectable:.2f} points"
        )
    return replace(verdict, p_value=p_value, word=word, smallest_detectable=detectable, reason=reason)


def _smallest(verdict: Verdict, comparisons: int) -> float | None:
    """The smallest true drop that is found in four of five such sessions, a fraction; None where none is."""
    from .statistics.paired import paired_test, smallest_detectable

    evidence, alpha = verdict.evidence, ALPHA / comparisons
    if evidence is None or 2.0 ** (1 - verdict.n_identities) >= alpha:
        return None
    error = paired_test(evidence.base, evidence.new, evidence.identities).standard_error
    allowed = (verdict.max_drop or 0) / 100 + _POWER_QUANTILE * error
    found = max(smallest_detectable(error, alpha=alpha, power=_POWER), allowed)
    return found if found <= 1 else None


def comparisons_of(goals: Iterable[Sequence[str]], policy: Policy) -> int:
    """How many comparisons a session makes whose tests measure cells of these goals, a sequence a test."""
    asked = [SCORES[name] for name in policy.metrics]
    n_clean = sum(score.state == "clean" for score in asked)
    total = 0
    for test in goals:
        attacked = sum(score.state == "attacked" and score.goal == goal for goal in test for score in asked)
        total += attacked + (n_clean if "untargeted" in test else 0)
    return total


def write_baseline(path: Path, cells: Sequence[Measurement]) -> str:
    """Write a baseline that is not there, or put the cells in the place of their equals in one that is.

    Args:
        path: the file.
        cells: all that were measured, some maybe twice.

    Returns:
        What became of it, for the end of a sentence that begins with its name.

    Raises:
        UserError: two models share a label, or the file that stands there is no baseline.
        StorageError: the file system failed.
    """
    known: tuple[Measurement, ...] = ()
    for cell in cells:
        known = merge(known, cell)
    plural = "" if len(known) == 1 else "s"
    if not path.exists():
        save_baseline(path, known)
        return f"was written: {len(known)} cell{plural}. Commit it, and later sessions are held against it."
    change = update_baseline(path, known)
    return (
        f"was updated: {len(change.replaced)} of its cells are others now, {len(change.added)} are new, "
        f"{change.n_kept} stand as they were."
    )
