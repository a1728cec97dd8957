"""What stands behind a drop: which identities, cameras and attacks lost most. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .verdicts import Comparison, Verdict

#: How many identities are named.
MOST_IDENTITIES = 5


@dataclass(frozen=True, kw_only=True)
class Share:
    """One identity, camera or attack."""

    label: str
    #: Its mean change, a fraction; negative where the score fell.
    change: float
    #: Which part of the whole change it makes up; they add up to 1, and the other way counts below 0. None for attacks.
    part: float | None = None
    n_queries: int | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Who is behind the change of one score, those who lost most first."""

    verdict: Verdict
    #: At most `MOST_IDENTITIES`, and none that lost nothing.
    identities: tuple[Share, ...]
    cameras: tuple[Share, ...]
    #: One for a single cell, none for a clean score.
    attacks: tuple[Share, ...]


def explain(comparison: Comparison) -> tuple[Explanation, ...]:
    """One for every comparison whose score fell by more than is allowed, whether by chance or not."""
    fallen = [
        verdict
        for verdict in comparison.verdicts
        if verdict.word in {"worse", "cannot tell"} and (verdict.drop or 0) > (verdict.max_drop or 0) / 100
    ]
    return tuple(made for verdict in fallen if (made := explain_verdict(verdict)) is not None)


def explain_verdict(verdict: Verdict) -> Explanation | None:
    """Who is behind it; None where no queries were compared."""
    evidence = verdict.evidence
    if evidence is None:
        return None
    change = evidence.new - evidence.base
    sign = 1 if verdict.higher_is_better else -1
    identities = [share for share in _shares(change, evidence.identities, sign) if sign * share.change < 0]
    attacks = [Share(label=label, change=lost) for label, lost in evidence.attacks.items()]
    return Explanation(
        verdict=verdict,
        identities=tuple(identities[:MOST_IDENTITIES]),
        cameras=_shares(change, evidence.cameras, sign),
        attacks=tuple(sorted(attacks, key=lambda share: (sign * share.change, share.label))),
    )


def _shares(change: NDArray[np.float64], labels: NDArray[np.int64], sign: int) -> tuple[Share, ...]:
    """One a label, by how much it took from the whole; (Q,) both."""
    names, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.bincount(inverse, weights=change, minlength=len(names))
    whole = float(change.sum())
    order = np.lexsort((names, sign * sums))
    return tuple(
        Share(
            label=str(names[place]),
            change=float(sums[place] / counts[place]),
            part=float(sums[place] / whole) if whole else None,
            n_queries=int(counts[place]),
        )
        for place in order
    )
