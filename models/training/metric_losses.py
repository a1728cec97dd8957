"""Losses and miners of pytorch-metric-learning by their names there, beside the batch-hard triplet loss.

Of its many, those that look at a batch's features and labels alone: no weights of their own, nothing drawn at random,
so that a killed training goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
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


def library_version() -> str | None:
    """The version of pytorch-metric-learning, or None where it is not installed."""
    try:
        return version("pytorch-metric-learning")
    except PackageNotFoundError:
        return None


def _made(module: Any, name: str, parameters: Mapping[str, Any]) -> Any:
    if parameters.get("triplets_per_anchor", "all") != "all":
        raise UserError(
            f"{name} draws its triplets at random where `triplets_per_anchor` is no 'all', and a training that goes on "
            f"would draw others; leave it out."
        )
    try:
        return getattr(module, name)(**parameters)
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(
            f"{name} of pytorch-metric-learning does not take {dict(parameters)}: {error}; see its documentation."
        ) from None
