"""What a gate says: a verdict on every comparison, and the exit code that follows from all of them. No torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .evidence import Evidence
from .policy import Policy

Word = Literal["failed", "missing", "not comparable", "worse", "cannot tell", "better", "same"]

#: Every word there is, the worst news first.
WORDS: tuple[Word, ...] = ("failed", "missing", "not comparable", "worse", "cannot tell", "better", "same")
#: Where one of these stands, two sides were not compared in full.
UNABLE: frozenset[Word] = frozenset({"failed", "missing", "not comparable"})

#: Exit codes (docs/exit-codes.md).
PASSED, REGRESSION, NOT_COMPARABLE = 0, 1, 6


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One comparison and what came of it; scores are fractions in [0, 1], `max_drop` is in points."""

    word: Word
    #: Labels; empty on the side that lacks the cell.
    base_model: str
    new_model: str
    #: The cell without its model: `mini ama-ifgsm linf 4/255 gallery`, `mini clean`.
    cell: str
    #: The column that is compared; empty where a whole cell is missing, failed or not comparable.
    metric: str = ""
    higher_is_better: bool = True
    base: float | None = None
    new: float | None = None
    #: new - base, and its 95% interval; without one where every query scores as before.
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    #: Adjusted by Holm over all comparisons that were made.
    p_value: float | None = None
    #: The smallest true drop that would be called worse in four of five such comparisons, a fraction.
    smallest_detectable: float | None = None
    max_drop: float | None = None
    n_queries: int = 0
    n_identities: int = 0
    #: Why there is no score or no answer, or what to know of one; may be empty.
    reason: str = ""
    evidence: Evidence | None = field(default=None, repr=False, compare=False)

    @property
    def model(self) -> str:
        """Both labels where they differ."""
        names = dict.fromkeys(name for name in (self.base_model, self.new_model) if name)
        return " -> ".join(names)

    @property
    def drop(self) -> float | None:
        """How much was lost, a fraction, larger being worse for the model whatever the direction of the score."""
        if self.difference is None:
            return None
        return -self.difference if self.higher_is_better else self.difference

    def __str__(self) -> str:
        """One sentence: `worse: osnet mini clean, mAP_clean 61.20 -> 57.90 (-3.30 points, p 0.0021)`."""
        head = f"{self.word}: {self.model} {self.cell}"
        if self.base is None or self.new is None or self.difference is None:
            return f"{head}: {self.reason}" if self.reason else head
        scores = f"{self.metric} {100 * self.base:.2f} -> {100 * self.new:.2f}"
        p_value = "" if self.p_value is None else f", p {self.p_value:.2g}"
        return f"{head}, {scores} ({100 * self.difference:+.2f} points{p_value})"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All verdicts on two sides."""

    verdicts: tuple[Verdict, ...]
    policy: Policy
    #: Labels of cells that NEW has and BASE has no score for: they decide nothing.
    added: tuple[str, ...] = ()
    #: What else to know, a sentence each.
    notes: tuple[str, ...] = ()
    #: The baseline that was written because there was none.
    wrote: Path | None = None

    @property
    def counts(self) -> dict[Word, int]:
        """How many verdicts there are of each word, the worst news first."""
        found = Counter(verdict.word for verdict in self.verdicts)
        return {word: found[word] for word in WORDS if found[word]}

    @property
    def family(self) -> int:
        """How many comparisons share the error probability of `policy.ALPHA`."""
        return sum(verdict.p_value is not None for verdict in self.verdicts)

    def exit_code(self, strict: bool | None = None) -> int:
        """0 passed, 1 a regression was found, 6 not comparable.

        A cell that is missing, failed or not comparable comes first, since nobody knows what hides behind it; then
        what is worse; then, for a strict gate alone, what is too coarse to tell. That is 6 as well: 1 says that a
        regression was found, and nothing else.

        Args:
            strict: whether "cannot tell" fails the gate; as the policy says by default.
        """
        if self.wrote is not None:
            return PASSED
        words = {verdict.word for verdict in self.verdicts}
        if words & UNABLE or not words:
            return NOT_COMPARABLE
        if "worse" in words:
            return REGRESSION
        is_strict = self.policy.strict if strict is None else strict
        return NOT_COMPARABLE if is_strict and "cannot tell" in words else PASSED
