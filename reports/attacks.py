"""What pages say of each attack: what it is, and every model under it at each radius."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..attacks.presets import FITTED, PRESETS
from .boards import Score, combine
from .results import Result

_AUTO = "the standard ensemble: the worst of several attacks for each query, nothing to choose"
_FOREIGN = "torchattacks."
#: Columns that say what an attack is, and how pages call them.
_COLUMNS = {
    "attack_version": "version",
    "knowledge": "adversary's knowledge",
    "surrogate": "gradients of",
    "references": "references",
    "attacker_data": "must own",
}


@dataclass(frozen=True, kw_only=True)
class AttackTable:
    """Models under one attack, on one data set and side, within one norm."""

    dataset: str
    side: str
    norm: str
    goal: str
    epsilons: tuple[str, ...]
    #: Model, and a score a radius.
    rows: tuple[tuple[str, tuple[Score, ...]], ...]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells it from the other tables of an attack."""
        return self.dataset, self.side, self.norm, self.goal

    @property
    def has_curve(self) -> bool:
        """Whether two radii or more have a score."""
        scored = [any(scores[place].status == "done" for _, scores in self.rows) for place in range(len(self.epsilons))]
        return self.goal == "untargeted" and sum(scored) > 1


@dataclass(frozen=True, kw_only=True)
class AttackVariant:
    """An attack with its parameters, and whose gradients it follows."""

    #: As tables call it.
    name: str
    has_rows: bool
    #: Title and text of what other variants have otherwise.
    facts: tuple[tuple[str, str], ...]
    flags: tuple[str, ...]
    tables: tuple[AttackTable, ...]


@dataclass(frozen=True, kw_only=True)
class AttackPage:
    """All that goes by one name in grids."""

    name: str
    #: In one line; empty where nobody here knows.
    summary: str
    #: What all variants have in common: title and text.
    facts: tuple[tuple[str, str], ...]
    variants: tuple[AttackVariant, ...]


def make_attacks(results: Sequence[Result]) -> tuple[AttackPage, ...]:
    """A page an attack, in the order in which they come up."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        groups[result.preset].append(result)
    return tuple(_page(name, found) for name, found in groups.items())


def _page(name: str, results: Sequence[Result]) -> AttackPage:
    by_variant: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_variant[result.attack].append(result)
    rows = {variant: [r.row for r in found if r.row] for variant, found in by_variant.items()}
    facts = {variant: _facts(found) for variant, found in rows.items() if found}
    shared = [fact for fact in next(iter(facts.values()), ()) if all(fact in other for other in facts.values())]
    summary, source = describe(name)
    return AttackPage(
        name=name,
        summary=summary or _put_together(dict(shared)),
        facts=(*([("source", source)] if source else []), *shared),
        variants=tuple(
            _variant(variant, found, [fact for fact in facts.get(variant, ()) if fact not in shared])
            for variant, found in by_variant.items()
        ),
    )


def _put_together(facts: Mapping[str, str]) -> str:
    """Of an attack that a grid composed under a name of its own; empty for one that somebody else brought."""
    if {"objective", "optimiser"} - set(facts):
        return ""
    return f"the objective {facts['objective']} under the optimiser {facts['optimiser']}, put together by a grid"


def describe(name: str) -> tuple[str, str]:
    """What an attack is in one line, and where its equations stand; empty for one that somebody else brought.

    >>> describe("noise")
    ('random signs of the same budget', 'the control')
    """
    if name == "auto":
        return _AUTO, "docs/attacks.md"
    if name in PRESETS:
        return PRESETS[name].summary, PRESETS[name].source
    if name in FITTED:
        return FITTED[name].summary, FITTED[name].source
    if name.startswith(_FOREIGN):
        return f"{name.removeprefix(_FOREIGN)} of the package torchattacks, on features", "docs/torchattacks.md"
    return "", ""


def _variant(name: str, results: Sequence[Result], facts: Sequence[tuple[str, str]]) -> AttackVariant:
    groups: dict[tuple[str, str, str, str], list[Result]] = defaultdict(list)
    for result in results:
        groups[result.dataset, result.side, result.norm, result.goal].append(result)
    return AttackVariant(
        name=name,
        has_rows=any(result.row for result in results),
        facts=tuple(facts),
        flags=tuple(sorted({flag for result in results for flag in result.flags})),
        tables=tuple(_table(key, found) for key, found in groups.items()),
    )


def _facts(rows: Sequence[Mapping[str, object]]) -> tuple[tuple[str, str], ...]:
    """Title and text; where rows differ, as with whose labels an adversary must own, the different texts."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        columns = [(title, row.get(column)) for column, title in _COLUMNS.items()]
        for title, value in [*columns, *_parameters(row.get("attack_params"))]:
            if value is not None and value != "":
                found[title][str(value)] = None
    return tuple((title, ", ".join(texts)) for title, texts in found.items())


def _parameters(text: object) -> list[tuple[str, object]]:
    try:
        found = json.loads(str(text or "{}"))
    except ValueError:
        return [("parameters", text)]
    if not isinstance(found, dict):
        return [("parameters", text)]
    return [(str(key), json.dumps(value) if isinstance(value, (dict, list)) else value) for key, value in found.items()]


def _table(key: tuple[str, str, str, str], results: Sequence[Result]) -> AttackTable:
    dataset, side, norm, goal = key
    by_place: dict[tuple[str, float], list[Result]] = defaultdict(list)
    for result in results:
        by_place[result.model, result.epsilon].append(result)
    epsilons = sorted({(result.epsilon, result.epsilon_label) for result in results})
    return AttackTable(
        dataset=dataset,
        side=side,
        norm=norm,
        goal=goal,
        epsilons=tuple(label for _, label in epsilons),
        rows=tuple(
            (model, tuple(combine(by_place.get((model, epsilon), [])) for epsilon, _ in epsilons))
            for model in dict.fromkeys(result.model for result in results)
        ),
    )
