"""What a gate asks for: which scores, how large a drop may be, and where something else holds. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ... import UserError
from ...benchmark.config.problems import validate
from ...benchmark.config.reading import Document, parse_document
from ...benchmark.selection import Matches, matcher
from .scores import check_metrics

#: What is compared where nobody says otherwise; `target_mAP` is about targeted cells alone.
DEFAULT_METRICS = ("mAP_attacked", "mAP_clean", "target_mAP")
#: Points.
DEFAULT_MAX_DROP = 1.0
#: How often, at most, a gate may call worse what is not, over all comparisons that it makes.
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Where something else holds: comparisons whose label matches."""

    #: An expression as for `-k`.
    select: str
    #: Points; None leaves what held before.
    max_drop: float | None = None
    #: False: these are not compared at all, and nothing that is wrong with them decides anything.
    gate: bool | None = None
    matches: Matches = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_max_drop(self.max_drop)
        object.__setattr__(self, "matches", matcher(self.select, "select"))


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a gate asks for."""

    #: Names of `scores.SCORES`.
    metrics: tuple[str, ...] = DEFAULT_METRICS
    #: Points, from 0: a drop that is no larger never gates.
    max_drop: float = DEFAULT_MAX_DROP
    #: Whether a comparison that is too coarse to tell fails the gate too.
    strict: bool = False
    #: The last that matches decides, key by key.
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        _check_max_drop(self.max_drop)
        object.__setattr__(self, "metrics", check_metrics(self.metrics))

    def max_drop_of(self, label: str) -> float:
        """The largest drop that is allowed to what has this label, points."""
        found = [rule.max_drop for rule in self.rules if rule.max_drop is not None and rule.matches(label)]
        return found[-1] if found else self.max_drop

    def gates(self, label: str) -> bool:
        """Whether what has this label decides anything."""
        found = [rule.gate for rule in self.rules if rule.gate is not None and rule.matches(label)]
        return found[-1] if found else True


def _check_max_drop(points: float | None) -> None:
    if points is not None and not (math.isfinite(points) and 0 <= points <= 100):
        raise UserError(f"The largest allowed drop is {points!r}; expected points from 0 to 100, such as 1.0.")


_Points = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    select: str
    max_drop: _Points | None = None
    gate: bool | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    metrics: Annotated[
        list[str], BeforeValidator(lambda value: value if isinstance(value, list) else [value]), Field(min_length=1)
    ] = list(DEFAULT_METRICS)
    max_drop: _Points = DEFAULT_MAX_DROP
    strict: bool = False
    rules: list[_Rule] = []


_KEYS = {"": tuple(_File.model_fields), "rules": tuple(_Rule.model_fields)}
_FIXED = {
    "max_drop": "points from 0 to 100, such as 1.0",
    "metrics": "a list of scores such as [mAP_attacked, mAP_clean]",
}


def read_policy(path: str | Path) -> Policy:
    """The policy file at `path` (docs/gate.md).

    Raises:
        UserError: it is missing or wrong: one line a problem, each with the line and path of the key.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else f"byte {error.start} is not UTF-8"
        raise UserError(f"The policy {str(path)!r} cannot be read: {why}; give a YAML file (docs/gate.md).") from None
    return _policy(parse_document(text, name=str(path), folder=file.resolve().parent))


def _policy(document: Document) -> Policy:
    if not isinstance(document.data, dict):
        raise UserError(f"{document.name}:1: expected a policy with the keys {', '.join(_KEYS[''])}.")
    found = validate(document, _File, keys=_KEYS, fixed=_FIXED)
    problems: list[UserError] = []
    rules: list[Rule] = []
    for place, rule in enumerate(found.rules):
        if rule.max_drop is None and rule.gate is None:
            problems.append(
                document.refusal(("rules", place), UserError("a rule without max_drop and gate does nothing; add one."))
            )
        try:
            rules.append(Rule(select=rule.select, max_drop=rule.max_drop, gate=rule.gate))
        except UserError as error:
            problems.append(document.refusal(("rules", place, "select"), error))
    try:
        check_metrics(found.metrics)
    except UserError as error:
        problems.append(document.refusal(("metrics",), error))
    if problems:
        raise UserError("\n".join(map(str, problems)))
    return Policy(metrics=tuple(found.metrics), max_drop=found.max_drop, strict=found.strict, rules=tuple(rules))


def overridden(
    policy: Policy,
    *,
    metrics: Sequence[str] | None = None,
    max_drop: float | None = None,
    strict: bool | None = None,
    rules: Sequence[Rule] | None = None,
) -> Policy:
    """The policy with what a command line or a caller gives in place of what the file says."""
    return Policy(
        metrics=policy.metrics if metrics is None else tuple(metrics),
        max_drop=policy.max_drop if max_drop is None else max_drop,
        strict=policy.strict if strict is None else strict,
        rules=policy.rules if rules is None else tuple(rules),
    )
