"""What a change of a score means: a paired test for each comparison, adjusted over all of them. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..statistics.multiple import holm
from ..statistics.paired import PairedTest, paired_test, smallest_detectable
from .evidence import Evidence
from .policy import ALPHA
from .scores import Score
from .verdicts import Verdict, Word

#: How often a true drop of the size that is called the smallest detectable one is called worse.
POWER = 0.8
#: The normal quantile of that.
_POWER_QUANTILE = 0.8416212335729143


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A comparison that can be made."""

    base_model: str
    new_model: str
    #: As in `Verdict`.
    cell: str
    score: Score
    evidence: Evidence
    #: Points.
    max_drop: float
    reason: str = ""


def judge(questions: Sequence[Question]) -> list[Verdict]:
    """A verdict on each, all of them adjusted together."""
    results = [_test(question.evidence) for question in questions]
    adjusted = holm([result.p_value for result in results])
    return [
        _verdict(question, result, float(p_value), len(questions))
        for question, result, p_value in zip(questions, results, adjusted, strict=True)
    ]


def _test(evidence: Evidence) -> PairedTest:
    return paired_test(evidence.base, evidence.new, evidence.identities)


def _verdict(question: Question, result: PairedTest, p_value: float, family: int) -> Verdict:
    evidence, limit = question.evidence, question.max_drop / 100
    sign = 1 if question.score.higher_is_better else -1
    gain = sign * result.difference
    lowest = result.low if sign > 0 else -result.high
    is_identical = np.array_equal(evidence.base, evidence.new)
    is_significant = p_value < ALPHA
    word: Word
    if is_significant and gain < -limit:
        word = "worse"
    elif is_significant and gain > limit:
        word = "better"
    elif is_identical or lowest > -limit:
        word = "same"
    else:
        word = "cannot tell"
    detectable = _smallest(result, limit, family)
    said = "every query scores as before" if is_identical else ""
    if word == "cannot tell":
        said = _coarse(detectable, result.n_identities)
    return Verdict(
        word=word,
        base_model=question.base_model,
        new_model=question.new_model,
        cell=question.cell,
        metric=question.score.name,
        higher_is_better=question.score.higher_is_better,
        base=float(evidence.base.mean()),
        new=float(evidence.new.mean()),
        difference=result.difference,
        low=None if is_identical else result.low,
        high=None if is_identical else result.high,
        p_value=p_value,
        smallest_detectable=detectable,
        max_drop=question.max_drop,
        n_queries=len(evidence.base),
        n_identities=result.n_identities,
        reason="; ".join(filter(None, (said, question.reason))),
        evidence=evidence,
    )


def _smallest(result: PairedTest, limit: float, family: int) -> float | None:
    """The smallest true drop that is called worse in `POWER` of such comparisons, a fraction; None where none is.

    The estimate has to pass two marks: that of the first step of Holm's procedure, and the allowed drop.
    """
    if 2.0 ** (1 - result.n_identities) * family >= ALPHA or not math.isfinite(result.standard_error):
        return None  # not even a change of one sign in all identities would be significant
    found = smallest_detectable(result.standard_error, alpha=ALPHA / family, power=POWER)
    found = max(found, limit + _POWER_QUANTILE * result.standard_error)
    return found if found <= 1 else None


def _coarse(detectable: float | None, n_identities: int) -> str:
    if detectable is None:
        return f"no drop could be detected with {n_identities} {'identity' if n_identities == 1 else 'identities'}"
    return f"the smallest detectable drop is {100 * detectable:.2f} points"
