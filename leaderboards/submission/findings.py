"""What a check finds: frozen, each with its code, its place in the submission, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ... import InvalidFileError
from ...benchmark.config.reading import printable

#: `error`: the submission is refused. `note`: it is not.
Level = Literal["error", "note"]

#: Longer words of a submission are cut in messages, for they are somebody else's.
_LONGEST = 400


def shown(text: object, longest: int = _LONGEST) -> str:
    """Text of a submission as a message may have it: on one line, no control characters, cut where it is long."""
    plain = printable(str(text)[: longest + 1])
    return plain if len(plain) <= longest else f"{plain[:longest]}..."


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with a submission, or worth knowing about it."""

    #: `SUB` and three digits; docs/submitting.md lists them.
    code: str
    level: Level
    #: `submission.yaml:3: licence`, `weights.safetensors`, `results/cells/ab12.parquet: mAP_attacked`.
    place: str
    #: What is wrong, a sentence without its full stop.
    problem: str
    #: What to do, likewise.
    remedy: str

    def __post_init__(self) -> None:
        # What a submission brings along is quoted in these, so nothing of it may steer a terminal.
        for name in ("place", "problem", "remedy"):
            object.__setattr__(self, name, shown(getattr(self, name), 1000))

    def __str__(self) -> str:
        """One line: `SUB105 submission.yaml:3: licence: 'GPL' is not known. Write GPL-3.0-only.`."""
        mark = "" if self.level == "error" else " (note)"
        stop = "" if self.problem.endswith("?") else "."
        return f"{self.code}{mark} {self.place}: {self.problem}{stop} {self.remedy}."

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that the checks found."""

    findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What makes a submission invalid."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What does not."""
        return tuple(finding for finding in self.findings if finding.level == "note")

    @property
    def is_valid(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    @property
    def lines(self) -> tuple[str, ...]:
        """One line a finding, errors first."""
        return tuple(map(str, (*self.errors, *self.notes)))

    def codes(self) -> frozenset[str]:
        """The codes of all findings."""
        return frozenset(finding.code for finding in self.findings)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What a reader met that a rule reports: the rule adds level and remedy."""

    code: str
    place: str
    problem: str
    #: Where the rule's own would say too little.
    remedy: str = ""


class BundleError(InvalidFileError):
    """A submission that cannot be opened, or part of which cannot be read; it carries what was found."""

    def __init__(self, place: object, faults: Iterable[Fault]) -> None:
        self.faults: Sequence[Fault] = tuple(faults)
        first = self.faults[0]
        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        super().__init__(
            f"{shown(place)!r} is refused: {shown(first.place)}: {shown(first.problem)} ({first.code}){more}; "
            f"`robustreid submit check` says what to do."
        )

    @property
    def code(self) -> str:
        """The code of the first fault."""
        return self.faults[0].code
