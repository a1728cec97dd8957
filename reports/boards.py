"""Boards: what each model keeps under the worst of its attacks, at one epsilon that they share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from .results import METRICS, Result, points, worst

#: Boards are about this L-inf radius, or the nearest that all share, in [0, 1] pixel units; L2 boards about the middle
#: one of theirs.
TARGET_EPSILON = 4 / 255

#: What boards sort by.
SORTED_BY = "mAP"


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one model has under one attack at one epsilon, over seeds."""

    #: `absent`: nobody planned it.
    status: Literal["done", "failed", "skipped", "missing", "absent"]
    #: One a seed.
    results: tuple[Result, ...]

    def mean(self, column: str) -> float | None:
        """The mean over seeds of a stored column; None where it is not done or the column is null."""
        found = [result.score(column) for result in self.results] if self.status == "done" else []
        values = [value for value in found if value is not None]
        return fmean(values) if values and len(values) == len(found) else None

    @property
    def n_seeds(self) -> int:
        """How many seeds the mean is over."""
        return len(self.results)

    @property
    def n_trials(self) -> int:
        """How many trials each of its results is the mean over, the most that one says."""
        return max((result.trials for result in self.results), default=1)

    @property
    def spread(self) -> str:
        """What the number is the mean of, and how far trials lie apart; empty for one seed and one trial."""
        parts = [f"mean of {self.n_seeds} seeds"] if self.n_seeds > 1 else []
        if self.n_trials > 1:
            parts.append(f"mean of {self.n_trials} trials")
        if self.n_seeds == 1 and self.n_trials > 1:
            found = [
                ("mAP", self.results[0].score("mAP_attacked_std")),
                ("Rank-1", self.results[0].score("rank1_attacked_std")),
            ]
            parts += [
                f"standard deviation of {title} over trials {points(value)}"
                for title, value in found
                if value is not None
            ]
        return ", ".join(parts)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why there is no score."""
        return tuple(dict.fromkeys(result.reason for result in self.results if result.reason))

    @property
    def flags(self) -> tuple[str, ...]:
        """Of any seed."""
        return tuple(sorted({flag for result in self.results for flag in result.flags}))


def combine(results: Sequence[Result]) -> Score:
    """The score of one (model, attack, epsilon) from its seeds: done where every seed is."""
    statuses = {result.status for result in results}
    for status in ("failed", "skipped", "missing", "done"):
        if status in statuses:
            return Score(status=status, results=tuple(results))
    return Score(status="absent", results=())


@dataclass(frozen=True, kw_only=True)
class BoardRow:
    """One model."""

    model: str
    #: In the order of the board's attacks.
    scores: tuple[Score, ...]
    #: The worst of the scores that are done; None where none is.
    worst: Score | None
    worst_attack: str
    #: Whether every attack of the board has a score: otherwise the worst is a bound from above.
    is_complete: bool

    @property
    def flags(self) -> tuple[str, ...]:
        """Of any of its scores."""
        return tuple(sorted({flag for score in self.scores for flag in score.flags}))


@dataclass(frozen=True, kw_only=True)
class Board:
    """All results on one data set and side, within one norm."""

    dataset: str
    side: str
    norm: str
    #: What the rows are about; None where nothing untargeted was planned above 0.
    epsilon: float | None
    epsilon_label: str
    #: Whether every model was given every attack at that epsilon.
    is_shared: bool
    attacks: tuple[str, ...]
    #: Best first, incomplete ones last.
    rows: tuple[BoardRow, ...]
    #: Untargeted and targeted results, in the order of the grid.
    results: tuple[Result, ...]
    targeted: tuple[Result, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """Of the rows, in their order."""
        return tuple(row.model for row in self.rows)

    @property
    def title(self) -> str:
        """The data set and the side."""
        return f"{self.dataset}, {self.side} attacked{', L2' if self.norm == 'l2' else ''}"

    @property
    def flags(self) -> tuple[str, ...]:
        """Of any of its results."""
        return tuple(sorted({flag for result in (*self.results, *self.targeted) for flag in result.flags}))

    @property
    def chance(self) -> float | None:
        """MAP of a random order, a fraction."""
        return next((chance for r in self.results if (chance := r.score("chance_mAP")) is not None), None)


def make_boards(results: Sequence[Result]) -> tuple[Board, ...]:
    """A board per (data set, side, norm), in the order in which they come up in the results."""
    groups: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for result in results:
        groups[result.dataset, result.side, result.norm].append(result)
    return tuple(_board(key, found) for key, found in groups.items())


def _board(key: tuple[str, str, str], found: Sequence[Result]) -> Board:
    dataset, side, norm = key
    untargeted = tuple(result for result in found if result.goal == "untargeted")
    models = tuple(dict.fromkeys(result.model for result in untargeted))
    attacks = tuple(dict.fromkeys(result.attack for result in untargeted))
    epsilon, is_shared = _shared_epsilon(untargeted, norm)
    here = defaultdict(list)
    for result in untargeted:
        if result.epsilon == epsilon:
            here[result.model, result.attack].append(result)
    own, brought = _own_transfers(untargeted), _brought(untargeted)
    rows = [
        _board_row(model, attacks, [combine(here[model, attack]) for attack in attacks], own[model] | brought)
        for model in models
    ]
    label = next((result.epsilon_label for result in untargeted if result.epsilon == epsilon), "")
    return Board(
        dataset=dataset,
        side=side,
        norm=norm,
        epsilon=epsilon,
        epsilon_label=label,
        is_shared=is_shared,
        attacks=attacks,
        rows=tuple(sorted(rows, key=_order)) if epsilon is not None else (),
        results=untargeted,
        targeted=tuple(result for result in found if result.goal != "untargeted"),
    )


def _own_transfers(results: Sequence[Result]) -> dict[str, frozenset[str]]:
    """The attacks from each model itself, where it has a white-box score of the same attack.

    A transfer from a model to itself is its white-box attack: no grid has it, and nothing is missing without it.
    """
    labels = {result.model: result.row["model"] for result in results if result.row}
    follows = {r.attack: (r.row["surrogate"], _asked(r)) for r in results if r.row.get("surrogate")}
    met = {(r.model, _asked(r)) for r in results if r.status == "done" and r.row.get("knowledge") == "white-box"}
    found = {
        model: frozenset(a for a, (name, what) in follows.items() if name == label and (model, what) in met)
        for model, label in labels.items()
    }
    return defaultdict(frozenset, found)


def _brought(results: Sequence[Result]) -> frozenset[str]:
    """The attacks that one submission alone brought, its own adaptive one or one that somebody found against it.

    They count for it, and nobody else's score is missing for want of them.
    """
    entries: dict[str, set[str]] = defaultdict(set)
    for result in results:
        entries[result.attack].add(result.entry)
    n_models = len({result.model for result in results})
    return frozenset(
        attack for attack, found in entries.items() if len(found) == 1 and "" not in found and n_models > 1
    )


def _asked(result: Result) -> tuple[object, ...]:
    """What an attack is, whoever's gradients it follows."""
    return tuple(result.row.get(column) for column in ("attack", "attack_params", "attack_version", "references"))


def _board_row(model: str, attacks: Sequence[str], scores: Sequence[Score], excused: frozenset[str]) -> BoardRow:
    column = f"{SORTED_BY}_attacked"
    expected = [a for a, score in zip(attacks, scores, strict=True) if score.status != "absent" or a not in excused]
    done = [(value, index) for index, score in enumerate(scores) if (value := score.mean(column)) is not None]
    lowest = worst(SORTED_BY, [value for value, _ in done]) if done else None
    index = next((index for value, index in done if value == lowest), None)
    return BoardRow(
        model=model,
        scores=tuple(scores),
        worst=None if index is None else scores[index],
        worst_attack="" if index is None else attacks[index],
        is_complete=bool(done) and len(done) == len(expected),
    )


def _order(row: BoardRow) -> tuple[bool, bool, float, str]:
    """Complete ones first, the most robust first among them: a failure never counts as robustness."""
    value = row.worst.mean(f"{SORTED_BY}_attacked") if row.worst else None
    better = -1 if METRICS[SORTED_BY].higher_is_better else 1
    return not row.is_complete, value is None, better * (value or 0.0), row.model


def _shared_epsilon(results: Sequence[Result], norm: str) -> tuple[float | None, bool]:
    """The epsilon that the most pairs of model and attack were given, and of those the nearest to the target.

    What was asked for counts, not what came out: otherwise a model that fails at 4/255 would move the board to where
    it does not. Only an epsilon at which nothing is done yet gives way to one where something is.
    """
    pairs: dict[float, set[tuple[str, str]]] = defaultdict(set)
    begun = set()
    for result in results:
        pairs[result.epsilon].add((result.model, result.attack))
        if result.status != "missing":
            begun.add(result.epsilon)
    above = {epsilon for epsilon in pairs if epsilon > 0} or set(pairs)
    if not above:
        return None, False
    candidates = above & begun or above
    target = TARGET_EPSILON if norm == "linf" else median(sorted(candidates))
    widest = max(len(pairs[epsilon]) for epsilon in candidates)
    shared = [epsilon for epsilon in candidates if len(pairs[epsilon]) == widest]
    everything = {(result.model, result.attack) for result in results}
    return min(shared, key=lambda epsilon: (abs(epsilon - target), epsilon)), widest == len(everything)
