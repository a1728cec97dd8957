"""Which models may be scored on data sets whose trials are training and test partitions of their own.

A model that learnt from the people of one split has seen test people of the others: its mean over splits says nothing.
"""

from __future__ import annotations

from .. import UserError
from ..attacks.catalogue import AttackSpec
from ..models.base import ModelSpec
from ..models.splits import N_SPLITS, PLACE
from ..models.weights.cards import card_of, trained_on
from .datasets.about import ABOUT
from .datasets.catalogue import DRAWN
from .datasets.opening import DatasetRequest
from .evaluation import PROTOCOLS, Protocol


def protocol_of(request: DatasetRequest) -> Protocol:
    """The protocol of a data set that need not be there: the one that was asked for, or its format's own."""
    layout = request.format or request.label
    usual = ABOUT.get(layout, {}).get("protocol", "market").split(",")[0]
    return PROTOCOLS[str(request.options.get("protocol", usual))]


def refuse_leaks(model: ModelSpec, request: DatasetRequest, protocol: Protocol) -> None:
    """Raise where one model is averaged over splits whose people it may have seen, or a model a split has no splits.

    Drawn people who are learnt from are never looked for, so any model may be scored on those.

    Raises:
        UserError: either.
    """
    layout = request.format or request.label
    if not protocol.has_splits:
        if model.by_trial:
            raise UserError(
                f"Model {model.label!r} has weights for each of {N_SPLITS} splits, and data set {request.label!r} has "
                f"no splits under protocol {protocol.name}; name one weights file, without {PLACE}."
            )
        return
    for number, each in enumerate(model.by_trial, start=1):
        trial = card_of(each).trial
        if trial not in {None, number}:
            raise UserError(
                f"Model {model.label!r} has {str(each.weights)!r} for split {number}, and the card of that file says "
                f"that it was trained on split {trial}; name the files by the number of their split."
            )
    if model.by_trial or layout in DRAWN:
        return
    known = trained_on(model)
    if known is None or layout in known:
        why = f"its card says that it was trained on {layout}" if known else "no card says what it was trained on"
        raise UserError(
            f"Data set {request.label!r} has {protocol.n_trials} splits, each a training and test partition of its "
            f"own, and model {model.label!r} is one model for all of them, of which {why}; name a model for each split "
            f"(weights: w_{PLACE}.safetensors), or put a card beside the weights whose `trained_on` lists other sets."
        )


def refuse_split_attack(attack: AttackSpec, request: DatasetRequest, protocol: Protocol) -> None:
    """UserError where a perturbation for each split is to be used on a data set without any."""
    if attack.by_trial and not protocol.has_splits:
        raise UserError(
            f"Attack {attack.name!r} has a perturbation for each of {N_SPLITS} splits, and data set {request.label!r} "
            f"has no splits under protocol {protocol.name}; name one file, without {PLACE}."
        )
