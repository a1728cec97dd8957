"""What a rule is: a function with a code, whose docstring is what the submitter reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from .contents import Contents, Examined
from .description import Description, describe
from .disguises import N_FIRST, disguise
from .findings import BundleError, Fault, Finding, Level
from .limits import MAX_FINDINGS
from .manifest import Manifest, read_manifest, wrong_digests
from .paths import DESCRIPTION, GRID, MANIFEST, PLAN
from .schema import SubmissionFile, check_keys
from .streams import read_exactly
from .strict_yaml import read_yaml
from .weights import check_weights

if TYPE_CHECKING:
    from ...benchmark.config.reading import Document, Place
    from ..measurements import Measurement
    from .results import Results

#: Whether results match the tracks that a submission names: findings with codes from SUB501 on.
TrackProblems = Callable[[Description, "Sequence[Measurement]"], Iterable[Finding]]


Read = TypeVar("Read")
_Yaml = tuple["Document | None", tuple[Fault, ...]]


class Bundle:
    """A submission as rules see it: each part is read once, when the first rule asks for it.

    Args:
        examined: it, listed.
        taken: names that are on a board already.
        track_problems: what else is asked of its results.
    """

    def __init__(
        self, examined: Examined, *, taken: Collection[str] = (), track_problems: TrackProblems | None = None
    ) -> None:
        self.examined = examined
        self.contents: Contents = examined.contents
        self.taken = taken
        self.track_problems = track_problems
        #: What files were met with whose bytes are not what their container says.
        self._broken: list[Fault] = []

    def has(self, name: str) -> bool:
        """Whether a file is there that may be read."""
        return name in self._names

    def is_unread(self, name: str) -> bool:
        """Whether a file is there, and not read because of what was said of it already."""
        return name in self._unread

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.contents.names())

    @cached_property
    def _unread(self) -> frozenset[str]:
        return frozenset(fault.place for fault in self.examined.faults)

    def _unless_broken(self, read: Callable[[], Read], otherwise: Read) -> Read:
        try:
            return read()
        except BundleError as error:
            self._broken += error.faults
            return otherwise

    def _read_yaml(self, name: str, *, variables: bool) -> _Yaml:
        nothing: _Yaml = (None, ())
        if not self.has(name):
            return nothing
        return self._unless_broken(lambda: read_yaml(self.contents.read(name), name, variables=variables), nothing)

    @cached_property
    def _yaml(self) -> _Yaml:
        return self._read_yaml(DESCRIPTION, variables=False)

    @property
    def document(self) -> Document | None:
        """`submission.yaml` as values with their lines; None where it is none."""
        return self._yaml[0]

    @cached_property
    def _grid(self) -> _Yaml:
        return self._read_yaml(GRID, variables=True)

    @property
    def grid(self) -> Document | None:
        """`results/grid.yml` as values with their lines; None where it is none, or none that is read."""
        return self._grid[0]

    @cached_property
    def _file(self) -> tuple[SubmissionFile | None, list[tuple[Place, str]]]:
        return (None, []) if self.document is None else check_keys(self.document)

    @property
    def key_problems(self) -> list[tuple[Place, str]]:
        """Keys that are missing, unknown or not what they should be."""
        return self._file[1]

    @cached_property
    def description(self) -> Description | None:
        """None where a key is not what it should be."""
        return None if self._file[0] is None else describe(self._file[0])

    @cached_property
    def manifest(self) -> Manifest | None:
        """None where there is none."""
        if not self.has(MANIFEST):
            return None
        return self._unless_broken(lambda: read_manifest(self.contents.read(MANIFEST)), None)

    @cached_property
    def results(self) -> Results | None:
        """None where there are none, or no plan that may be read."""
        from .results import has_results, read_results

        if self.is_unread(PLAN) or not has_results(self.contents):
            return None
        return self._unless_broken(lambda: read_results(self.contents), None)

    @cached_property
    def _disguises(self) -> tuple[Fault, ...]:
        def read() -> tuple[Fault, ...]:
            firsts = ((name, read_exactly(self.contents.open(name), N_FIRST)) for name in self.contents.names())
            return tuple(filter(None, (disguise(name, first) for name, first in firsts)))

        return self._unless_broken(read, ())

    @cached_property
    def _weights(self) -> tuple[Fault, ...]:
        if self.description is None or not self.has(self.description.weights):
            return ()
        name = self.description.weights
        return self._unless_broken(lambda: tuple(check_weights(self.contents, name)), ())

    def sha256(self, name: str) -> str:
        """The digest of a file; empty where it is none that can be read."""
        return self._unless_broken(lambda: self.contents.sha256(name), "") if self.has(name) else ""

    @cached_property
    def _digests(self) -> tuple[Fault, ...]:
        if self.manifest is None:
            return ()
        digests = self.manifest.digests
        return self._unless_broken(lambda: tuple(wrong_digests(self.contents, digests)), ())

    def faults(self) -> tuple[Fault, ...]:
        """All that readers met, for the rule of each code to pick out."""
        results = () if self.results is None else self.results.faults
        parts = (self._yaml[1], self._grid[1], self._disguises, self._weights, self._digests, results)
        return (*self.examined.faults, *(fault for part in parts for fault in part), *self._broken)


Check = Callable[[Bundle], Iterable[Fault]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One thing that is asked of every submission."""

    code: str
    level: Level
    #: What holds of a submission that is as it should be: the first paragraph of the docstring.
    title: str
    #: What to do where it does not: the last one.
    remedy: str
    #: Codes of rules that have to pass before this one says anything.
    requires: tuple[str, ...]
    check: Check

    def findings(self, bundle: Bundle) -> Iterator[Finding]:
        """What it finds, `MAX_FINDINGS` at most and the count of the others."""
        found = list(dict.fromkeys(self.check(bundle)))
        for fault in found[:MAX_FINDINGS]:
            yield self.finding(fault)
        if len(found) > MAX_FINDINGS:
            more = f"is said of {len(found) - MAX_FINDINGS:,} other places too"
            yield self.finding(Fault(code=self.code, place="the whole", problem=more))

    def finding(self, fault: Fault) -> Finding:
        """What a reader met, as this rule reports it."""
        remedy = (fault.remedy or self.remedy).rstrip(".")
        problem = fault.problem.rstrip(".")
        return Finding(code=self.code, level=self.level, place=fault.place, problem=problem, remedy=remedy)


def rule(code: str, *, requires: Sequence[str] = (), level: Level = "error") -> Callable[[Check], Rule]:
    """A decorator that makes a rule of a function: two paragraphs of docstring, what must hold and what to do."""

    def made(check: Check) -> Rule:
        paragraphs = [" ".join(each.split()) for each in (inspect.getdoc(check) or "").split("\n\n")]
        title, remedy = paragraphs[0], paragraphs[-1]
        return Rule(code=code, level=level, title=title, remedy=remedy, requires=tuple(requires), check=check)

    return made


def met(bundle: Bundle, code: str) -> Iterator[Fault]:
    """What readers met under a code."""
    return (fault for fault in bundle.faults() if fault.code == code)
