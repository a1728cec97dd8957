"""What stands behind drops: which identities, cameras and attacks lost most. No torch."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .evidence import Evidence
from .verdicts import Comparison, Verdict

#: How many identities, cameras and attacks are named, each.
MOST = 5


@dataclass(frozen=True, kw_only=True)
class Share:
    """One identity, camera or attack."""

    label: str
    #: Its mean change, a fraction.
    change: float
    #: Which part of the whole change it makes up; with those that changed the other way, all add up to 1.
    part: float


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Who is behind the drops of one score of one model on one data set; those who lost most come first."""

    model: str
    dataset: str
    metric: str
    #: In how many comparisons it fell by more than is allowed; all that follows is over these.
    n_comparisons: int
    #: The mean change over their queries, a fraction.
    change: float
    #: At most `MOST` of each, and none that lost nothing. No attacks for clean scores.
    identities: tuple[Share, ...]
    cameras: tuple[Share, ...]
    attacks: tuple[Share, ...]


def explain(comparison: Comparison) -> tuple[Explanation, ...]:
    """One for every score of a model that fell by more than is allowed, where it is worse or nobody can tell."""
    groups: dict[tuple[str, str, str], list[tuple[Verdict, Evidence]]] = defaultdict(list)
    for verdict in comparison.verdicts:
        has_fallen = verdict.word in {"worse", "cannot tell"} and (verdict.drop or 0) > (verdict.max_drop or 0) / 100
        if has_fallen and verdict.evidence is not None:
            evidence = verdict.evidence
            groups[verdict.model, evidence.dataset, verdict.metric].append((verdict, evidence))
    return tuple(_explanation(found) for found in groups.values())


def _explanation(found: list[tuple[Verdict, Evidence]]) -> Explanation:
    first, parts = found[0][0], [evidence for _, evidence in found]
    change = np.concatenate([part.new - part.base for part in parts])
    sign = 1 if first.higher_is_better else -1
    attacks = np.repeat([part.attack for part in parts], [len(part.base) for part in parts])
    return Explanation(
        model=first.model,
        dataset=parts[0].dataset,
        metric=first.metric,
        n_comparisons=len(parts),
        change=float(change.mean()),
        identities=_shares(change, np.concatenate([part.identities for part in parts]), sign),
        cameras=_shares(change, np.concatenate([part.cameras for part in parts]), sign),
        attacks=_shares(change, attacks, sign) if parts[0].attack else (),
    )


def _shares(change: NDArray[np.float64], labels: NDArray[np.int64] | NDArray[np.str_], sign: int) -> tuple[Share, ...]:
    """One a label, by how much it took from the whole; (Q,) both."""
    names, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.bincount(place, weights=change, minlength=len(names))
    order = [index for index in np.lexsort((names, sign * sums)) if sign * sums[index] < 0]
    whole = float(change.sum())
    return tuple(
        Share(label=str(names[index]), change=float(sums[index] / counts[index]), part=float(sums[index] / whole))
        for index in order[:MOST]
    )
