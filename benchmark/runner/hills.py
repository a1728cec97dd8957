"""What the cells of one batch climb: a loss for each objective and lens, made once, and first looked at with doubt."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

from torch import Tensor

from ...attacks.draw import Draw
from ...attacks.loss import FeatureMemo, Loss
from ...attacks.objectives import Objective, Push
from ...attacks.references import References
from ...attacks.reliability.gradients import gradient_findings
from ...attacks.transforms import Lens
from .batches import Batch
from .surroundings import Surroundings


@dataclass(frozen=True, kw_only=True)
class Hill:
    """A loss, and the flags of its gradient."""

    loss: Loss
    flags: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Hills:
    """The losses of one batch."""

    #: Features of the model whose gradients are followed.
    memo: FeatureMemo
    references: References
    surroundings: Surroundings
    batch: Batch
    #: (B, 3, H, W) in [0, 1], clean.
    images: Tensor
    #: Whether gradients are looked at: on the first batch.
    is_first: bool
    _known: dict[Hashable, Hill] = field(default_factory=dict)

    def of(self, objective: Objective, lens: Lens, draw: Draw) -> Hill:
        """The loss of an objective seen through a lens; one for all seeds where nothing is drawn."""
        key = (objective, lens, draw if objective.is_random or lens.is_random else None)
        if key not in self._known:
            seen = self.references
            if objective.needs_neighbours:
                seen = replace(seen, neighbours=self.surroundings.of_batch(self.batch, seen, draw))

            def loss(memo: FeatureMemo) -> Loss:
                return Loss(memo, objective, seen, clean=self.images, lens=lens, draw=draw)

            flags: frozenset[str] = frozenset()
            # The model's own checks look at `push`. The passes of this look are nobody's.
            if self.is_first and not isinstance(objective, Push):
                apart = loss(FeatureMemo(self.memo.embedder, self.memo.n_real))
                flags = gradient_findings(apart, self.images, self.memo.n_real, draw, vanishes=objective.vanishes)
            self._known[key] = Hill(loss=loss(self.memo), flags=flags)
        return self._known[key]
