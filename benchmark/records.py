"""The values that cross the harness's borders: a cell of the grid and a row of the store."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

from ..attacks.catalogue import AttackSpec
from ..attacks.loss import Passes
from ..attacks.threat import Goal, Side, Threat
from ..models.base import ModelSpec
from ..models.stages import AUTO, Adaptive
from .evaluation import METRIC_VERSION, Protocol, RankingScores
from .versions import ENGINE_VERSION

Status = Literal["done", "failed", "skipped"]
PerturbAt = Literal["native", "input"]
Precision = Literal["exact", "fast"]
#: Which checks a run makes of its models: `quick` leaves out the attack without a budget. It decides no number.
Checks = Literal["full", "quick"]
Knowledge = Literal["white-box", "transfer", "score"]


def digest(value: Any) -> str:
    """32 hexadecimal digits of canonical JSON: keys sorted, no spaces, no NaN.

    >>> digest({"b": 1, "a": [2]}) == digest({"a": [2], "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class DatasetRef:
    """A retrieval set as a cell knows it."""

    #: What the user calls it.
    label: str
    #: Digest of its manifest: sorted relative paths and sha256 of every query and gallery image.
    sha256: str
    protocol: Protocol


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One (model, data set, attack, epsilon, side, goal, seed), and all that decides its result."""

    model: ModelSpec
    dataset: DatasetRef
    attack: AttackSpec
    threat: Threat
    side: Side
    goal: Goal
    seed: int
    perturb_at: PerturbAt
    precision: Precision = "exact"
    #: The model whose gradients are followed, where that is not the one that is scored.
    surrogate: ModelSpec | None = None
    #: What the adversary does about stages that hide gradients.
    adaptive: Adaptive = AUTO

    @property
    def walker(self) -> ModelSpec:
        """The model whose gradients are followed."""
        return self.surrogate or self.model

    @property
    def knowledge(self) -> Knowledge:
        """What the adversary knows of the model that is scored."""
        if self.surrogate_label:
            return "transfer"
        return "score" if self.attack.asks_scores else "white-box"

    @property
    def surrogate_label(self) -> str | None:
        """The model that the adversary knows in place of the scored one: it follows it, or has fitted to it."""
        if self.surrogate:
            return self.surrogate.label
        for number in range(self.n_splits or 1):
            fitted = self.attack.of_trial(number).perturbation
            if fitted and not fitted.is_of(self.model.of_trial(number)):
                return fitted.model
        return None

    @cached_property
    def cell_id(self) -> str:
        """Hash of everything that decides the result and nothing else: never a path, a label or a batch size."""
        surrogate = {"surrogate": self.surrogate.identity()} if self.surrogate else {}
        return digest(
            {
                **surrogate,
                **_told(self.adaptive),
                "engine": ENGINE_VERSION,
                "metric": METRIC_VERSION,
                "model": self.model.identity(),
                "dataset": self.dataset.sha256,
                "protocol": [self.dataset.protocol.name, self.dataset.protocol.version],
                "attack": [self.attack.name, self.attack.version, self.attack.parameters()],
                "references": self.attack.references,
                "norm": self.threat.norm,
                "epsilon": f"{self.threat.epsilon.numerator}/{self.threat.epsilon.denominator}",
                "side": self.side,
                "goal": self.goal,
                "seed": self.seed,
                "perturb_at": self.perturb_at,
                "precision": self.precision,
            }
        )

    @property
    def attack_parameters(self) -> dict[str, Any]:
        """The column `attack_params`: the attack's own parameters, and what it was told about stages."""
        return {**self.attack.parameters(), **self.adaptive.parameters()}

    @cached_property
    def label(self) -> str:
        """How people tell cells apart, and what `-k` looks into."""
        goal = "" if self.goal == "untargeted" else f" {self.goal}"
        seed = f" seed={self.seed}" if self.attack.depends_on_seed(self.goal) else ""
        surrogate = f" from {self.surrogate.label}" if self.surrogate else ""
        return (
            f"{self.model.label} {self.dataset.label} {self.attack.label} "
            f"{self.threat.norm} {self.threat.label} {self.side}{goal}{seed}{surrogate}"
        )

    @property
    def group_key(self) -> str:
        """Cells with the same key share decoded images, clean features, references and gradients."""
        seed = self.seed if self.goal == "targeted" else 0
        key = _group_key(
            self.walker, self.dataset, self.side, self.goal, seed, self.perturb_at, self.precision, self.adaptive
        )
        return key if self.n_splits is None else f"{key}-{self.n_splits}"

    @property
    def n_splits(self) -> int | None:
        """On how many splits it is run one by one; None where one model and one perturbation are for all of them."""
        is_split = self.model.by_trial or self.walker.by_trial or self.attack.by_trial
        return self.dataset.protocol.n_trials if is_split else None


@lru_cache(maxsize=2**12)
def _group_key(
    walker: ModelSpec,
    dataset: DatasetRef,
    side: Side,
    goal: Goal,
    seed: int,
    perturb_at: PerturbAt,
    precision: Precision,
    adaptive: Adaptive,
) -> str:
    """One digest a group: thousands of cells have the same."""
    return digest(
        {
            **_told(adaptive),
            "engine": ENGINE_VERSION,
            "model": walker.identity(),
            "dataset": dataset.sha256,
            "protocol": [dataset.protocol.name, dataset.protocol.version],
            "side": side,
            "goal": goal,
            "seed": seed,
            "perturb_at": perturb_at,
            "precision": precision,
        }
    )


def _told(adaptive: Adaptive) -> dict[str, Any]:
    return {} if adaptive.is_neutral else {"adaptive": adaptive.parameters()}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a cell that ran came to."""

    #: Scores of the clean images, of the 8-bit attacked ones, and of the unrounded ones; for a targeted goal those
    #: of the relabelled problem, in which every attacked image carries its target's identity.
    clean: RankingScores
    attacked: RankingScores
    attacked_float: RankingScores
    n_attacked: int
    passes: Passes
    seconds: float
    peak_memory_bytes: int
    batch_size: int
    #: Largest change of any pixel, in [0, 1] pixel units, before rounding to 8 bit.
    linf_max: float
    #: Mean Euclidean length of the change over the attacked images, in [0, 1] pixel units.
    l2_mean: float
    flags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the numbers were made with; provenance, never part of a cell's id."""

    tool_version: str
    #: Of this package's own checkout; None for an installed wheel.
    git_commit: str | None
    git_dirty: bool | None
    python: str
    torch: str
    device: str
    threads: int
    deterministic: bool

    @property
    def on_a_card(self) -> dict[str, Any]:
        """What the card of a training says of it."""
        names = ("tool_version", "git_commit", "git_dirty", "torch", "device", "threads")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One cell and what became of it, whatever that was."""

    cell: Cell
    status: Status
    environment: Environment
    #: Why, in one sentence; empty where it is done.
    reason: str = ""
    outcome: Outcome | None = None

    def __post_init__(self) -> None:
        if (self.status == "done") != (self.outcome is not None) or (self.status == "done") == bool(self.reason):
            raise ValueError(f"expected an outcome or a reason to go with status {self.status!r}")
