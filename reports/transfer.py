"""Transfer matrices: what each model keeps under images that were made against another, one's own on the diagonal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .boards import Score, combine
from .results import Result


@dataclass(frozen=True, kw_only=True)
class TransferRow:
    """One surrogate."""

    #: Whose gradients were followed; empty for "each its own".
    surrogate: str
    #: A score a model, in the order of the matrix.
    scores: tuple[Score, ...]
    #: By model: whether its score is of its own gradients.
    is_own: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """One attack at one radius."""

    #: As a grid calls it, and whether another of that name stands beside it with other parameters.
    attack: str
    parameters: str
    epsilon: float
    epsilon_label: str
    models: tuple[str, ...]
    rows: tuple[TransferRow, ...]

    @property
    def n_missing(self) -> int:
        """How many of its cells have no score."""
        return sum(score.status != "done" for row in self.rows for score in row.scores)


@dataclass(frozen=True, kw_only=True)
class Transfers:
    """All matrices of one data set and side, within one norm."""

    dataset: str
    side: str
    norm: str
    #: By radius, ascending, then in the order of the results.
    matrices: tuple[Matrix, ...]

    @property
    def epsilons(self) -> tuple[str, ...]:
        """The labels of its radii."""
        return tuple(dict.fromkeys(matrix.epsilon_label for matrix in self.matrices))

    @property
    def surrogates(self) -> tuple[str, ...]:
        """Whose gradients were followed."""
        return tuple(dict.fromkeys(row.surrogate for m in self.matrices for row in m.rows if row.surrogate))


def make_transfers(results: Sequence[Result]) -> tuple[Transfers, ...]:
    """Where a model was attacked through another, the matrices of that data set, side and norm."""
    groups: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for result in results:
        if result.goal == "untargeted":
            groups[result.dataset, result.side, result.norm].append(result)
    found = []
    for (dataset, side, norm), members in groups.items():
        matrices = _matrices(members)
        if matrices:
            found.append(Transfers(dataset=dataset, side=side, norm=norm, matrices=matrices))
    return tuple(found)


def _matrices(results: Sequence[Result]) -> tuple[Matrix, ...]:
    labels = {result.model: str(result.row["model"]) for result in results if result.row}
    by_key: dict[tuple[float, str, str], list[Result]] = defaultdict(list)
    known: dict[str, str] = {}
    for result in results:
        if result.row:
            known.setdefault(result.preset, _parameters(result))
    for result in results:
        parameters = _parameters(result) if result.row else known.get(result.preset, "")
        by_key[result.epsilon, result.preset, parameters].append(result)
    found = [
        _matrix(key, members, labels) for key, members in by_key.items() if any(result.surrogate for result in members)
    ]
    return tuple(sorted(found, key=lambda matrix: matrix.epsilon))


def _parameters(result: Result) -> str:
    """What an attack is beside its name, whoever's gradients it follows."""
    row = result.row
    return " ".join(str(row.get(name) or "") for name in ("attack_params", "attack_version", "references"))


def _matrix(key: tuple[float, str, str], results: Sequence[Result], labels: Mapping[str, str]) -> Matrix:
    models = tuple(dict.fromkeys(result.model for result in results))
    surrogates = tuple(dict.fromkeys(result.surrogate for result in results if result.surrogate))
    through: dict[tuple[str, str], list[Result]] = defaultdict(list)
    own: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        if result.surrogate:
            through[result.surrogate, result.model].append(result)
        elif not result.row or result.row.get("knowledge") == "white-box":
            own[result.model].append(result)
    is_self = {(name, model): labels.get(model, model) == name for name in surrogates for model in models}
    rows = [
        TransferRow(
            surrogate=name,
            scores=tuple(combine(own[m] if is_self[name, m] else through[name, m]) for m in models),
            is_own=tuple(is_self[name, m] for m in models),
        )
        for name in surrogates
    ]
    shown = {model for name in surrogates for model in models if is_self[name, model]}
    if set(models) - shown:
        # Beside a matrix that is not square, what each model keeps under its own gradients.
        scores = tuple(combine(own[model]) for model in models)
        rows.append(TransferRow(surrogate="", scores=scores, is_own=(True,) * len(models)))
    epsilon, attack, parameters = key
    return Matrix(
        attack=attack,
        parameters=parameters,
        epsilon=epsilon,
        epsilon_label=results[0].epsilon_label,
        models=models,
        rows=tuple(rows),
    )
