"""Which attacks of torchattacks there are, and what is known of each: read without importing the package."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from ... import UserError
from ...models.registry import unknown
from ..threat import Goal, NormName

#: What a foreign attack's name begins with in a grid.
PREFIX = "torchattacks."

Status = Literal["supported", "untested", "impossible"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of one attack of the package."""

    status: Status
    #: For a supported one what it does; else why it is not supported.
    note: str
    #: Where it has a meaning here.
    norms: tuple[NormName, ...] = ("linf",)
    #: Whether it draws; "random_start" where that parameter decides.
    draws: bool | Literal["random_start"] = True
    #: Whether it takes gradients; where not, it asks for logits alone.
    gradients: bool = True
    #: Whether it decides for a batch as a whole, so that an image's result depends on its company.
    joins_images: bool = False
    #: Why it is refused for a targeted goal, beside those that say so themselves.
    no_target: str = ""

    @property
    def goals(self) -> tuple[Goal, ...]:
        """Goals that are not refused before the package is asked."""
        return ("untargeted",) if self.no_target else ("untargeted", "targeted")


_BOTH: tuple[NormName, ...] = ("linf", "l2")
_L2: tuple[NormName, ...] = ("l2",)
_ONE_GOAL = "the package has no targeted form of it"


def _supported(note: str, **facts: Any) -> Facts:
    return Facts(status="supported", note=note, **facts)


def _untested(note: str, **facts: Any) -> Facts:
    return Facts(status="untested", note=note, **facts)


def _impossible(note: str, **facts: Any) -> Facts:
    return Facts(status="impossible", note=note, norms=(), **facts)


_FEW_PIXELS = "it changes few pixels by any amount (L0), which no threat here describes"

FACTS: Mapping[str, Facts] = {
    "FGSM": _supported("one step of epsilon", draws=False),
    "BIM": _supported("steps along the sign of the gradient (I-FGSM)", draws=False),
    "PGD": _supported("BIM from a random start", draws="random_start"),
    "MIFGSM": _supported("BIM with momentum", draws=False),
    "NIFGSM": _supported("MIFGSM with gradients from where momentum leads", draws=False),
    "DIFGSM": _supported("diverse inputs, squeezed to squares of at most the image's width"),
    "TIFGSM": _supported("smoothed gradients over the inputs of DIFGSM"),
    "VMIFGSM": _supported("MIFGSM with gradients of points around"),
    "APGD": _supported("step halved at checkpoints, best loss kept", norms=_BOTH, no_target=_ONE_GOAL),
    "Square": _supported("random squares by logits alone, best loss kept", norms=_BOTH, gradients=False),
    "CW": _supported(
        "the nearest image of another identity, projected into the ball",
        norms=_L2,
        draws=False,
        joins_images=True,
        no_target="it keeps images that have left their identity, whether or not they reached the target",
    ),
    "VANILA": _untested("it changes nothing", norms=_BOTH, draws=False, no_target=_ONE_GOAL),
    "GN": _untested("Gaussian noise without a radius, projected; use noise", norms=_BOTH, no_target=_ONE_GOAL),
    "RFGSM": _untested("BIM from a random start; use PGD"),
    "EOTPGD": _untested("PGD with repeated gradients, for random models; use `eot` of our own attacks"),
    "FFGSM": _untested("one step from a random start, made for training"),
    "TPGD": _untested("it leaves the clean prediction, not the own identity", no_target=_ONE_GOAL),
    "UPGD": _untested("variants of PGD that nobody has compared here", draws="random_start"),
    "APGDT": _untested(
        "it turns to single wrong identities; images it does not fool stay clean", norms=_BOTH, no_target=_ONE_GOAL
    ),
    "Jitter": _untested("it rescales logits by their size, which is arbitrary here"),
    "PGDRS": _untested("made for randomised smoothing"),
    "SINIFGSM": _untested("NIFGSM over darkened copies, made for transfer", draws=False),
    "VNIFGSM": _untested("NIFGSM with gradients of points around, made for transfer"),
    "PGDL2": _untested("PGD in L2; use pgd with `norm: l2`", norms=_L2, draws="random_start"),
    "PGDRSL2": _untested("made for randomised smoothing", norms=_L2),
    "DeepFool": _untested(
        "the nearest image of another identity, by one backward pass an identity and step",
        norms=_L2,
        draws=False,
        no_target=_ONE_GOAL,
    ),
    "FAB": _untested(
        "the nearest image of another identity; images it does not fool stay clean",
        norms=_BOTH,
        no_target="it starts only from images that are taken for the target already",
    ),
    "AutoAttack": _untested("images that none of its four attacks fools stay clean", norms=_BOTH, no_target=_ONE_GOAL),
    "SPSA": _untested("finite differences by logits alone, hundreds of passes", gradients=False),
    "PIFGSM": _untested("patches of amplified steps, made for transfer", no_target=_ONE_GOAL),
    "PIFGSMPP": _untested("patches of amplified steps, made for transfer"),
    "EADEN": _untested("the elastic net's nearest image of another identity, projected", norms=_L2, draws=False),
    "EADL1": _impossible("it minimises an L1 distance, which no threat here describes"),
    "SparseFool": _impossible(_FEW_PIXELS),
    "OnePixel": _impossible(_FEW_PIXELS),
    "Pixle": _impossible(f"{_FEW_PIXELS}; and it needs square images"),
    "JSMA": _impossible(f"{_FEW_PIXELS}; and it needs tiny images: a table of (3 x height x width)^2 pairs of pixels"),
    "MultiAttack": _impossible("it joins attacks and is none itself; name them one by one"),
    "LGV": _impossible("it trains the model on a data loader of its own"),
}

#: What is said of a name that a later release adds.
_UNKNOWN = _untested("this release of the package is not known here", norms=_BOTH)


def facts(name: str) -> Facts:
    """What is known of an attack by its name in the package."""
    return FACTS.get(name, _UNKNOWN)


def is_foreign(name: str) -> bool:
    """Whether a name of a grid means an attack of the package."""
    return name.startswith(PREFIX)


@cache
def public_names() -> tuple[str, ...]:
    """The package's public list (`__all__`), read from its source; empty where it is not installed."""
    spec = find_spec("torchattacks")
    if spec is None or spec.origin is None:
        return ()
    for statement in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in statement.targets
        ):
            return tuple(ast.literal_eval(statement.value))
    return ()


def release() -> str:
    """Which release of the package is installed."""
    try:
        return version("torchattacks")
    except PackageNotFoundError:
        return "absent"


def bare_name(name: str) -> str:
    """`PGD` for `torchattacks.PGD`. UserError where the package's public list has no such name."""
    known = public_names()
    if not known:
        raise UserError(f"{name} needs the package torchattacks; install torchattacks 3.3.0.")
    bare = name.removeprefix(PREFIX)
    if bare not in known:
        raise unknown("attack", name, [PREFIX + each for each in known])
    return bare


def list_foreign() -> list[dict[str, Any]]:
    """One record an attack of the installed release, supported ones first, for `robustreid ls attacks`."""
    order = ("supported", "untested", "impossible")
    found = [(name, facts(name)) for name in public_names()]
    return [
        {
            "name": PREFIX + name,
            "summary": fact.note if fact.status == "supported" else f"{fact.status}: {fact.note}",
            "status": fact.status,
            "version": 1,
            "norms": list(fact.norms),
            "source": f"torchattacks {release()}",
        }
        for name, fact in sorted(found, key=lambda each: order.index(each[1].status))
    ]
