"""The adversary that a recipe asks for, and making it once the training images are open."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from ....models.base import ModelSpec
from ....models.load import build
from ....models.stages import AUTO, followed
from ....models.training.plan import Perturb, Plan
from ...progress import Reporter
from ..data import FolderTrainingSet
from .ball import Ball
from .collapse import CollapsePerturb
from .guided import INNER_OBJECTIVES, GoatPerturb, PgdPerturb, TrainReferences
from .offline import OfflinePerturb, make_offline

#: What a recipe's `objective` may be: those of `attacks` that can be climbed in training, and two of defences' own.
TRAINING_OBJECTIVES = (*INNER_OBJECTIVES, "goat", "collapse")
#: Those that can be climbed against a fixed model: what looks at references and the image alone.
OFFLINE_OBJECTIVES = ("push", "self", "opposite")


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """What a recipe's `perturb` means."""

    ball: Ball
    #: One of `TRAINING_OBJECTIVES`.
    objective: str
    references: TrainReferences = "train"
    #: Guides of `goat`.
    push: int = 4
    pull: int = 1
    #: Epochs over which the ball grows to its size.
    warmup_epochs: float = 0.0
    #: The model that images are changed against once, before the training; None is the network in training itself.
    against: ModelSpec | None = field(default=None)

    def make(
        self,
        data: FolderTrainingSet,
        plan: Plan,
        *,
        steps_per_epoch: int,
        folder: Path,
        device: torch.device,
        trust_code: bool = False,
        reporter: Reporter,
    ) -> Perturb:
        """The `Perturb` of a training.

        Args:
            data: the training images.
            plan: of the training.
            steps_per_epoch: of the training.
            folder: where images that are made beforehand are kept.
            device: where to compute.
            trust_code: run a plugin that is no installed entry point.
            reporter: told while they are made.
        """
        if self.against is not None:
            path = folder / f"adversarial-{self._sha256(data)[:16]}.npy"
            model = followed(build(self.against, device=str(device), trust_code=trust_code), AUTO)
            stored = make_offline(model, data, self.ball, self.objective, path, device=device, reporter=reporter)
            return OfflinePerturb(stored=stored, augment=plan.augment, seed=plan.seed)
        ball = replace(self.ball, warmup=self.warmup_epochs * steps_per_epoch)
        if self.objective == "goat":
            return GoatPerturb(ball=ball, data=data, push=self.push, pull=self.pull)
        if self.objective == "collapse":
            return CollapsePerturb(ball=ball)
        return PgdPerturb(ball=ball, objective=self.objective, references=self.references)

    def _sha256(self, data: FolderTrainingSet) -> str:
        """Digest of what decides images that are made beforehand."""
        assert self.against is not None  # noqa: S101 (the caller asked)
        decides = [self.against.identity(), str(self.ball), self.objective, data.sha256, data.identities.tolist()]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()
