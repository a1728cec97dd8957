"""BASE beside NEW, query by query: which scores fell by more than chance and more than is allowed. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from ..measurements import Measurement
from .evidence import evidence_of
from .joining import Pair, join, tail
from .judging import Question, judge
from .policy import Policy
from .scores import SCORES, Score
from .verdicts import Comparison, Verdict, Word

#: Sentences about cells that decide nothing, with their number in front.
_UNGATED = "not gated: a rule of the policy says so"
_SKIPPED = "skipped in NEW and without a score in BASE"
_UNASKED = "about a goal that no metric asks for"
_NOTHING = "Nothing was compared: there is no score that BASE, NEW and the metrics share."


def compare(base: Sequence[Measurement], new: Sequence[Measurement], policy: Policy | None = None) -> Comparison:
    """A verdict on every score that both sides have, and on every cell that one of them lacks.

    A score is worse where the paired sign-flip test over identities, adjusted by Holm over all comparisons that are
    made, says p < 0.05 and the estimated drop is larger than `max_drop`; better, likewise in the other direction. It
    is the same where every query scores as before, or the 95% interval of the change lies above -`max_drop`;
    otherwise nobody can tell. The clean score of a model on a data set is one comparison, however many cells share it.

    Args:
        base: what was measured before, such as a stored baseline.
        new: what is measured now.
        policy: which scores, how large a drop, and where something else holds; the default one where None.

    Raises:
        UserError: one side holds two results for one cell.
        InvalidFileError: a file behind one side does not read back, or says what cannot be.
    """
    found = _Gathered(policy=policy or Policy())
    for pair in join(base, new):
        found.take(pair)
    verdicts = (*found.settled, *judge([*found.clean, *found.attacked]))
    notes = [f"{n} cell{'s' * (n != 1)} {text}." for text, n in found.passed_over.items()]
    return Comparison(
        verdicts=verdicts,
        policy=found.policy,
        added=tuple(found.added),
        notes=tuple(notes if verdicts else [*notes, _NOTHING]),
    )


@dataclass
class _Gathered:
    """What is found on the way through the cells."""

    policy: Policy
    settled: list[Verdict] = field(default_factory=list)
    clean: list[Question] = field(default_factory=list)
    attacked: list[Question] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    clean_seen: set[Hashable] = field(default_factory=set)

    def take(self, pair: Pair) -> None:
        """A pair's verdict, or its comparisons."""
        label = f"{pair.known.model} {tail(pair.known)}"
        has_base = pair.base is not None and pair.base.status == "done"
        new = pair.new
        if not self.policy.gates(label):
            self.passed_over[_UNGATED] += 1
        elif new is None:
            if has_base:
                self._settle("missing", pair, "NEW does not have this cell")
        elif new.status == "missing":
            self._settle("missing", pair, "NEW plans this cell and has no row for it")
        elif new.status == "failed" or (new.status == "skipped" and has_base):
            self._settle("failed", pair, f"{new.status} in NEW: {new.reason}")
        elif new.status == "skipped":
            self.passed_over[_SKIPPED] += 1
        elif pair.base is None or not has_base:
            self.added.append(label)
        elif pair.differences:
            self._settle("not comparable", pair, "; ".join(pair.differences))
        else:
            self._compare(pair.base, new, pair)

    def _settle(self, word: Word, pair: Pair, reason: str, *, cell: str = "", metric: str = "") -> None:
        self.settled.append(
            Verdict(
                word=word,
                base_model=pair.base.model if pair.base else "",
                new_model=pair.new.model if pair.new else "",
                cell=cell or tail(pair.known),
                metric=metric,
                reason=reason,
            )
        )

    def _compare(self, base: Measurement, new: Measurement, pair: Pair) -> None:
        goal = base.row.get("goal")
        scores = [SCORES[name] for name in self.policy.metrics if SCORES[name].goal == goal]
        if not scores:
            self.passed_over[_UNASKED] += 1
        for score in scores:
            cell = f"{base.dataset} clean" if score.state == "clean" else tail(base)
            if score.state == "clean" and not self._is_first_clean(base, cell, score):
                continue
            evidence = evidence_of(base, new, score)
            if isinstance(evidence, str):
                self._settle("not comparable", pair, evidence, cell=cell, metric=score.name)
                continue
            question = Question(
                base_model=base.model,
                new_model=new.model,
                cell=cell,
                score=score,
                evidence=evidence,
                max_drop=self.policy.max_drop_of(f"{base.model} {cell}"),
                reason="" if score.state == "clean" else _new_flags(base, new),
            )
            (self.clean if score.state == "clean" else self.attacked).append(question)

    def _is_first_clean(self, base: Measurement, cell: str, score: Score) -> bool:
        """Whether no cell before told this clean score, and it gates."""
        place = tuple(base.row.get(column) for column in ("dataset_sha256", "protocol", "perturb_at"))
        key = (base.model, place, score.name)
        is_first = key not in self.clean_seen
        self.clean_seen.add(key)
        return is_first and self.policy.gates(f"{base.model} {cell}")


def _new_flags(base: Measurement, new: Measurement) -> str:
    """Reasons to doubt NEW's number that BASE did not give."""
    before, after = (set(map(str, cell.row.get("flags") or ())) for cell in (base, new))
    return f"NEW raises the flag {', '.join(sorted(after - before))}" if after - before else ""
