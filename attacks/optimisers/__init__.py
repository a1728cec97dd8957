"""How the perturbation is found."""

from __future__ import annotations

from .adam import Adam
from .apgd import APGD
from .base import Optimiser, Trace
from .noise import Noise
from .pgd import PGD
from .square import Square
from .walks import FGSM, IFGSM, MIFGSM, NIFGSM, RandomIFGSM

__all__ = [
    "APGD",
    "FGSM",
    "IFGSM",
    "MIFGSM",
    "NIFGSM",
    "PGD",
    "Adam",
    "Noise",
    "Optimiser",
    "RandomIFGSM",
    "Square",
    "Trace",
]
