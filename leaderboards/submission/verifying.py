"""Recomputing some of the cells that a submission claims, drawn by whoever verifies it."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ... import InvalidFileError
from ..belonging import find
from ..entries import Provenance
from ..estimates import column_of, least_of
from ..measurements import Measurement, read_measurements
from ..track import Track
from ..track_grid import Pair
from .paths import RESULTS
from .scoring import Subject, check_root

if TYPE_CHECKING:
    from ...benchmark.progress import Reporter
    from ...benchmark.runtime import Settings

#: How far `exact` scores of one cell may lie apart between thread counts and devices, a fraction: measured, see
#: docs/performance.md.
NOISE_FLOOR = 0.001
#: What a claim may be above what is recomputed: a point, or three times the noise floor where that is more.
TOLERANCE = max(0.01, 3 * NOISE_FLOOR)


@dataclass(frozen=True, kw_only=True)
class Recomputed:
    """One cell, claimed and computed again; scores are fractions in [0, 1]."""

    cell_id: str
    label: str
    claimed_clean: float
    clean: float | None
    claimed: float
    attacked: float | None
    #: Why it does not agree; empty where it does.
    problem: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of it."""

    #: Digest of the submission's content (`content_sha256`): what was verified.
    content_sha256: str
    #: What the sample was drawn by; whoever has it draws the same cells.
    seed: int
    #: Cells of the tracks that the submission claims.
    n_cells: int
    cells: tuple[Recomputed, ...]

    @property
    def agrees(self) -> bool:
        """Whether every recomputed cell supports its claim."""
        return bool(self.cells) and not any(cell.problem for cell in self.cells)

    @property
    def provenance(self) -> Provenance:
        """What an entry may say of its rows: `reproduced` where every claimed cell was computed again."""
        if not self.agrees:
            return "self-reported"
        return "reproduced" if len(self.cells) == self.n_cells else "sampled and verified"

    def as_text(self) -> str:
        """JSON, for a file."""
        fields = {**vars(self), "cells": [vars(cell) for cell in self.cells]}
        return json.dumps({"version": 1, **fields, "agrees": self.agrees, "provenance": self.provenance}, indent=1)


def read_verification(path: Path) -> Verification:
    """What `as_text` wrote.

    Raises:
        InvalidFileError: it does not read back.
    """
    try:
        found = json.loads(path.read_bytes())
        return Verification(
            content_sha256=str(found["content_sha256"]),
            seed=int(found["seed"]),
            n_cells=int(found["n_cells"]),
            cells=tuple(Recomputed(**cell) for cell in found["cells"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidFileError(
            f"{str(path)!r} is no verification ({type(error).__name__}); make one with `robustreid submit verify`."
        ) from None


def claimed_cells(measurements: Sequence[Measurement], subject: Subject) -> dict[Pair, Measurement]:
    """The cells of a submission's tracks, its own adaptive attack's among them, that it claims a score of."""
    found: dict[Pair, Measurement] = {}
    for track in subject.tracks:
        for attack in track.attacks:
            radii = [track.threat, *(track.curve if attack == track.curve_attack else ())]
            for threat in radii:
                claimed = find(measurements, attack, threat, track, same_data=_digest(measurements, track))
                if claimed is not None and claimed.status == "done":
                    found[attack.name, threat.label] = claimed
        own = None if subject.adaptive is None else str(subject.adaptive["name"])
        for each in measurements:
            is_own = each.row.get("attack") == own and each.row.get("epsilon_label") == track.threat.label
            if own is not None and is_own and each.status == "done":
                found[own, track.threat.label] = each
    return found


def _digest(measurements: Sequence[Measurement], track: Track) -> str:
    return track.data.sha256 or next((str(m.row["dataset_sha256"]) for m in measurements if m.status == "done"), "")


def draw_sample(claimed: Sequence[Pair], count: int, seed: int) -> tuple[Pair, ...]:
    """`count` of the claimed cells, or all of them where there are fewer; equal seeds draw equal samples."""
    return tuple(random.Random(seed).sample(sorted(claimed), min(count, len(claimed))))  # noqa: S311 (no secret)


def verify(
    subject: Subject, content_sha256: str, *, sample: int, seed: int, settings: Settings, reporter: Reporter
) -> Verification:
    """Compute a sample of the claimed cells again and hold the claims against it.

    Raises:
        InvalidFileError: the submission claims no cell of its tracks.
    """
    from ...benchmark.runner.run import run_grid

    check_root(subject.tracks, subject.root)
    claimed = claimed_cells(read_measurements(subject.folder / RESULTS), subject)
    if not claimed:
        names = ", ".join(track.key for track in subject.tracks)
        raise InvalidFileError(
            f"The submission {subject.description.name!r} claims no cell of {names}; score it first: robustreid submit "
            f"score."
        )
    chosen = draw_sample(list(claimed), sample, seed)
    with tempfile.TemporaryDirectory(prefix="robustreid-verify-") as temporary:
        out = Path(temporary) / "run"
        run_grid(subject.grid(chosen), out, settings, reporter)
        again = {_pair(each): each for each in read_measurements(out)}
        cells = tuple(compared(claimed[pair], again.get(pair)) for pair in chosen)
        if subject.tracks[0].side == "query":
            for label in dict.fromkeys(label for _, label in chosen):
                pairs = [pair for pair in chosen if pair[1] == label and pair in again]
                problem = worst_problem([claimed[pair] for pair in pairs], [again[pair] for pair in pairs])
                at = {claimed[pair].cell_id for pair in pairs}
                cells = tuple(replace(c, problem=c.problem or problem) if c.cell_id in at else c for c in cells)
    return Verification(content_sha256=content_sha256, seed=seed, n_cells=len(claimed), cells=cells)


def worst_problem(claimed: Sequence[Measurement], again: Sequence[Measurement]) -> str:
    """Why the least of each query over some cells does not support the claim; empty where it does.

    A board takes the least of each query. Values that change places between queries keep every cell's mean and raise
    that least, so it is held against what was recomputed as well.
    """
    pairs = [[column_of(each, "mAP", "attacked") for each in cells] for cells in (claimed, again)]
    columns = [column for side in pairs for column in side if column is not None]
    if len(columns) < len(claimed) + len(again) or not columns:
        return ""  # a cell without a score has its own problem
    if any(column.ids != columns[0].ids for column in columns):
        return "the queries of its rows are others than the data set's"
    n_claimed, protocol = len(claimed), str(claimed[0].row.get("protocol"))
    said, found = (float(least_of(part, protocol).mean()) for part in (columns[:n_claimed], columns[n_claimed:]))
    if found >= said - TOLERANCE:
        return ""
    return f"the least of each query leaves {100 * found:.2f} points, {100 * (said - found):.2f} less than claimed"


def _pair(measurement: Measurement) -> Pair:
    return str(measurement.row["attack"]), str(measurement.row["epsilon_label"])


def compared(claimed: Measurement, again: Measurement | None) -> Recomputed:
    """A claim beside what was computed: it fails where the model keeps less than it claims.

    A claim that is too low is nobody's advantage, and no fault; a clean score that is another one means another model
    or other images.
    """
    clean, attacked = (None if again is None else again.score(name) for name in ("mAP_clean", "mAP_attacked"))
    said_clean, said = (claimed.score(name) for name in ("mAP_clean", "mAP_attacked"))
    problem = ""
    if again is None or clean is None or attacked is None or said_clean is None or said is None:
        problem = f"it could not be computed: {again.reason if again else 'no row'}"
    elif claimed.cell_id != again.cell_id:
        problem = "the claim is about other weights, settings, images or another attack than the submission's"
    elif attacked < said - TOLERANCE:
        problem = f"it keeps {100 * attacked:.2f} points of mAP, {100 * (said - attacked):.2f} less than claimed"
    elif abs(clean - said_clean) > TOLERANCE:
        problem = f"its clean mAP is {100 * clean:.2f}, claimed were {100 * said_clean:.2f}"
    return Recomputed(
        cell_id=claimed.cell_id,
        label=claimed.label,
        claimed_clean=said_clean or 0.0,
        clean=clean,
        claimed=said or 0.0,
        attacked=attacked,
        problem=problem,
    )
