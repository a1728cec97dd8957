"""Losses and miners of pytorch-metric-learning by their names there, beside the batch-hard triplet loss.

Of its many, those that look at a batch's features and labels alone: no weights of their own, nothing drawn at random,
so that a killed training goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ... import UserError

#: Names of `pytorch_metric_learning.losses` and `.miners`.
LOSSES = (
    "AngularLoss",
    "CircleLoss",
    "ContrastiveLoss",
    "FastAPLoss",
    "GeneralizedLiftedStructureLoss",
    "IntraPairVarianceLoss",
    "LiftedStructureLoss",
    "MultiSimilarityLoss",
    "NTXentLoss",
    "NPairsLoss",
    "SignalToNoiseRatioContrastiveLoss",
    "SupConLoss",
    "TripletMarginLoss",
    "TupletMarginLoss",
)
MINERS = (
    "AngularMiner",
    "BatchEasyHardMiner",
    "BatchHardMiner",
    "MultiSimilarityMiner",
    "PairMarginMiner",
    "TripletMarginMiner",
)


@dataclass(frozen=True, kw_only=True)
class MetricLoss:
    """One loss of that library, and what chooses its pairs or triplets."""

    #: One of `LOSSES`.
    name: str
    weight: float = 1.0
    #: Arguments of its constructor.
    parameters: Mapping[str, float | int | bool | str] = field(default_factory=dict)
    #: One of `MINERS`; None is every pair or triplet of the batch.
    miner: str | None = None
    miner_parameters: Mapping[str, float | int | bool | str] = field(default_factory=dict)

    def build(self) -> Callable[[Tensor, Tensor], Tensor]:
        """A function of features (B, D) and classes (B,) to a scalar.

        Raises:
            UserError: the library is not installed, or takes no such arguments.
        """
        try:
            from pytorch_metric_learning import losses, miners
        except ImportError:
            raise UserError(
                f"The loss {self.name} is one of pytorch-metric-learning, which is not installed: "
                f'pip install "robustreid[train]".'
            ) from None
        loss: Any = _made(losses, self.name, self.parameters)
        miner: Any = _made(miners, self.miner, self.miner_parameters) if self.miner else None

        def value(features: Tensor, classes: Tensor) -> Tensor:
            found: Tensor = loss(features, classes, miner(features, classes) if miner else None)
            return found

        return value


def _made(module: Any, name: str, parameters: Mapping[str, Any]) -> Any:
    try:
        return getattr(module, name)(**parameters)
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(
            f"{name} of pytorch-metric-learning does not take {dict(parameters)}: {error}; see its documentation."
        ) from None
