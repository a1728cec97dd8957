"""One cell on one batch: attacked, made 8 bit, looked at by the model that is scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ...attacks.base import Attempt
from ...attacks.counts import quantise
from ...attacks.draw import Draw
from ...attacks.ensemble import Member, cascade, side_by_side
from ...attacks.loss import FeatureMemo, Loss, Passes
from ...attacks.norms import NORM
from ..evaluation import NonFiniteFeatureError
from ..records import Cell
from .features import to_rows
from .journal import BatchResult
from .judging import Judge

#: What the images of an ensemble's second adversary are called: those that lose the first place.
OF_HIT = "hit"


@dataclass(frozen=True, kw_only=True)
class Walked:
    """A batch that a cell has attacked and not scored yet."""

    attempt: Attempt
    passes: Passes
    seconds: float
    #: Further attacked images (B, 3, H, W) on the 8-bit grid that are looked at, by name.
    also: Mapping[str, Tensor] = field(default_factory=dict)

    def again(self) -> Walked:
        """The same for another cell that asks for it: as many passes by itself, and none spent."""
        passes = Passes(forwards=self.passes.forwards, backwards=self.passes.backwards)
        return replace(self, passes=passes, seconds=0.0)


def walk_alone(cell: Cell, loss: Loss, images: Tensor, draw: Draw) -> Walked:
    """Attack a batch by one attack."""
    started, before = time.perf_counter(), loss.passes
    (attempt,) = cell.attack.build()(loss, images, [cell.threat], draw)
    return Walked(attempt=attempt, passes=loss.passes - before, seconds=time.perf_counter() - started)


def walk_ensemble(
    cell: Cell, loss_of: Callable[[Member], Loss], memos: set[FeatureMemo], judge: Judge, images: Tensor, draw: Draw
) -> Walked:
    """Attack a batch by the standard ensemble.

    On the query side the worst image of each query for its average precision, and besides (`OF_HIT`) the worst for
    the first place; on the gallery side the first member's, and besides every other member's under its name. `memos`
    are those of the model that is followed and of the one that is scored, which may be one.
    """
    started, before = time.perf_counter(), sum((memo.passes for memo in memos), Passes())
    if cell.side == "query":
        worst = cascade(loss_of, judge, images, cell.threat, draw)
        main, also, flags = worst.of_ap, {OF_HIT: worst.of_hit}, worst.flags
    else:
        found, flags = side_by_side(loss_of, images, cell.threat, draw)
        (_, main), *rest = found.items()
        also = dict(rest)
    norm = NORM[cell.threat.norm].measure(main.double() - images.double())
    passes = sum((memo.passes for memo in memos), Passes()) - before
    attempt = Attempt(images=main, norm=norm, passes=passes, flags=flags)
    return Walked(attempt=attempt, passes=passes, seconds=time.perf_counter() - started, also=also)


def score_walk(cell: Cell, walked: Walked, memo: FeatureMemo, images: Tensor) -> tuple[BatchResult, Tensor]:
    """What a cell comes to on a batch, and the 8-bit images that were scored."""
    started, before, n_real = time.perf_counter(), memo.passes, memo.n_real
    attacked = walked.attempt.images
    scored = quantise(attacked, images)
    is_whole = cell.attack.optimiser.is_whole(cell.threat) and torch.equal(scored[:n_real], attacked[:n_real])
    features = to_rows(memo.features(scored), n_real)
    unrounded = None if is_whole else to_rows(memo.features(attacked), n_real)
    also = {name: to_rows(memo.features(others), n_real) for name, others in walked.also.items()}
    if not all(np.isfinite(rows).all() for rows in (features, unrounded, *also.values()) if rows is not None):
        raise NonFiniteFeatureError("the model gives features that are not finite on attacked images")
    delta = (attacked.double() - images.double())[:n_real]
    linf = walked.attempt.norm[:n_real] if cell.threat.norm == "linf" else NORM["linf"].measure(delta)
    result = BatchResult(
        features=features,
        unrounded=unrounded,
        also=also,
        linf=linf.cpu().numpy(),
        l2=NORM["l2"].measure(delta).cpu().numpy(),
        passes=walked.passes + (memo.passes - before),
        seconds=walked.seconds + time.perf_counter() - started,
        flags=walked.attempt.flags,
    )
    return result, scored
