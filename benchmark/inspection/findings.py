"""What an inspection found: one finding a check, and the numbers behind them. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...attacks.reliability.thresholds import FLAGS

#: `fine`; `note`: worth knowing, and no reason to doubt a number; `flag`: a reason to doubt; `fails`: the model cannot
#: be scored.
Verdict = Literal["fine", "note", "flag", "fails"]

#: The checks, in the order in which they are shown.
CHECKS = (
    *("features", "type", "sizes", "people", "input", "determinism", "batch", "inference", "state", "mode"),
    *("gradient", "attack", "speed", "memory"),
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check of a model."""

    #: What was looked at: one of `CHECKS`.
    name: str
    verdict: Verdict
    #: What was seen, with its numbers, on one line.
    measured: str
    #: The flag of docs/flags.md that the verdict `flag` stands for.
    flag: str | None = None
    #: What to do; empty where there is nothing to do.
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.name not in CHECKS:
            raise ValueError(f"expected one of {', '.join(CHECKS)}, got {self.name!r}")
        if (self.verdict == "flag") != (self.flag is not None):
            raise ValueError(f"expected a flag exactly with the verdict `flag`, got {self.verdict!r} and {self.flag!r}")


def flagged(name: str, measured: str, flag: str) -> Finding:
    """A reason to doubt; what to do is that of the flag."""
    return Finding(name=name, verdict="flag", measured=measured, flag=flag, remedy=FLAGS[flag].what_to_do)


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A model as it was found; scores are fractions in [0, 1], None where there is none."""

    #: What the user calls the model.
    label: str
    architecture: str
    #: Of its weights, hexadecimal; empty for a module in memory.
    sha256: str
    #: What it was tried on, and how many images.
    dataset: str
    n_query: int
    n_gallery: int
    #: What it was tried with.
    device: str
    threads: int
    torch: str
    #: In the order of `CHECKS`, maybe several a check.
    findings: tuple[Finding, ...]
    #: mAP by the step definition: of the clean images, of features that say nothing, and of queries changed within
    #: `epsilon` at random and by one step along the gradient.
    clean_mAP: float | None = None  # noqa: N815 (as columns are called)
    chance_mAP: float | None = None  # noqa: N815 (as columns are called)
    noise_mAP: float | None = None  # noqa: N815 (as columns are called)
    fgsm_mAP: float | None = None  # noqa: N815 (as columns are called)
    #: As it is written: `4/255`.
    epsilon: str
    #: Images a second through a forward, and through a forward and a backward.
    forwards_per_second: float | None = None
    gradients_per_second: float | None = None
    #: The most memory so far: of the GPU, or of this process.
    peak_memory_bytes: int | None = None
    #: What the inspection took.
    seconds: float

    @property
    def can_be_scored(self) -> bool:
        """Whether nothing fails; flags are reasons to doubt a score, not to refuse one."""
        return all(finding.verdict != "fails" for finding in self.findings)

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags that were raised, each once, in the order of the findings."""
        return tuple(dict.fromkeys(finding.flag for finding in self.findings if finding.flag is not None))
