"""Universal perturbations: one change for all images, fitted on training people, added to whatever is attacked."""

from __future__ import annotations

from collections.abc import Mapping

from .average_precision import MUAP
from .cell import Fitted, Universal, UniversalBySplit
from .cross_modality import CMPS
from .perturbation import Perturbation, fitted_by
from .procedure import Batch, Loader, Procedure, State
from .retrieval import UAPRetrieval

__all__ = [
    "CMPS",
    "MUAP",
    "PROCEDURES",
    "Batch",
    "Fitted",
    "Loader",
    "Perturbation",
    "Procedure",
    "State",
    "UAPRetrieval",
    "Universal",
    "UniversalBySplit",
    "fitted_by",
]

#: How a perturbation can be fitted, by the name of the attack that it then is.
PROCEDURES: Mapping[str, type[Procedure]] = {"uap-retrieval": UAPRetrieval, "muap": MUAP, "cmps": CMPS}
